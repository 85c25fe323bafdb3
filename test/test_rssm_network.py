"""The recurrent state-space model, its encoders and heads."""

import dataclasses

import pytest
import torch

from spiking_wm.agents.rssm.network import RSSM, Latent
from spiking_wm.agents.rssm.options import Sizes
from spiking_wm.agents.rssm.readout import PictureDecoder, PictureEncoder, Readout, VectorEncoder
from spiking_wm.neurons.layers import SpikingCell
from spiking_wm.neurons.options import NeuronOptions

KINDS = ["lif", "adaptive_lif", "two_compartments", "mcn", "mcn_paper"]
NEURON = NeuronOptions(
    kind="mcn",
    layer_kind="lif",
    ticks=1,
    averaged=False,
    gain=1.5,
    layer_bias=0.0,
    synapse_time=0.0,
    norm_floor=0.03,
)
SMALL = Sizes(recurrent=12, hidden=16, variables=3, classes=4, depth=2, neuron=NEURON)


def small(spiking: bool = True, **neuron) -> Sizes:
    """Small sizes, with some options of the neurons changed."""
    return dataclasses.replace(SMALL, spiking=spiking, neuron=dataclasses.replace(NEURON, **neuron))


FORMS = {
    **{kind: small(kind=kind) for kind in KINDS},
    "reset": small(carried=False, ticks=5),
    "mcn_paper, reset": small(kind="mcn_paper", carried=False, ticks=5),
    "averaged": small(ticks=5, averaged=True),
    "gru": small(spiking=False),
}
EMBEDDING, ACTION, STEPS, BATCH = 6, 2, 9, 5


def made(sizes: Sizes) -> tuple[RSSM, dict]:
    torch.manual_seed(0)
    rssm = RSSM(sizes, EMBEDDING, ACTION)
    ticks = sizes.neuron.ticks if sizes.spiking else 1
    inputs = {
        "embeddings": torch.randn(ticks, STEPS, BATCH, EMBEDDING),
        "actions": torch.randn(STEPS, BATCH, ACTION),
        "first": torch.zeros(STEPS, BATCH),
        "noise": torch.rand(STEPS, BATCH, rssm.width),
    }
    inputs["first"][0] = 1
    return rssm, inputs


def start(rssm: RSSM) -> Latent:
    return rssm.initial(BATCH, like=torch.zeros(1))


@pytest.mark.parametrize("form", FORMS)
def test_steps_one_by_one_are_the_sequence(form):
    rssm, inputs = made(FORMS[form])
    states, posterior, prior = rssm.observe(start(rssm), **inputs)
    latent = start(rssm)
    for t in range(STEPS):
        latent = rssm.see(
            latent, inputs["embeddings"][:, t], inputs["actions"][t] * (t > 0), inputs["noise"][t]
        )
        for whole, part in zip(states, latent):
            assert torch.allclose(whole[t], part, atol=1e-5)
    assert posterior.shape == prior.shape == (STEPS, BATCH, 3, 4)
    assert torch.allclose(posterior.exp().sum(-1), torch.ones(STEPS, BATCH, 3), atol=1e-5)
    assert posterior.exp().min() >= 0.01 / 4 - 1e-6  # some probability is left to every class


@pytest.mark.parametrize("form", FORMS)
def test_where_an_episode_begins_nothing_is_known_of_before(form):
    rssm, inputs = made(FORMS[form])
    inputs["first"][4, :3] = 1
    changed = {name: value.clone() for name, value in inputs.items()}
    changed["embeddings"][:, :4] += 1
    changed["actions"][:5] += 1
    one, two = (rssm.observe(start(rssm), **x)[0] for x in (inputs, changed))
    for a, b in zip(one, two):
        rows = a[4:], b[4:]
        if a.dim() == 4:  # ticks or compartments before rows
            rows = tuple(x.transpose(1, 2) for x in rows)
        assert torch.equal(rows[0][:, :3], rows[1][:, :3])
    assert not torch.equal(one.spikes[4:, :, 3:], two.spikes[4:, :, 3:])  # others remember


@pytest.mark.parametrize("form", FORMS)
def test_later_steps_do_not_change_earlier_ones(form):
    rssm, inputs = made(FORMS[form])
    one = rssm.observe(start(rssm), **inputs)[0]
    inputs["embeddings"][:, 5:] += 1
    inputs["actions"][5:] += 1
    two = rssm.observe(start(rssm), **inputs)[0]
    assert all(torch.equal(a[:5], b[:5]) for a, b in zip(one, two))


@pytest.mark.parametrize("form", FORMS)
def test_gradients_reach_all_parameters_also_through_time(form):
    rssm, inputs = made(FORMS[form])
    inputs["embeddings"].requires_grad_()
    states, posterior, prior = rssm.observe(start(rssm), **inputs)
    spikes, sample = states.sequence_features()
    last = (spikes[:, -1] * torch.randn_like(spikes[:, -1])).sum()
    (last + (sample[-1] * torch.randn_like(sample[-1])).sum()).backward(retain_graph=True)
    assert inputs["embeddings"].grad[:, 0].abs().sum() > 0  # of the first step by the last
    (posterior.square().sum() + (prior * torch.rand_like(prior)).sum()).backward()
    for name, parameter in rssm.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    if rssm.cell.__class__.__name__ == "SpikingCell":
        ports = rssm.cell.neurons.ports
        by_port = rssm.cell.of_input.weight.grad.unflatten(0, (ports, -1))
        assert (by_port.abs().sum((1, 2)) > 0).all()  # basal, apical, soma


def test_potentials_that_are_carried_remember_what_spikes_do_not():
    for carried in (True, False):
        rssm, inputs = made(small(carried=carried))
        now = start(rssm)
        other = now._replace(potentials=now.potentials + 0.4)
        action = inputs["actions"][1]
        spikes = [rssm.imagine(latent, action, None).spikes for latent in (now, other)]
        assert torch.equal(*spikes) is not carried


def test_imagining_draws_from_the_prior_and_the_straight_through_gradient_is_that_of_its_probability():
    rssm, inputs = made(SMALL)
    latent = start(rssm)
    noise = torch.rand(4000, rssm.width)
    many = latent._replace(
        spikes=latent.spikes[:, :1].expand(-1, 4000, -1),
        potentials=latent.potentials[:, :1].expand(-1, 4000, -1),
        sample=latent.sample[:1].expand(4000, -1),
    )
    drawn = rssm.imagine(many, inputs["actions"][1, :1].expand(4000, -1), noise)
    prior = rssm.prior(drawn.spikes[:, :1]).exp()[0]
    shares = drawn.sample.view(-1, 3, 4).mean(0)
    assert (drawn.sample.view(-1, 3, 4).sum(-1) - 1).abs().max() < 1e-5
    assert torch.allclose(shares, prior, atol=0.03)
    logits = torch.randn(1, 3, 4).log_softmax(-1).requires_grad_()
    weights = torch.randn(12)
    (rssm._draw(logits, torch.rand(1, 12)) * weights).sum().backward()
    assert torch.allclose(logits.grad[0], logits.detach().exp()[0] * weights.view(3, 4))


@pytest.mark.parametrize("spiking", [True, False])
def test_vectors_and_pictures_go_in_and_come_out(spiking):
    ticks = 3 if spiking else 1
    sizes = small(spiking=spiking, ticks=ticks)
    torch.manual_seed(0)
    vector = VectorEncoder(4, sizes)(torch.randn(7, 5, 4))
    assert vector.shape == (ticks, 7, 5, 16)
    encoder = PictureEncoder(3, sizes)
    pictures = torch.randint(0, 255, (7, 5, 64, 64, 3), dtype=torch.uint8)
    seen = encoder(pictures)
    assert seen.shape == (ticks, 7, 5, encoder.width)
    assert torch.allclose(encoder(pictures[3:4, 2:3])[:, 0, 0], seen[:, 3, 2], atol=1e-4)
    if spiking:
        assert set(vector.unique().tolist()) | set(seen.unique().tolist()) == {0, 1}
    features = torch.randn(ticks, 7, 5, 12), torch.randn(7, 5, 12)
    assert Readout(3, sizes)(*features).shape == (7, 5, 3)
    assert PictureDecoder(3, sizes)(*features).shape == (7, 5, 64, 64, 3)
    seen.sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in encoder.convolutions.parameters())


def test_synapses_filter_rates_each_with_a_time_constant_of_its_own():
    options = dataclasses.replace(NEURON, ticks=4, averaged=True, gain=0.5, synapse_time=8.0)
    torch.manual_seed(0)
    cell = SpikingCell(3, 5, options)
    plain = SpikingCell(3, 5, dataclasses.replace(options, synapse_time=0.0))
    plain.load_state_dict(cell.state_dict())
    before, potentials = torch.rand(1, 2, 5), cell.at_rest(2, like=torch.zeros(1))[1]
    currents = 3 * torch.randn(1, 2, 15)
    filtered, after = cell(currents, before, potentials)
    rates, same = plain(currents, before, potentials)
    assert torch.equal(after, same) and rates.max() > 0
    times = torch.tensor([0.0, 0.5, 2.0, 4.5, 8.0])  # squares of even steps up to the longest
    kept = times / (1 + times)
    assert torch.allclose(filtered, kept * before + (1 - kept) * rates, atol=1e-6)
