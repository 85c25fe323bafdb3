"""Actions that are hardly taken any more are held up."""

import numpy as np
from gymnasium.spaces import Discrete

from spiking_wm.agents.rsnn.action_floor import Uses
from spiking_wm.agents.rsnn.heads import Softmax


def used(*outputs: float, steps: int, least: float = 0.15) -> tuple[Uses, np.ndarray]:
    """After so many steps of the same read-outs: the uses, and the last gradient."""
    uses, y = Uses(Softmax(Discrete(len(outputs))), 1, least), np.float32([outputs])
    for _ in range(steps):
        gradient = uses.hold_up(y)
    return uses, gradient


def test_an_action_that_is_rare_now_and_then_is_left_alone():
    _, gradient = used(0, 0, -20, steps=50)
    assert (gradient == 0).all()


def test_an_action_that_is_rare_for_long_is_held_up_by_the_gradient_of_its_log_probability():
    outputs = np.float32([0, 1, -20])
    uses, gradient = used(*outputs, steps=1000)
    assert uses.mean[0, 2] < 0.05 < uses.mean[0, 0]
    step = np.float32(1e-2) * np.eye(3, dtype=np.float32)
    up, down = (np.log(Softmax.probabilities(outputs + sign * step)[:, 2]) for sign in (1, -1))
    assert np.allclose(gradient[0], (up - down) / 2e-2, atol=1e-3)


def test_an_action_lost_in_every_state_comes_back():
    """Gradient ascent on it alone; the entropy's gradient leaves it lost."""
    uses, head = Uses(Softmax(Discrete(3)), 2, 0.15), Softmax(Discrete(3))
    held, entropy_alone = np.zeros((2, 2, 3), np.float32)
    held[:, 0] = entropy_alone[:, 0] = 30
    for _ in range(3000):
        held += np.float32(0.1) * uses.hold_up(held)
        entropy_alone += np.float32(0.1) * head.spread(entropy_alone)
    assert (head.probabilities(held)[:, 1:] > 0.02).all()
    assert (head.probabilities(entropy_alone)[:, 1:] < 1e-6).all()
