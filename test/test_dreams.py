"""Imagined rollouts, checked by hand on a world model that counts."""

import pytest
import torch
from torch import Tensor

from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.world_models.dynamics import Dynamics, Step
from spiking_wm.world_models.options import DreamOptions, ModelOptions


class Counting(Dynamics):
    """The observation counts up and is the reward; uncertain at 5, terminates at 12."""

    def step(self, observation: Tensor, action: Tensor) -> Step:
        following = observation + 1
        value = observation[:, 0]
        uncertainty = torch.where(value == 5, 9.0, 0.0)
        return Step(following, value, following[:, 0] == 12, uncertainty, uncertainty[:, None])


def imagined(start: list[float], multi_step: bool) -> dict[float, tuple]:
    """``(reward, next_observation, discount)`` by observation."""
    dreams = DreamOptions(horizon=3, pessimism=0.0, threshold=1.0, multi_step=multi_step)
    dynamics = Counting(1, 1, ModelOptions(), dreams, Normaliser(1))
    act = lambda observation: torch.zeros(len(observation), 1)  # noqa: E731
    dream = dynamics.imagine(torch.tensor(start)[:, None], act, 0.5, 0.1, torch.Generator())
    rows = zip(*(dream.transitions[n].flatten().tolist() for n in ("reward", "next_observation", "discount")))
    return dict(zip(dream.transitions["observation"].flatten().tolist(), rows))


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
