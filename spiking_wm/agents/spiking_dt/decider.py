"""A decision transformer as a policy: normalised inputs, and outputs as a distribution of actions."""

import math

import torch
from torch import Tensor, nn

from spiking_wm.agents.spiking_dt.network import (
    ACTION,
    OBSERVATION,
    RETURN,
    DecisionTransformer,
    Trajectory,
)
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.core.actions import Actions
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.memory.normaliser import Normaliser

_HALF_LOG_2_PI = 0.9189385
_LEAST_DEVIATION, _REACH = 0.05, 4.0  # of continuous actions; bound of the deviation's logarithm


class Decider(nn.Module):
    """Distribution of actions, categorical or Gaussian, and value of a step.

    Args:
        options: the agent's options.
        spaces: the environment's spaces.

    Raises:
        UserError: for observations that are not vectors, unsupported actions, or a width that is not a
            multiple of the number of heads.
    """

    highest: Tensor  # upper limit of the return-to-go input

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__()
        if len(spaces.observation.shape) != 1:
            raise UserError(f"spiking_dt sees vectors, not {spaces.observation.shape}: choose another env:=")
        network = options.network
        if network.width % network.heads:
            raise UserError(
                f"network.width:={network.width} is no multiple of network.heads:={network.heads}"
            )
        actions = Actions(spaces, "spiking_dt")
        self.options, self.discrete, self.action_width = options, actions.discrete, actions.width
        self.observation_width = spaces.observation.shape[0]
        self.normaliser = Normaliser(self.observation_width)
        outputs = actions.width if self.discrete else 2 * actions.width
        self.network = DecisionTransformer(
            self.observation_width, actions.width, outputs, network, options.spiking
        )
        # the network is not trained on returns above those of the demonstrations
        target = options.target_return
        self.register_buffer("highest", torch.tensor(target if math.isfinite(target) else 0.0))

    def features(self, trajectory: Trajectory) -> Tensor:
        """Features ``[B, L, d]`` of a trajectory in the environment's units."""
        return self.network(self.as_input(trajectory))

    def as_input(self, trajectory: Trajectory) -> Trajectory:
        """Convert a trajectory in the environment's units to network input (scaled and normalised)."""
        return_to_go, observation = (
            self._scaled(trajectory.return_to_go),
            self.normaliser(trajectory.observation),
        )
        return Trajectory(return_to_go, observation, self._shown(trajectory.code), trajectory.step)

    def _shown(self, code: Tensor) -> Tensor:
        return code if self.options.network.see_actions else torch.zeros_like(code)

    def _scaled(self, return_to_go: Tensor) -> Tensor:
        return return_to_go.minimum(self.highest) / self.options.return_scale

    def outputs(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities ``[..., A]`` (Discrete: the same twice), or mean and standard deviation."""
        said = self.network.head(features)
        if self.discrete:
            return (log := said.log_softmax(-1)), log
        mean, log_deviation = said.chunk(2, -1)
        deviation = self.options.network.deviation * log_deviation.clamp(-_REACH, _REACH).exp()
        return mean.tanh(), deviation.clamp_min(_LEAST_DEVIATION)

    def value(self, features: Tensor) -> Tensor:
        """Estimated future discounted return ``[...]``, in units of ``return_scale``."""
        return self.network.value(features)[..., 0]

    def evaluate(self, features: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probability of actions' codes ``[..., A]``, and entropy of the policy, both ``[...]``."""
        mean, deviation = self.outputs(features)
        if self.discrete:
            return (mean * code).sum(-1), -(mean.exp() * mean).sum(-1)
        log = deviation.log() + _HALF_LOG_2_PI
        return -(((code - mean) / deviation).square() / 2 + log).sum(-1), (log + 0.5).sum(-1)

    def choose(self, features: Tensor, noise: Tensor | None) -> Tensor:
        """Codes ``[..., A]``: the most probable, or drawn by Gumbel or Gaussian noise ``[..., A]``."""
        mean, deviation = self.outputs(features)
        if self.discrete:
            chosen = (mean if noise is None else mean + noise).argmax(-1)
            return nn.functional.one_hot(chosen, self.action_width).float()
        return mean if noise is None else (mean + deviation * noise).clamp(-1, 1)

    def tokens(
        self, return_to_go: Tensor, observation: Tensor, before: Tensor, step: int
    ) -> tuple[Tensor, Tensor]:
        """Tokens ``[n, d]`` that one more step of an episode adds, and their steps ``[n]``.

        Args:
            return_to_go: ``[1]``.
            observation: ``[D]``.
            before: code of the previous action, ``[A]``; not used at the first step.
            step: step in the episode.
        """
        now, kinds = torch.tensor([step]), (RETURN, OBSERVATION)
        parts = (self._scaled(return_to_go), self.normaliser(observation))
        tokens = [self.network.embedded(kind, part[None], now) for kind, part in zip(kinds, parts)]
        steps = [now, now]
        if step:
            tokens.insert(0, self.network.embedded(ACTION, self._shown(before)[None], now - 1))
            steps.insert(0, now - 1)
        return torch.cat(tokens), torch.cat(steps)
