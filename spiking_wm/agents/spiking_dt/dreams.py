"""Rollouts of a decision transformer in an ensemble of spiking world models."""

import numpy as np
import torch
from torch import Generator, Tensor, nn

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.experience import Segments
from spiking_wm.agents.spiking_dt.network import Trajectory
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.core.contract import Metrics
from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.memory.transitions import Replay
from spiking_wm.world_models.dynamics import Dynamics
from spiking_wm.world_models.options import DreamOptions, ModelOptions


class Dreams(nn.Module):
    """The ensemble of world models (as in PopSAN), its training, and rollouts in it.

    Args:
        options: the agent's options.
        observation, action: widths of observations and of actions' codes.
        normaliser: normaliser of observations, shared with the decider.
    """

    def __init__(self, options: Options, observation: int, action: int, normaliser: Normaliser):
        super().__init__()
        self.options = options
        self.dynamics = Dynamics(observation, action, ModelOptions(), DreamOptions(), normaliser)

    def learn(self, replay: Replay, generator: Generator) -> Metrics:
        """One update of every member."""
        return self.dynamics.learn(replay, generator)

    def notice(self, change: Tensor, reward: Tensor) -> None:
        """Extend the scales of changes of observations ``[N, D]`` and of rewards ``[N, 1]``."""
        self.dynamics.change.extend(change)
        self.dynamics.reward.extend(reward)

    @torch.no_grad()
    def imagine(self, decider: Decider, replay: Replay, count: int, generator: Generator) -> Segments:
        """``count`` rollouts from real steps. A rollout ends where it terminates or is too uncertain."""
        horizon = self.options.dream.horizon
        first = replay.at(replay.sample((count,), generator))
        return_to_go, observation = [first["return_to_go"][:, 0]], [first["observation"]]
        step = first["step"].long() + torch.arange(horizon + 1)
        codes: list[Tensor] = []
        rewards, ends, valid = [], [], []
        alive, threshold = torch.ones(count), float(self.dynamics.threshold)
        for t in range(horizon):
            so_far = [*codes, torch.zeros(count, decider.action_width)]
            seen = Trajectory(
                torch.stack(return_to_go, 1),
                torch.stack(observation, 1),
                torch.stack(so_far, 1),
                step[:, : t + 1],
            )
            noise = _noise(decider, count, generator)
            codes.append(decider.choose(decider.features(seen)[:, -1], noise))
            imagined = self.dynamics.step(observation[-1], codes[-1])
            valid.append(alive * (imagined.uncertainty < threshold))
            rewards.append(imagined.reward)
            ends.append(imagined.terminated.float())
            observation.append(imagined.next_observation)
            return_to_go.append(return_to_go[-1] - imagined.reward)
            alive = valid[-1] * (1 - ends[-1])
            threshold *= self.dynamics.dream.threshold_decay
        codes.append(torch.zeros(count, decider.action_width))
        trajectory = Trajectory(
            torch.stack(return_to_go, 1), torch.stack(observation, 1), torch.stack(codes, 1), step
        )
        reward, terminated, here = (torch.stack(parts, 1) for parts in (rewards, ends, valid))
        linked = nn.functional.pad(here[:, 1:], (0, 1))
        return Segments(trajectory, reward, terminated, here, here, linked)

    def error(self, replay: Replay) -> Metrics:
        """Held-out error after 1 and 5 steps, as a share of the no-change model's."""
        return self.dynamics.error(replay)

    def against_reality(self, replay: Replay) -> dict[str, np.ndarray]:
        """The newest held-out segment of 15 steps, or of 5, with its prediction."""
        return self.dynamics.longest_held_out(replay, 15, 5)


def _noise(decider: Decider, count: int, generator: Generator) -> Tensor:
    shape = (count, decider.action_width)
    if not decider.discrete:
        return torch.randn(shape, generator=generator)
    return -(-torch.rand(shape, generator=generator).log()).log()
