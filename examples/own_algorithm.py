"""An algorithm of your own: Q-learning by a spiking layer whose read-out alone learns.

The class can live in any package. To have ``algorithm:=spiking_q`` known everywhere (command line, ROS graph,
Python), name it in that package's ``pyproject.toml``::

    [project.entry-points."spiking_wm.agents"]
    spiking_q = "my_package.my_module:SpikingQ"

Here it is registered by hand, for this process.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import spiking_wm
from spiking_wm.core.contract import Metrics, Transition, Weights
from spiking_wm.core.options import option
from spiking_wm.core.spaces import Spaces
from spiking_wm.neurons.lif import clif


@dataclass(frozen=True)
class Options:
    """Options of the algorithm; each is at once a keyword, a command line argument and a ROS parameter."""

    neurons: int = option(200, "spiking neurons", 1, 100_000)
    ticks: int = option(8, "time steps of the network within one decision", 1, 64)
    lr: float = option(0.01, "learning rate of the read-out", 0, 1)
    discount: float = option(0.97, "discount factor per step", 0, 1)
    epsilon: float = option(0.1, "share of random actions", 0, 1)


def rates(weights: Tensor, observation: np.ndarray, ticks: int) -> Tensor:
    """Firing rates ``[N]`` of current-based LIF neurons that see an observation ``[D]``."""
    drive = weights @ torch.cat([torch.as_tensor(observation), torch.ones(1)])
    spikes, _ = clif(drive.expand(1, 1, -1), ticks)  # a drive that does not change
    return spikes.mean(0)[0]


class SpikingQPolicy(spiking_wm.Policy):
    """Acts by the highest value, sometimes at random."""

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights."""
        self.inputs, self.readout = weights["inputs"], weights["readout"]

    def act(
        self, observation: np.ndarray, state: None, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, None]:
        """Without memory, so that there is no state."""
        actions = len(self.readout)
        if rng is not None and rng.random() < self.options.epsilon:
            return np.asarray(rng.integers(actions)), None
        values = self.readout @ rates(self.inputs, observation, self.options.ticks)
        return np.asarray(int(values.argmax())), None


class SpikingQ(spiking_wm.Agent):
    """Learns by temporal differences in every step, from that step alone."""

    policy_class, options_class = SpikingQPolicy, Options
    preset = {"learn_after": 0, "updates_per_step": 0, "policy_every": 10}  # noqa: RUF012

    def __init__(self, options: Options, spaces: Spaces, seed: int):
        super().__init__(options, spaces, seed)
        generator = torch.Generator().manual_seed(seed)
        inputs = spaces.observation.shape[0] + 1
        self.inputs = torch.randn(options.neurons, inputs, generator=generator)
        self.readout = 0.01 * torch.randn(int(spaces.action.n), options.neurons, generator=generator)

    def policy_weights(self) -> Weights:
        """Copies of what the policy needs."""
        return {"inputs": self.inputs.clone(), "readout": self.readout.clone()}

    def observe(self, transition: Transition) -> None:
        """Move the value of what was done towards the reward and what may come."""
        o, action = self.options, int(transition.action)
        now = rates(self.inputs, transition.observation, o.ticks)
        later = rates(self.inputs, transition.next_observation, o.ticks)
        best = 0.0 if transition.final else float((self.readout @ later).max())
        error = transition.reward + o.discount * best - float(self.readout[action] @ now)
        self.readout[action] += o.lr * error * now

    def learn(self) -> Metrics:
        """Nothing: it learns in `observe`."""
        return {}

    def snapshot(self) -> Weights:
        """Everything that it goes on from."""
        return self.policy_weights()

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        self.inputs, self.readout = snapshot["inputs"].clone(), snapshot["readout"].clone()


def main() -> None:
    """Train it for a while."""
    spiking_wm.register_agent("spiking_q", SpikingQ, SpikingQ.preset)
    options: dict[str, Any] = {"evaluation": {"every": 1000, "episodes": 5}, "neurons": 100}
    run = spiking_wm.train("spiking_q", "CartPole-v1", steps=2000, **options)
    for evaluation in run.evaluations:
        print(f"step {evaluation.step}: mean return {evaluation.mean:.0f}")


if __name__ == "__main__":
    main()
