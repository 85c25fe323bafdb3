"""Decision transformers: what sees what, streaming, order, ablations, local plasticity."""

import pytest
import torch

from spiking_wm.agents.spiking_dt.network import (
    ACTION,
    OBSERVATION,
    RETURN,
    DecisionTransformer,
    LocalHead,
    PhaseCode,
    Trajectory,
    Units,
)
from spiking_wm.agents.spiking_dt.operations import count
from spiking_wm.agents.spiking_dt.options import NetworkOptions
from spiking_wm.agents.spiking_dt.stream import EventDrivenTransformer

FORMS = {
    "spiking": {},
    "without_code": {"phase_code": False, "step_embeddings": True},
    "both": {"step_embeddings": True},
    "without_routing": {"routing": False},
    "ann": {"step_embeddings": True},
}
EVERY = pytest.mark.parametrize("form", FORMS)
SPIKING = pytest.mark.parametrize("form", [form for form in FORMS if form != "ann"])


def network(form: str, context: int = 6, **changes) -> DecisionTransformer:
    torch.manual_seed(0)
    options = NetworkOptions(width=32, hidden=48, context=context, **(FORMS[form] | changes))
    return DecisionTransformer(4, 2, 2, options, spiking=form != "ann").requires_grad_(False)


def trajectory(batch: int = 3, length: int = 15) -> Trajectory:
    generator = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    return Trajectory(
        draw(batch, length),
        draw(batch, length, 4),
        draw(batch, length, 2),
        torch.arange(length).repeat(batch, 1),
    )


def streamed(of: DecisionTransformer, by, t: Trajectory, row: int) -> torch.Tensor:
    """What heads see of every step of a row, a step at a time."""
    cache, seen = of.empty_cache(), []
    for k in range(t.step.shape[1]):
        now = torch.tensor([k])
        tokens = [of.embedded(RETURN, t.return_to_go[row, k : k + 1, None], now)]
        tokens.append(of.embedded(OBSERVATION, t.observation[row, k : k + 1], now))
        if k:
            tokens.insert(0, of.embedded(ACTION, t.code[row, k - 1 : k], now - 1))
        steps = torch.tensor([k - 1, k, k][-len(tokens) :])
        features, cache = by.stream(torch.cat(tokens), steps, cache)
        seen.append(features)
    assert len(cache.steps) <= 3 * of.options.context + 2  # memory does not grow with the episode
    return torch.stack(seen)


@EVERY
def test_streamed_step_by_step_it_is_the_same(form):
    of, t = network(form), trajectory()
    whole = of(t)
    for row in range(3):
        torch.testing.assert_close(streamed(of, of, t, row), whole[row], atol=1e-5, rtol=1e-4)


@SPIKING
@pytest.mark.parametrize("ticks", [2, 4, 9])
def test_driven_by_spikes_it_fires_alike(form, ticks):
    of, t = network(form, ticks=ticks), trajectory(length=40)
    if of.blocks[0].router:
        of.blocks[0].router.weight.mul_(10)
    fast = EventDrivenTransformer(of)
    for row in range(3):
        ours, theirs = streamed(of, fast, t, row), streamed(of, of, t, row)
        assert 0.02 < theirs.mean() < 0.9
        assert float((ours != theirs).float().mean()) < 0.01  # sums of floats have an order


@EVERY
def test_what_comes_later_changes_nothing(form):
    of, t = network(form), trajectory()
    before = of(t)
    for k in (3, 9):
        changed = Trajectory(*(field.clone() for field in t))
        changed.return_to_go[:, k + 1 :] += 5
        changed.observation[:, k + 1 :] -= 3
        changed.code[:, k:] += 2  # the action itself is not seen when it is chosen
        assert torch.equal(of(changed)[:, : k + 1], before[:, : k + 1])
        assert not torch.equal(of(changed)[:, k + 1 :], before[:, k + 1 :])


@EVERY
@pytest.mark.parametrize("field", ["return_to_go", "observation", "code"])
def test_the_past_is_seen_and_beyond_the_context_only_by_what_saw_it(form, field):
    """Attention is alive: in the published code it never fires, and changes nothing."""
    of, t = network(form, layers=1), trajectory(batch=32)
    changed = t._replace(**{field: t._asdict()[field].clone()})
    changed._asdict()[field][:, 4] -= 9  # one that turns the token round
    differs = (of(changed) != of(t)).any(-1).any(0)
    assert differs[5:10].any() and not differs[:4].any()
    assert not differs[4 + of.options.context :].any()  # one block: no one tells what others saw


@SPIKING
def test_every_layer_fires_and_gradients_reach_every_weight(form):
    of, rates = network(form).requires_grad_(True), []
    for part in of.modules():
        if isinstance(part, Units):
            part.register_forward_hook(lambda _p, _inputs, fired: rates.append(float(fired.detach().mean())))
    features = of(trajectory())
    (of.head(features).square().sum() + of.value(features).sum()).backward()
    assert len(rates) == 2 * 5 + 1 and all(0.02 < rate < 0.9 for rate in rates), rates
    for name, parameter in of.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name


def test_rates_are_whole_numbers_of_spikes():
    units = Units(1, 32, ticks=4)
    rates = units(torch.randn(50, 32)) * 4
    assert torch.equal(rates, rates.round()) and 0 <= rates.min() < rates.max() <= 4


def test_order_is_told_by_the_phase_code_alone():
    """The same tokens at other steps: what a query meets depends on how far apart they are."""
    for phase_code, expected in ((True, True), (False, False)):
        of = network("spiking", phase_code=phase_code)
        t = trajectory(length=6)
        later = t._replace(step=t.step * 3)
        assert bool((of(t) != of(later)).any()) is expected


def test_the_code_is_an_oscillation_per_neuron():
    torch.manual_seed(0)
    code = PhaseCode(NetworkOptions(width=32, heads=4))
    steps = torch.arange(50)
    found = code(steps)
    assert found.shape == (4, 50, 8) and set(found.unique().tolist()) == {0.0, 1.0}
    angle = code.frequency[1, 3] * steps[17] + code.phase[1, 3]
    assert float(found[1, 17, 3].detach()) == float(angle.detach().sin() > 0)
    found.sum().backward()
    assert float(code.frequency.grad.abs().sum()) > 0 and float(code.phase.grad.abs().sum()) > 0


def test_routing_lets_a_head_pass_by_what_all_heads_find():
    block, x = network("spiking").blocks[0], torch.randn(5, 32)
    block.router.weight.zero_()
    block.router.bias.copy_(torch.tensor([50.0, -50, 50, 50]))
    found = torch.rand(4, 5, 8)
    other = found.clone()
    other[1] += 1  # what a head finds that is shut
    assert torch.equal(block(x, found), block(x, other))
    block.router.weight[1, 0] = 100.0  # the first head opens it
    assert not torch.equal(block(x, found), block(x, other))


def test_local_plasticity_by_hand():
    head = torch.nn.Linear(2, 2, bias=False)
    torch.nn.init.zeros_(head.weight)
    local = LocalHead(head, 0.1)
    before, after, worth = (
        torch.tensor([[1.0, 0], [0, 2]]),
        torch.tensor([[1.0, -1], [0, 1]]),
        torch.tensor([2.0, 1]),
    )
    trace = torch.tensor([[1.0, 0], [-1, 1]])  # mean of worth times after times before
    local.learn(before, after, worth)
    torch.testing.assert_close(local.trace, trace)
    torch.testing.assert_close(head.weight.detach(), 0.1 * trace)
    local.learn(before, after, worth)
    torch.testing.assert_close(local.trace, 1.95 * trace)
    torch.testing.assert_close(head.weight.detach(), 0.1 * trace + 0.195 * trace)
    local.learn(1000 * before, after, worth)  # no more than so much at once
    assert float((head.weight.detach() - 0.295 * trace).norm()) <= 1 + 1e-4


def pairs_of(length: int, context: int) -> int:
    """Tokens that see each other in a trajectory, themselves too."""
    tokens = [(k // 3, k) for k in range(3 * length)]
    return sum(j <= i and a - b < context for a, i in tokens for b, j in tokens)


@pytest.mark.parametrize("fires", [True, False])
def test_operations_where_all_neurons_fire_at_every_tick_or_none(fires):
    of, t = network("without_code"), trajectory()
    for part in of.modules():
        if isinstance(part, Units):
            part.norm.bias.fill_(100.0 if fires else -100.0)
    operations, spikes = count(of, t)
    d, h, ticks, layers, heads, embedded = 32, 48, 4, 2, of.options.heads, (1 + 4 + 2) * 32
    normalised = 3 * (3 * (d + layers * (6 * d + h)) + d)
    always = embedded + normalised + 3 * layers * (heads * heads + d)  # the last: routing of three tokens
    if not fires:
        assert (operations.synaptic_operations, spikes, operations.products) == (0, 0, always)
        return
    assert spikes == ticks * (3 * layers * (6 * d + h) + d)
    a_token = layers * (3 * d * d + d * d + 2 * d * h)
    assert operations.synaptic_operations == ticks * (3 * a_token + d * 2)
    meetings = layers * 2 * d * pairs_of(15, of.options.context) / 15
    assert operations.products == pytest.approx(always + meetings)


def test_products_without_spikes_as_pytorch_counts_them():
    from torch.utils.flop_counter import FlopCounterMode

    of, t = network("ann"), trajectory()
    with FlopCounterMode(display=False) as counter:
        of.head(of(t))
    by_name = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    linear = sum(flops for name, flops in by_name.items() if "mm" in name and "bmm" not in name) / 2
    operations, spikes = count(of, t)
    attention = 2 * 2 * 32 * pairs_of(15, of.options.context) / 15
    normalised = 3 * (3 * (32 + 2 * 2 * 32) + 32)  # by LayerNorm, which the counter leaves out
    assert operations.products == pytest.approx(linear / t.step.numel() + attention + normalised)
    assert (operations.synaptic_operations, spikes) == (0, 0)
