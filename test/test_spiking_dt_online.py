"""Decision transformers that learn by what they do themselves, and in dreams."""

from pathlib import Path

import numpy as np
import pytest
import torch

from spiking_wm.agents.spiking_dt.agent import Agent
from spiking_wm.agents.spiking_dt.experience import newest
from spiking_wm.core.contract import Budget, Transition
from spiking_wm.core.options import override
from spiking_wm.core.storage import load
from spiking_wm.runs.folder import Run
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from test.small_decider import CART, PENDULUM, SMALL, random_episode, spaces_of, taught

ROOT = Path(__file__).resolve().parents[1]
DREAMS = {"world_model": True, "dream": {"horizon": 6, "batch": 32}}

# --- on line ---


def live(agent: Agent, steps: int, env: str, every: int = 7) -> list[Transition]:
    """Steps with observations of its own making; episodes end every so many."""
    rng, seen, policy = np.random.default_rng(3), [], agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    width = agent.spaces.observation.shape[0]
    observation = rng.normal(size=width).astype(np.float32)
    for k in range(steps):
        if k % every == 0:
            state = policy.initial_state()
        action, state = policy.act(observation, state, rng)
        following = rng.normal(size=width).astype(np.float32)
        reward, end = float(rng.normal()), k % every == every - 1
        t = Transition(
            observation, action, reward, following, end and k % 2 == 0, end and k % 2 == 1, k // every, k, 1
        )
        agent.observe(t)
        state, observation = policy.rewarded(state, reward), following
        seen.append(t)
    return seen


@pytest.mark.parametrize("every", [7, 23])  # within a context, and beyond it
@pytest.mark.parametrize("env", [CART, PENDULUM])
def test_advantages_as_a_loop_over_episodes_finds_them(env, every):
    o = override(SMALL, {"discount": 0.9, "online.trace_decay": 0.8, "target_return": 2.0})
    agent = Agent(o, spaces_of(env), 0)
    seen = live(agent, 64, env, every)[-40:]  # those before have been learned from
    s = newest(agent.replay, 40, o.network.context)
    found = agent.improvement._advantages(s)
    with torch.no_grad():
        values = agent.decider.value(agent.decider.features(s.trajectory)).double()
    places = (s.learned > 0).nonzero().tolist()  # of the 40 steps, in the order of time
    assert len(places) == 40
    expected, later = [], 0.0
    for step, (row, t) in reversed(list(zip(seen, places))):
        np.testing.assert_array_equal(s.trajectory.observation[row, t], step.observation)
        np.testing.assert_array_equal(s.trajectory.observation[row, t + 1], step.next_observation)
        follows = 0.0 if step.terminated else 0.9
        later = 0.0 if step.done else later
        later = step.reward + follows * float(values[row, t + 1]) - float(values[row, t]) + 0.72 * later
        expected.insert(0, later)
    for (row, t), advantage in zip(places, expected):
        assert abs(float(found.returns[row, t] - values[row, t]) - advantage) < 1e-4
    expected = torch.tensor(expected)
    normalised = (expected - expected.mean()) / expected.std(correction=0)
    torch.testing.assert_close(found.advantage[s.learned > 0], normalised.float(), atol=1e-4, rtol=1e-4)


def test_advantages_stay_in_an_episode_that_was_left_without_an_end():
    agent = Agent(SMALL, spaces_of(CART), 0)
    seen = live(agent, 12, CART)
    for row in range(12):
        agent.replay.fields["terminated"][row] = agent.replay.fields["truncated"][row] = 0
    s = newest(agent.replay, 12, SMALL.network.context)
    linked = s.linked[s.learned > 0].tolist()
    follows = [one.episode == other.episode for one, other in zip(seen, seen[1:])]
    assert linked == [*map(float, follows), 0.0] and 0.0 in linked[:-1]


def test_what_is_learned_on_line_is_judged_by_as_much_as_it_was_done_by():
    agent = Agent(SMALL, spaces_of(CART), 0)
    live(agent, 60, CART, every=30)
    s = newest(agent.replay, 45, SMALL.network.context)  # from the middle of an episode on
    before = s.valid.cumsum(1) - 1  # steps of context that there are
    learned = s.learned > 0
    assert learned.sum() == 45 and not (s.learned > s.valid).any()
    step = s.trajectory.step[:, :-1]
    assert (before[learned] >= step[learned].clamp_max(SMALL.network.context // 2)).all()
    assert (step[:, 1:] - step[:, :-1])[s.valid[:, 1:] > 0].eq(1).all()


def test_the_return_to_go_falls_by_rewards():
    agent = Agent(override(SMALL, {"target_return": 5.0}), spaces_of(CART), 0)
    seen = live(agent, 14, CART)
    left = agent.replay.fields["return_to_go"][:14, 0]
    for start in (0, 7):
        came = np.cumsum([0.0, *(t.reward for t in seen[start : start + 6])])
        np.testing.assert_allclose(left[start : start + 7], 5.0 - came, atol=1e-5)


@pytest.mark.parametrize("env", [CART, PENDULUM])
def test_practice_makes_what_was_worth_more_more_probable(env):
    agent = Agent(override(SMALL, {"online": {"epochs": 3, "lr": 0.003, "entropy": 0.0}}), spaces_of(env), 0)
    live(agent, 60, env)
    s = newest(agent.replay, 60, SMALL.network.context)
    goal = agent.improvement._advantages(s)
    metrics = agent.learn()
    assert all(np.isfinite(value) for value in metrics.values())
    with torch.no_grad():
        features = agent.decider.features(s.trajectory)[:, :-1]
        likely, _ = agent.decider.evaluate(features, s.trajectory.code[:, :-1])
    change = (likely - goal.log_probability)[s.learned > 0]
    assert float((change * goal.advantage[s.learned > 0]).mean()) > 0.003
    assert agent.learn() == {}  # nothing new was done since


# --- dreams ---


def test_dreams_go_by_the_models_alone_and_end_where_those_say(monkeypatch):
    episodes = [random_episode(12, np.random.default_rng(k)) for k in range(60)]
    agent = taught(episodes, monkeypatch, DREAMS)
    agent.learn()
    before = {name: value.clone() for name, value in agent.replay.snapshot().items()}
    agent.dreams.dynamics.threshold.fill_(1e6)
    s = agent.dreams.imagine(agent.decider, agent.replay, 32, torch.Generator().manual_seed(0))
    assert s.trajectory.observation.shape == (32, 7, 4) and s.valid[:, 0].all()
    torch.testing.assert_close(
        s.trajectory.return_to_go[:, 0] - s.reward.cumsum(1)[:, -1], s.trajectory.return_to_go[:, -1]
    )
    assert (torch.diff(s.trajectory.step, dim=1) == 1).all()
    over = s.terminated[:, :-1].cummax(1).values > 0
    assert not s.valid[:, 1:][over].any()
    assert s.attempted() == float(s.valid.sum())  # all that was tried was accepted
    s.terminated[0, 2], s.valid[0, 3:] = 1, 0  # one ends, and one is cut off
    s.valid[1, 1:] = 0
    assert s.attempted() - float(s.valid.sum()) == 1
    agent.dreams.dynamics.threshold.fill_(0.0)
    s = agent.dreams.imagine(agent.decider, agent.replay, 32, torch.Generator().manual_seed(0))
    assert not s.valid.any() and s.attempted() == 32
    weights = agent.policy_weights()
    agent.dreams.dynamics.threshold.fill_(1e6)
    progress = list(agent.dream(Budget(rollouts=64)))
    assert progress[-1].metrics["dream_accepted"] == 1
    assert progress[-1].rollouts == 64 and progress[-1].updates == 2 * 2 * SMALL.online.epochs
    assert not all(torch.equal(value, weights[name]) for name, value in agent.policy_weights().items())
    assert all(torch.equal(value, before[name]) for name, value in agent.replay.snapshot().items())


def test_a_dream_that_is_cut_off_keeps_what_it_learned(monkeypatch):
    episodes = [random_episode(12, np.random.default_rng(k)) for k in range(20)]
    agent = taught(episodes, monkeypatch, DREAMS)
    agent.dreams.dynamics.threshold.fill_(1e6)
    before, dream = agent.policy_weights(), agent.dream(Budget())
    for _ in range(3):
        next(dream)
    dream.close()
    assert not all(torch.equal(value, before[name]) for name, value in agent.policy_weights().items())


def test_without_a_target_the_highest_demonstrated_return_is_the_first_return_to_go(monkeypatch):
    agent = taught([random_episode(12, np.random.default_rng(0))], monkeypatch)
    assert agent.options.target_return == float("inf")
    policy = agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    seen, keys = np.ones(4, np.float32), []
    for target in (None, 12.0):
        state = policy.rewarded(policy.initial_state(target=target), 0.0)
        action, state = policy.act(seen, state, None)
        assert np.isfinite(action)
        keys.append(state.cache.keys)
    assert torch.equal(*keys)


def test_goes_on_from_what_version_0_1_wrote():
    """`return_to_go` had another name there, in checkpoints and in policies released within an episode."""
    run = Run(ROOT / "test/runs_0_1_0/spiking_dt")
    setup, checkpoint = run.config.resolve(), run.newest()
    spaces, old = spaces_of(run.config.env), load(checkpoint / "agent.safetensors")[0]
    agent = Agent(setup.agent_options, spaces, setup.schedule.seed)
    agent.restore(old)
    assert len(old["replay/asked"]) == len(agent.replay) == 80
    assert torch.equal(agent.replay.fields["return_to_go"][:80], old["replay/asked"])
    now = agent.snapshot()
    assert sorted(map(digest_of, now.values())) == sorted(map(digest_of, old.values()))
    policy = make_policy(load_bundle(checkpoint / "policy.safetensors"), spaces)
    weights = {name: value for name, value in old.items() if name.startswith("memory/")}
    policy.load(policy.weights() | weights)
    assert torch.equal(policy.state_to_join().return_to_go, old["memory/asked"])


def digest_of(tensor: torch.Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)} {tensor.contiguous().numpy().tobytes().hex()}"
