"""The RSSM agent: every form learns, acts and dreams; dreams leave experience and model alone."""

import itertools

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from spiking_wm.agents.rssm.agent import Agent
from spiking_wm.agents.rssm.options import Options
from spiking_wm.core.contract import Budget, Transition
from spiking_wm.core.options import override
from spiking_wm.core.presets import resolve
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run
from spiking_wm.runs.pictures import draw

SMALL = {
    "batch": 3,
    "length": 8,
    "dream.horizon": 3,
    "dream.starts": 5,
    "warmup": 8,
    "replay.size": 2000,
}
OBSERVED = {"vector": Box(-np.inf, np.inf, (4,), np.float32), "pixels": Box(0, 255, (64, 64, 3), np.uint8)}
DONE = {"continuous": Box(np.float32([-1, -2]), np.float32([1, 2])), "discrete": Discrete(3, start=1)}


def spaces(seen: str = "vector", done: str = "continuous") -> Spaces:
    return Spaces(OBSERVED[seen], DONE[done], 0.02)


def lived(given: dict, world: Spaces, steps: int = 24, length: int = 11) -> Agent:
    """An agent that has acted for some steps in a world that does not answer."""
    agent, rng = Agent(override(Options(), SMALL | given), world, 0), np.random.default_rng(0)
    policy = agent.policy_class(agent.options, world)
    policy.load(agent.policy_weights())
    world.observation.seed(0)
    observation, state = world.observation.sample(), policy.initial_state()
    for step in range(steps):
        action, state = policy.act(observation, state, rng)
        assert world.action.contains(action if action.ndim else action[()])
        following = world.observation.sample()
        episode, at = divmod(step, length)
        over, fails = at == length - 1, episode % 2 == 0
        ends = {"terminated": over and fails, "truncated": over and not fails}
        counts = {"episode": episode, "step": step, "policy_version": 0}
        agent.observe(Transition(observation, action, float(at), following, **ends, **counts))
        observation, state = following, policy.initial_state() if over else state
    return agent


FORMS = {
    "mcn": {},
    "mcn_paper": {"neuron.kind": "mcn_paper"},
    "published form": {"neuron": {"carried": False, "ticks": 5, "averaged": False, "layer_bias": 0.0}},
    "lif": {"neuron.kind": "lif"},
    "adaptive_lif": {"neuron.kind": "adaptive_lif"},
    "two_compartments": {"neuron.kind": "two_compartments"},
    "gru": {"spiking": False},
    "bfloat16": {"precision": "bfloat16"},
}


# what differs between forms lies behind the encoder, so that not all of them need pictures
PICTURED = ("mcn", "published form", "gru")


@pytest.mark.parametrize(
    "form, seen, done",
    [case for case in itertools.product(FORMS, OBSERVED, DONE) if case[1] == "vector" or case[0] in PICTURED],
)
def test_every_form_takes_two_steps(form, seen, done):
    agent = lived(FORMS[form], spaces(seen, done), steps=14)
    before = agent.snapshot()
    for _ in range(2):
        assert all(np.isfinite(value) for value in agent.learn().values())
    after = agent.snapshot()
    for part in ("model/rssm", "model/encoder", "behaviour/actor", "behaviour/critic"):
        names = [name for name in before if name.startswith(part)]
        assert any(not torch.equal(before[name], after[name]) for name in names), part


def test_dreams_change_behaviour_but_neither_the_model_nor_a_byte_of_experience():
    agent = lived({}, spaces())
    agent.learn()
    before = agent.snapshot()
    list(agent.dream(Budget(updates=2)))
    after = agent.snapshot()
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert not any(name.startswith(("model", "replay", "adams/model")) for name in changed), changed
    for part in ("behaviour/actor", "behaviour/critic", "behaviour/slow_critic"):
        assert any(name.startswith(part) for name in changed), part


def test_learning_changes_no_byte_of_experience():
    agent = lived({}, spaces())
    before = {name: field.clone() for name, field in agent.replay.fields.items()}
    agent.learn()
    assert all(torch.equal(before[name], field) for name, field in agent.replay.fields.items())


def test_gradients_reach_every_compartment_of_the_memory():
    agent = lived({"neuron.gain": 1.5}, spaces())
    batch = agent._sample()
    agent.model.loss(batch, agent._uniform(8, 3))[0].backward()
    cell = agent.model.rssm.cell
    for weights, ports in ((cell.of_input.weight, 3), (cell.of_spikes.weight, 2)):
        assert (weights.grad.unflatten(0, (ports, -1)).abs().sum((1, 2)) > 0).all()


def test_decisions_remember_and_forget_at_the_start_of_an_episode():
    agent = lived({"warmup": 0}, spaces())
    policy = agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    for parameter in policy._actor.parameters():
        torch.nn.init.normal_(parameter)
    rng = np.random.default_rng(1)
    past, now = rng.normal(size=(2, 10, 4)).astype(np.float32)
    after_past = policy.initial_state()
    for observation in past:
        _, after_past = policy.act(observation, after_past, None)
    actions = {}
    for name, state in {
        "past": after_past,
        "none": policy.initial_state(),
        "again": policy.initial_state(),
    }.items():
        actions[name] = [policy.act(observation, state, None)[0] for observation in now]
    assert np.array_equal(actions["none"], actions["again"])
    assert not np.array_equal(actions["past"], actions["none"])


@pytest.mark.parametrize("done", DONE)
def test_random_actions_are_repeated(done):
    world = spaces(done=done)
    policy, rng = Agent.policy_class(Options(action_repeat_probability=0.75), world), np.random.default_rng(0)
    observation, state, actions = world.observation.sample(), policy.initial_state(), []
    for _ in range(400):
        action, state = policy.act(observation, state, rng)
        actions.append(action)
    again = np.mean([np.array_equal(a, b) for a, b in itertools.pairwise(actions)])
    assert again == pytest.approx(0.75 if done == "continuous" else 0.75 + 0.25 / 3, abs=0.07)


def test_it_explores_more_in_the_environment_than_in_imagination():
    world, spread = spaces(), {}
    for least in (0.0, 0.6):
        agent = lived({"actor.min_deviation": least, "warmup": 0}, world)
        torch.nn.init.constant_(agent.behaviour.actor.readout.linear.bias, -20.0)  # deviations at their least
        policy, rng = Agent.policy_class(agent.options, world), np.random.default_rng(1)
        torch.nn.init.zeros_(agent.behaviour.actor.readout.linear.bias[:2])
        policy.load(agent.policy_weights())
        state = policy.initial_state()
        codes = [policy.act(np.zeros(4, np.float32), state, rng)[1][1] for _ in range(200)]
        spread[least] = float(torch.cat(codes).std(0).mean())
    assert spread[0.0] == pytest.approx(0.1, abs=0.03) and 0.4 < spread[0.6] < 0.6  # of what is within bounds


def test_new_weights_leave_the_memory_of_an_episode_alone():
    agent = lived({"warmup": 0}, spaces())
    policy = agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    _, state = policy.act(np.ones(4, np.float32), policy.initial_state(), None)
    kept = [part.clone() for part in state[0]]
    agent.learn()
    policy.load(agent.policy_weights())
    policy.act(np.ones(4, np.float32), state, None)
    assert all(torch.equal(a, b) for a, b in zip(kept, state[0]))


def test_a_snapshot_of_version_0_1_is_restored():
    agent = lived({}, spaces())
    agent.learn()
    now = agent.snapshot()
    former = {
        "model/continues.": "model/goes_on.",
        "behaviour/return_range": "behaviour/range",
        "behaviour/value_offset": "behaviour/common",
    }
    old = {}
    for name, value in now.items():
        for new, before in former.items():
            name = name.replace(new, before)
        old[name] = value
    assert len(old.keys() - now.keys()) > 2 and "model/goes_on.linear.bias" in old
    other = Agent(agent.options, agent.spaces, 1)
    other.restore(old)
    restored = other.snapshot()
    assert restored.keys() == now.keys() and all(torch.equal(restored[n], now[n]) for n in now)


def test_the_model_is_judged_by_what_it_has_not_learned_from():
    agent = lived({}, spaces(), steps=1100, length=200)
    agent.learn()
    error = agent.model_error()
    assert set(error) == {"model_error_1_step", "model_error_5_step"}
    assert all(0 < value < np.inf for value in error.values())
    segment = agent.dream_against_reality()
    assert segment["real"].shape == segment["dream"].shape == (15, 4)
    held_out = agent.replay.fields["observation"][960 + 5 : 960 + 20].numpy()
    assert np.array_equal(segment["real"], held_out)


def test_a_dream_of_pictures_is_drawn_as_a_film(tmp_path):
    agent, nothing = Agent(override(Options(), SMALL), spaces("pixels"), 0), np.zeros(2, np.float32)
    pictures = np.random.default_rng(0).integers(0, 256, (1100, 64, 64, 3), np.uint8)
    for step, (now, following) in enumerate(zip(pictures, pictures[1:])):
        agent.replay.add(Transition(now, nothing, 0.0, following, False, False, 0, step, 0), nothing, 0.0)
    segment = agent.dream_against_reality()
    assert np.array_equal(segment["real"], pictures[965:980]) and segment["dream"].dtype == np.uint8
    run = Run.create(
        tmp_path / "run", resolve("spiking_wm", "dm_control/cartpole-swingup-pixels-v0", {}), "x"
    )
    run.keep_segment(segment)
    assert [path.name for path in draw(run.path)] == ["dream.png", "dream.gif"]
    film = iio.imread(run.path / "dream.gif")
    assert film.shape == (15, 3 * 64, 3 * 3 * 64, 3)
    mean = film[:, :, :192].mean((1, 2)), pictures[965:980].mean((1, 2))  # a GIF has 256 colours
    assert np.allclose(*mean, atol=8)
