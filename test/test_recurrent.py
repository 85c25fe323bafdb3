"""Recurrent networks with local plasticity, against automatic differentiation and scalar loops."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spiking_wm.neurons import recurrent_kernels as kernels
from spiking_wm.neurons.plasticity import Adam, CreditedTrace
from spiking_wm.neurons.recurrent import NeuronConstants, RecurrentNetwork

SMALL = NeuronConstants(rest=-0.5, start=-0.2, reset=2.0)


def network(seeds=(0,), neurons=6, inputs=3, constants=SMALL) -> RecurrentNetwork:
    generators = [np.random.default_rng(seed) for seed in seeds]
    return RecurrentNetwork(generators, inputs * [2.0], neurons, constants)


def drive(steps: int, realisations: int = 1, inputs: int = 3) -> np.ndarray:
    return np.random.default_rng(9).normal(size=(steps, realisations, inputs)).astype(np.float32)


def test_a_tick_follows_its_equations_by_scalar_loops():
    net, c = network(), SMALL
    activity = net.at_rest()
    w, w_in = net.weights[0].astype(float), net.input_weights[0].astype(float)
    a_m, a_s, a_r = (math.exp(-1 / t) for t in (c.membrane_time, c.synapse_time, c.readout_time))
    filtered, v, s, out, e = (6 * [start] for start in (0.0, c.start, 0.0, 0.0, 0.0))
    fired, carried = 0.0, 3 * [0.0]
    for x in drive(60):
        net.tick(activity, x)
        filtered = [a_s * f + (1 - a_s) * spike for f, spike in zip(filtered, s)]
        for n in range(6):
            current = sum(w[j, n] * filtered[j] for j in range(6)) + c.rest
            current += sum(w_in[d, n] * float(x[0, d]) for d in range(3))
            v[n] = a_m * v[n] + (1 - a_m) * current - c.reset * s[n]
        s = [float(potential > 0) for potential in v]
        out = [a_r * o + (1 - a_r) * spike for o, spike in zip(out, s)]
        e = [a_m * response + (1 - a_m) * f for response, f in zip(e, filtered)]
        carried = [a_m * response + (1 - a_m) * float(x[0, d]) for d, response in enumerate(carried)]
        sigmoid = [1 / (1 + math.exp(-potential / c.width)) for potential in v]
        expected = {
            "potential": v,
            "spikes": s,
            "readout": out,
            "trace": e,
            "input_trace": carried,
            "derivative": [x * (1 - x) / c.width for x in sigmoid],
        }
        for name, values in expected.items():
            assert np.allclose(getattr(activity, name)[0], values, atol=1e-5), name
        fired += sum(s)
    assert 10 < fired < 300


def tuning_curves(values: np.ndarray, count: int) -> np.ndarray:
    """Responses ``[B, D count]`` as the kernel gives them."""
    values = np.ascontiguousarray(values, np.float32)
    seen, none = np.full((len(values), values.shape[1] * count), np.nan, np.float32), np.zeros(0, int)
    plain = (np.float32(1), np.float32(0), 0)
    kernels.see(values, values, values.shape[1], count, none, none, 0, *plain, seen)
    return seen


def test_inputs_that_are_tuned_are_seen_through_gaussian_curves():
    x, count = 0.3, 9
    (seen,) = tuning_curves(np.float32([[x, 5.0]]), count)
    for place in range(count):
        distance = (x - (-1 + 0.25 * place)) / 0.25
        response = math.exp(-(distance**2) / 2)
        assert seen[place] == pytest.approx(response if response >= 0.01 else 0.0, abs=1e-6)
    assert not seen[count:].any() and 3 < (seen > 0).sum() < 8  # the second is far off

    generators = [np.random.default_rng(0)], [np.random.default_rng(0)]
    tuned = RecurrentNetwork(generators[0], 3 * [2.0], 6, replace(SMALL, curves=count), tuned=2)
    explicit = RecurrentNetwork(generators[1], (2 * count + 1) * [2.0], 6, SMALL)
    states, spikes = (tuned.at_rest(), explicit.at_rest()), 0
    for x in drive(60):
        code = np.concatenate([tuning_curves(x[:, :2], count), x[:, 2:]], 1)
        both = tuned.tick(states[0], x).copy(), explicit.tick(states[1], code)
        assert np.array_equal(*both)
        spikes += states[0].spikes.sum()
    assert 10 < spikes < 300


def test_differences_and_changes_of_inputs_are_seen_through_curves_too():
    c = replace(SMALL, curves=5, pairs=7, pair_reach=0.5, transient=3.0, change_curves=4)
    tuned = RecurrentNetwork([np.random.default_rng(0)], 3 * [2.0], 6, c, tuned=2)
    groups = (2 * 5, 7, 1, 3, 3 * 4)  # of both, of their difference, the third as it is, changes, and curves
    explicit = RecurrentNetwork([np.random.default_rng(0)], sum(groups) * [2.0], 6, SMALL)
    states, last, spikes = (tuned.at_rest(), explicit.at_rest()), None, 0
    for x in drive(60):
        change = np.zeros_like(x) if last is None else (np.float32(3) * (x - last)).clip(-1, 1)
        apart = (x[:, :1] - x[:, 1:2]) / np.float32(0.5)
        seen = [tuning_curves(x[:, :2], 5), tuning_curves(apart, 7), x[:, 2:], change]
        code = np.concatenate([*seen, tuning_curves(change, 4)], 1)
        assert [part.shape[1] for part in (*seen, tuning_curves(change, 4))] == list(groups)
        assert np.array_equal(tuned.tick(states[0], x), explicit.tick(states[1], code))
        last, spikes = x, spikes + states[0].spikes.sum()
    assert 10 < spikes < 300


def test_the_local_rule_is_the_gradient_where_the_paper_s_approximation_is_exact():
    """Exact if a spike's effect on other neurons, and on itself by the reset, is left out; and unfiltered."""
    constants = NeuronConstants(rest=-0.5, start=-0.2, reset=2.0, readout_time=1e-3)
    net, steps = network(constants=constants), 40
    activity = net.at_rest()
    readout = np.random.default_rng(1).normal(size=(6, 2)).astype(np.float32)
    inputs, targets = drive(steps), np.random.default_rng(2).normal(size=(steps, 2)).astype(np.float32)
    local = CreditedTrace(net.weights.shape, decay=0.0, chunk=7)
    of_inputs = CreditedTrace(net.input_weights.shape, decay=0.0, chunk=7)
    for x, target in zip(inputs, targets):
        error = target - net.tick(activity, x) @ readout
        local.add(activity.trace, (error @ readout.T) * activity.derivative)
        of_inputs.add(activity.input_trace, (error @ readout.T) * activity.derivative)
        for trace in (local, of_inputs):
            trace.credit(np.ones(1, np.float32))

    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, v):
            ctx.save_for_backward(v)
            return (v > 0).float()

        @staticmethod
        def backward(ctx, grad):
            sigmoid = torch.sigmoid(ctx.saved_tensors[0])
            return grad * sigmoid * (1 - sigmoid)

    weights = torch.from_numpy(network(constants=constants).weights[0]).requires_grad_()
    input_weights = torch.from_numpy(net.input_weights[0].copy()).requires_grad_()
    a_m, a_s = math.exp(-1 / constants.membrane_time), math.exp(-1 / constants.synapse_time)
    filtered, spikes, v = torch.zeros(6), torch.zeros(6), torch.full((6,), constants.start)
    loss = 0.0
    for x, target in zip(torch.from_numpy(inputs), torch.from_numpy(targets)):
        filtered = a_s * filtered + (1 - a_s) * spikes.detach()
        current = filtered @ weights + x[0] @ input_weights + constants.rest
        v = a_m * v + (1 - a_m) * current - constants.reset * spikes.detach()
        spikes = Spike.apply(v)
        loss = loss + 0.5 * (target - spikes @ torch.from_numpy(readout)).square().sum()
    loss.backward()
    for trace, learned in ((local, weights), (of_inputs, input_weights)):
        assert torch.allclose(torch.from_numpy(trace.take()[0]), -learned.grad, rtol=1e-4, atol=1e-5)
        assert learned.grad.abs().max() > 0.01


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["step", "step", "step", "start", "take", "credit"]), min_size=1, max_size=60),
    st.integers(2, 9),
    st.sampled_from([0.0, 0.5, 0.97, 1.0]),
)
def test_credit_is_what_the_whole_history_would_give(events, chunk, decay):
    rng = np.random.default_rng(len(events))
    trace = CreditedTrace((2, 4, 3), decay, chunk)
    expected, history = np.zeros((2, 2, 4, 3))

    def take() -> None:
        assert np.allclose(trace.take(), expected, atol=1e-3)
        expected[:] = 0

    begun = False
    for event in events:
        pre, post, delta = rng.normal(size=(2, 4)), rng.normal(size=(2, 3)), rng.normal(size=2)
        if event == "step":
            trace.add(pre, post)
            history[:] = decay * history + pre[:, :, None] * post[:, None]
            begun = True
        if event == "start":
            trace.start()
            history[:], begun = 0, False
        if event == "take":
            take()
        if begun and event in ("step", "credit"):
            trace.credit(delta)
            expected += delta[:, None, None] * history
    take()
    assert not trace.take().any()


def test_courses_abreast_give_the_sum_of_what_each_gives_and_may_not_outgrow_a_chunk():
    rng = np.random.default_rng(0)
    together = CreditedTrace((2, 4, 3), 0.9, chunk=6, abreast=5)
    alone = [CreditedTrace((2, 4, 3), 0.9, chunk=6) for _ in range(5)]
    for _ in range(3):
        together.start()
        for trace in alone:
            trace.start()
        for _ in range(6):
            pre, post, delta = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5))
            together.add(pre.reshape(10, 4), post.reshape(10, 3))
            together.credit(delta.reshape(10))
            for at, trace in enumerate(alone):
                trace.add(pre[:, at], post[:, at])
                trace.credit(delta[:, at])
    assert np.allclose(together.take(), sum(trace.take() for trace in alone), atol=1e-3)
    assert not together.take().any()
    for _ in range(6):
        together.add(np.ones((10, 4)), np.ones((10, 3)))
    with pytest.raises(ValueError, match="may have at most"):
        together.add(np.ones((10, 4)), np.ones((10, 3)))


def test_realisations_side_by_side_are_what_each_is_alone():
    def run(seeds: tuple[int, ...], rows: list[int]) -> tuple[np.ndarray, np.ndarray]:
        net = network(seeds, neurons=50)
        activity = net.at_rest()
        trace, adam = CreditedTrace(net.weights.shape, 0.9), Adam(net.weights, 1e-2)
        for t, x in enumerate(drive(100, 3)):
            net.tick(activity, x[rows])
            trace.add(activity.trace, activity.derivative)
            trace.credit(x[rows, 0])
            if t % 30 == 29:
                adam.ascend(-trace.take())
        return net.weights, activity.potential

    together, alone = run((0, 1, 2), [0, 1, 2]), run((1,), [1])
    for both, one in zip(together, alone):
        assert np.array_equal(both[1], one[0])


def test_a_synapse_learns_from_its_own_neurons_and_the_broadcast_error_alone():
    net, steps, error = network(neurons=8), 30, np.random.default_rng(3).normal(size=30)
    activity = net.at_rest()
    trace = CreditedTrace(net.weights.shape, decay=0.9, chunk=4)
    pre, post = [], []
    for t, x in enumerate(drive(steps)):
        net.tick(activity, x)
        pre.append(float(activity.trace[0, 2]))
        post.append(float(activity.derivative[0, 5]))
        trace.add(activity.trace, activity.derivative)
        trace.credit(np.array([error[t]]))
    seen, expected = 0.0, 0.0
    for before, after, broadcast in zip(pre, post, error):
        seen = 0.9 * seen + before * after
        expected += broadcast * seen
    assert trace.take()[0, 2, 5] == pytest.approx(expected, rel=1e-3)


def test_without_learning_activity_goes_on_alike_and_traces_stay():
    net = network(neurons=20)
    learning, not_learning = net.at_rest(), net.at_rest()
    for x in drive(30):
        both = net.tick(learning, x), net.tick(not_learning, x, learning=False)
        assert np.array_equal(*both)
    for name in ("potential", "recurrent", "spikes", "readout", "inputs"):
        assert np.array_equal(getattr(learning, name), getattr(not_learning, name)), name
    for name in ("synaptic", "trace", "derivative", "input_trace"):
        assert not getattr(not_learning, name).any() and getattr(learning, name).any(), name


def test_memory_does_not_grow_with_time():
    net = network(neurons=20)
    activity, trace = net.at_rest(), CreditedTrace(net.weights.shape, 0.99)

    def held() -> int:
        kept = (*vars(net).values(), *vars(activity).values(), *vars(trace).values())
        return sum(x.nbytes for x in kept if isinstance(x, np.ndarray))

    before = held()
    for x in drive(500):
        net.tick(activity, x)
        trace.add(activity.trace, activity.derivative)
        trace.credit(np.ones(1))
    assert held() == before


def test_adam_is_torch_s():
    values = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(values.copy()))
    theirs, ours = torch.optim.Adam([parameter], 0.01, maximize=True), Adam(values, 0.01)
    for step in range(20):
        gradient = np.random.default_rng(step).normal(size=values.shape).astype(np.float32)
        ours.ascend(gradient)
        parameter.grad = torch.from_numpy(gradient)
        theirs.step()
    assert np.allclose(values, parameter.detach().numpy(), atol=1e-5)


def test_adam_leaves_alone_what_is_no_synapse_and_treats_the_rest_alike():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 3, 4)).astype(np.float32)
    there = np.stack([rng.permutation(12)[:5] for _ in range(2)]).astype(np.int32)
    dense, sparse = values.copy(), values.copy()
    of_all, of_some = Adam(dense, 0.01), Adam(sparse, 0.01, synapses=there)
    for _ in range(20):
        gradient = rng.normal(size=values.shape).astype(np.float32)
        of_all.ascend(gradient)
        of_some.ascend(gradient)
    learned = np.zeros((2, 12), bool)
    np.put_along_axis(learned, there, True, 1)
    learned = learned.reshape(values.shape)
    assert np.allclose(sparse[learned], dense[learned], atol=1e-7)
    assert np.array_equal(sparse[~learned], values[~learned])
    assert np.abs(dense - values).min() > 0


def test_weights_that_change_count_from_the_next_spike_on():
    net = network(neurons=10)
    activity, w = net.at_rest(), net.weights
    decay, expected = math.exp(-1 / SMALL.synapse_time), np.zeros(10)
    for t, x in enumerate(drive(40)):
        expected = decay * expected + (1 - decay) * activity.spikes[0] @ w[0]
        net.tick(activity, x)
        assert np.allclose(activity.recurrent[0], expected, atol=1e-5)
        w *= 2 if t == 20 else 1
    assert expected.any()
