"""Dreams against reality of the recurrent networks: what the model predicts open loop."""

import numpy as np
import pytest
import torch

from spiking_wm.agents.rsnn.agent import Agent
from spiking_wm.agents.rsnn.open_loop import STEPS
from spiking_wm.core.contract import Transition
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.pictures import draw
from test.small_actor_and_model import SMALL, SPACES, small

STILL = {"model_lr": 0.0, "model_change_lr": 0.0, "model_reward_lr": 0.0}


def transitions(steps: int, episode: int = 50) -> list[Transition]:
    world = np.random.default_rng(5)
    seen = world.uniform(-1, 1, (steps + 1, 3)).astype(np.float32)
    ends = [step % episode == episode - 1 for step in range(steps)]
    return [
        Transition(seen[t], np.int64(world.integers(2)), 0.1, seen[t + 1], False, ends[t], 0, t, 1)
        for t in range(steps)
    ]


def test_a_segment_is_what_the_model_goes_through_when_it_is_told_actions_alone():
    agent = Agent(small(**STILL), SPACES, 0)
    networks, model = agent.networks, agent.networks.model
    model.change[:] = np.random.default_rng(1).normal(0, 0.3, model.change.shape)
    experience = transitions(1 + STEPS)
    agent.observe(experience[0])
    activity = model.activity.copy()
    inputs, expected = networks.inputs(experience[1].observation[None]), []
    assert agent.dream_against_reality() == {}
    for t in experience[1:]:
        prediction = model.predict(activity, inputs, networks.head.code(np.array([t.action])))
        inputs = model.after(inputs, prediction)[0].clip(-1, 1)
        expected.append(inputs[0])
        agent.observe(t)
    segment = agent.dream_against_reality()
    assert np.array_equal(segment["real"], [t.next_observation for t in experience[1:]])
    assert np.allclose(segment["dream"], expected, atol=1e-6)
    assert np.abs(segment["dream"] - segment["real"]).max() > 0.1


def test_looking_ahead_changes_nothing_and_ends_with_the_episode():
    ahead, plain = Agent(SMALL, SPACES, 0), Agent(SMALL, SPACES, 0)
    plain._open_loop = None
    for t in transitions(120, episode=STEPS - 1):
        for agent in (ahead, plain):
            agent.observe(t)
    assert ahead.dream_against_reality() == {}  # no episode is long enough
    one, other = ahead.snapshot(), plain.snapshot()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not Agent(small(world_model=False), SPACES, 0).dream_against_reality()


@pytest.mark.parametrize("segments", [1, 3])
def test_the_last_whole_segment_is_kept_and_drawn(tmp_path, segments):
    agent = Agent(SMALL, SPACES, 0)
    experience = transitions(1 + segments * STEPS + 5, episode=1000)
    for t in experience:
        agent.observe(t)
    run = Run.create(tmp_path / "run", resolve("rsnn_dream", "PongRam-v0", {}), "PongRam-v0")
    run.keep_segment(agent.dream_against_reality())
    kept = run.dream_against_reality()
    last = experience[1 + (segments - 1) * STEPS :][:STEPS]
    assert np.array_equal(kept["real"], [t.next_observation for t in last])
    assert kept["dream"].shape == (STEPS, 3)
    (picture,) = draw(tmp_path / "run")
    assert picture.stat().st_size > 10_000
