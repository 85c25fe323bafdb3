"""DreamPolicy rollouts, checked by hand on a world model that counts."""

import pytest
import torch
from torch import Tensor

from spiking_wm.core.contract import Budget
from spiking_wm.core.presets import resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.testing import experience
from spiking_wm.training.session import Session
from spiking_wm.world_models.dynamics import Dream, DreamPolicy, Dynamics, Step
from spiking_wm.world_models.options import DreamOptions, ModelOptions
from test.conftest import ENV


class Counting(Dynamics):
    """The observation counts up and is the reward; uncertain at 5, terminates at 12."""

    def step(self, observation: Tensor, action: Tensor) -> Step:
        following = observation + 1
        value = observation[:, 0]
        uncertainty = torch.where(value == 5, 9.0, 0.0)
        return Step(following, value, following[:, 0] == 12, uncertainty, uncertainty[:, None])


IDLE = DreamPolicy(lambda observation: torch.zeros(len(observation), 1), 0.5)


def counting(multi_step: bool = False) -> Counting:
    dreams = DreamOptions(horizon=3, pessimism=0.0, threshold=1.0, multi_step=multi_step)
    return Counting(1, 1, ModelOptions(), dreams, Normaliser(1))


def by_observation(dream: Dream) -> dict[float, tuple]:
    """``(reward, next_observation, discount)`` by observation."""
    rows = zip(*(dream.transitions[n].flatten().tolist() for n in ("reward", "next_observation", "discount")))
    return dict(zip(dream.transitions["observation"].flatten().tolist(), rows))


def imagined(start: list[float], multi_step: bool) -> dict[float, tuple]:
    dream = counting(multi_step).imagine(torch.tensor(start)[:, None], IDLE)
    return by_observation(dream)


def test_one_step_of_a_rollout_each():
    assert imagined([1, 4, 10], multi_step=False) == {
        1: (1, 2, 0.5),
        2: (2, 3, 0.5),
        3: (3, 4, 0.5),
        4: (4, 5, 0.5),  # the step after it is too uncertain
        10: (10, 11, 0.5),
        11: (11, 12, 0),  # terminates
    }


def test_values_reach_to_the_end_of_their_rollout():
    assert imagined([1, 4, 10], multi_step=True) == {
        1: (1 + 2 / 2 + 3 / 4, 4, pytest.approx(0.125)),
        2: (2 + 3 / 2, 4, 0.25),
        3: (3, 4, 0.5),
        4: (4, 5, 0.5),
        10: (10 + 11 / 2, 12, 0),
        11: (11, 12, 0),
    }


def test_real_transitions_are_extended_by_the_rollout_that_follows_them():
    real = {
        "observation": torch.tensor([[1.0], [3.0], [4.0], [10.0], [20.0]]),
        "action": torch.arange(5.0)[:, None],
        "reward": torch.full((5, 1), 100.0),
        "next_observation": torch.tensor([[2.0], [4.0], [5.0], [11.0], [21.0]]),
        "terminated": torch.tensor([[0.0], [0.0], [0.0], [0.0], [1.0]]),
    }
    dream = counting().imagine_after(real, IDLE)
    assert by_observation(dream) == {
        1: (100 + 2 / 2 + 3 / 4 + 4 / 8, 5, pytest.approx(1 / 16)),
        3: (100 + 4 / 2, 5, 0.25),  # the second step is too uncertain
        4: (100, 5, 0.5),  # so is the first one
        10: (100 + 11 / 2, 12, 0),  # the imagined step terminates
        20: (100, pytest.approx(24), 0),  # the real one did
    }
    assert torch.equal(dream.transitions["action"], real["action"])
    assert (real["reward"] == 100).all() and real["next_observation"][0] == 2
    assert (dream.imagined, dream.accepted) == (3 + 2 + 1 + 1 + 3, 3 + 1 + 0 + 1 + 3)


@pytest.mark.parametrize("steps, share", [(100, 0.5), (140, 0.25), (180, 0.125)])
def test_the_imagined_share_halves_with_the_steps_after_warm_up(steps, share, monkeypatch):
    given = {"warmup": 100, "batch": 16, "model.batch": 16, "dream.share": 0.5, "dream.share_halving": 40}
    setup = resolve("popsan_dream", ENV, given | {"model.first_updates": 3, "dream.memory": 1000})
    session = Session(ENV, 0, steps=10_000)
    agent = agent_class(setup.agent)(setup.agent_options, session.spaces, 0)
    experience(agent, session, steps)
    shares = []
    monkeypatch.setattr(agent, "update_policy", lambda share: shares.append(share) or {})
    *_, progress = agent.dream(Budget(rollouts=32))
    assert progress.updates == len(shares) > 0
    assert agent.dynamics.updates == 3
    assert shares == pytest.approx([share] * len(shares))
