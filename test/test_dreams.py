"""What is imagined in a dream, checked by hand on a world model that is known."""

import pytest
import torch
from torch import Tensor

from spiking_wm.agents.popsan.options import Options
from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.models.dynamics import Dynamics, Step


class Counting(Dynamics):
    """The observation counts up, its reward is itself; sure up to 4, over at 12."""

    def step(self, observation: Tensor, action: Tensor) -> Step:
        following = observation + 1
        value = observation[:, 0]
        return Step(following, value, following[:, 0] == 12, torch.where(value == 5, 9.0, 0.0))


def imagined(start: list[float], **options) -> dict[float, tuple]:
    """``(reward, next_observation, discount)`` by observation."""
    made = Options(discount=0.5, horizon=3, pessimism=0.0, uncertainty_threshold=1.0, **options)
    dynamics = Counting(1, 1, made, Normaliser(1))
    act = lambda observation: torch.zeros(len(observation), 1)  # noqa: E731
    dream = dynamics.imagine(torch.tensor(start)[:, None], act, 3, torch.Generator())
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
