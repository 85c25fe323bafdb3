"""Actions whose mean probability falls below a floor are raised."""

import numpy as np
from gymnasium.spaces import Discrete

from spiking_wm.agents.rsnn.action_floor import ActionFloor
from spiking_wm.agents.rsnn.heads import Softmax


def used(*outputs: float, steps: int, min_use: float = 0.15) -> tuple[ActionFloor, np.ndarray]:
    """After so many steps of the same read-outs: the floor, and the last gradient."""
    floor, y = ActionFloor(Softmax(Discrete(len(outputs))), 1, min_use), np.float32([outputs])
    for _ in range(steps):
        gradient = floor.gradient(y)
    return floor, gradient


def test_an_action_that_is_rare_now_and_then_is_left_alone():
    _, gradient = used(0, 0, -20, steps=50)
    assert (gradient == 0).all()


def test_an_action_that_is_rare_for_long_is_raised_by_the_gradient_of_its_log_probability():
    outputs = np.float32([0, 1, -20])
    floor, gradient = used(*outputs, steps=1000)
    assert floor.mean[0, 2] < 0.05 < floor.mean[0, 0]
    step = np.float32(1e-2) * np.eye(3, dtype=np.float32)
    up, down = (np.log(Softmax.probabilities(outputs + sign * step)[:, 2]) for sign in (1, -1))
    assert np.allclose(gradient[0], (up - down) / 2e-2, atol=1e-3)


def test_an_action_lost_in_every_state_comes_back():
    """Gradient ascent on it alone; the entropy's gradient leaves it lost."""
    floor, head = ActionFloor(Softmax(Discrete(3)), 2, 0.15), Softmax(Discrete(3))
    raised, entropy_alone = np.zeros((2, 2, 3), np.float32)
    raised[:, 0] = entropy_alone[:, 0] = 30
    for _ in range(3000):
        raised += np.float32(0.1) * floor.gradient(raised)
        entropy_alone += np.float32(0.1) * head.entropy_gradient(entropy_alone)
    assert (head.probabilities(raised)[:, 1:] > 0.02).all()
    assert (head.probabilities(entropy_alone)[:, 1:] < 1e-6).all()
