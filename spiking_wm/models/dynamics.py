"""The world model in the environment's own units: training, judging and imagining with it."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.memory.transitions import Replay
from spiking_wm.models.ensemble import SpikingWorldModel
from spiking_wm.models.options import DreamOptions, ModelOptions

_JUDGED = 512  # held-out stretches used per judgement


class Step(NamedTuple):
    """Mean prediction of the ensemble in the environment's units, each ``[B, ...]``."""

    next_observation: Tensor
    reward: Tensor
    terminated: Tensor
    uncertainty: Tensor
    variance: Tensor | None = None  # between members, of normalised changes, [B, S]; the mean is uncertainty


class Dream(NamedTuple):
    """Imagined transitions that were accepted, and how many there were before the filter."""

    transitions: dict[str, Tensor]
    imagined: int
    uncertainty: float


def _reach_to_the_end(steps: list[dict[str, Tensor]], rollouts: int) -> None:
    """Extend every transition, in place, by those that follow it in its ``rollout``, one of so many."""
    for this, later in reversed(list(itertools.pairwise(steps))):
        row = torch.full((rollouts,), -1)  # of each rollout in the later step
        row[later["rollout"]] = torch.arange(len(later["rollout"]))
        row = row[this["rollout"]]
        followed = (row >= 0).nonzero().flatten()
        next_step = {name: value[row[followed]] for name, value in later.items()}
        this["reward"][followed] += this["discount"][followed] * next_step["reward"]
        this["discount"][followed] *= next_step["discount"]
        this["next_observation"][followed] = next_step["next_observation"]


class Dynamics(nn.Module):
    """Ensemble, the scales of its targets, and its optimiser.

    Args:
        observation_size, action_size: widths of the inputs.
        model: sizes and learning of the ensemble.
        dream: which imagined transitions are accepted.
        normaliser: the agent's own observation normaliser, shared with actor and critic.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        model: ModelOptions,
        dream: DreamOptions,
        normaliser: Normaliser,
    ):
        super().__init__()
        self.model, self.dream = model, dream
        self.normaliser = normaliser
        self.change = Normaliser(observation_size)
        self.reward = Normaliser(1)
        self.network = SpikingWorldModel(observation_size, action_size, model)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), model.lr, weight_decay=model.weight_decay, fused=True
        )
        self.register_buffer("threshold", torch.tensor(float(dream.threshold)))
        self.register_buffer("calibration", torch.ones(()))

    def scales(self) -> tuple[Tensor, Tensor]:
        """Units of predicted state change ``[S]`` and reward ``[1]``."""
        if self.model.scale_targets:
            return self.change.scale, self.reward.scale
        return self.normaliser.scale, torch.ones(1)

    def learn(self, replay: Replay, generator: Generator) -> dict[str, float]:
        """One update; each member draws its own transitions from the part not held out."""
        rows = replay.sample_training((self.model.members, self.model.batch), generator)
        batch = replay.at(rows)
        change_scale, reward_scale = self.scales()
        target = (batch["next_observation"] - batch["observation"]) / change_scale
        target_reward = batch["reward"][..., 0] / reward_scale
        p = self.network(self.normaliser(batch["observation"]), batch["action"])
        change_loss = (p.delta - target).square().mean((-1, -2))
        reward_loss = (p.reward - target_reward).square().mean(-1)
        termination_loss = F.binary_cross_entropy_with_logits(
            p.termination_logit, batch["terminated"][..., 0], reduction="none"
        ).mean(-1)
        # summed over members: each then gets the gradient that it would get alone
        loss = (change_loss + 0.5 * reward_loss + termination_loss).sum()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0 * self.model.members)
        self.optimiser.step()
        return {"model_loss": float(loss.detach()) / self.model.members}

    @torch.no_grad()
    def step(self, observation: Tensor, action: Tensor) -> Step:
        """Predict the step after ``[B, S]`` and ``[B, A]``; uncertainty is the members' variance."""
        change_scale, reward_scale = self.scales()
        p = self.network(self.normaliser(observation), action)
        variance = p.delta.var(0) * self.calibration
        return Step(
            observation + p.delta.mean(0) * change_scale,
            p.reward.mean(0) * reward_scale,
            p.termination_logit.mean(0) > 0,
            variance.mean(-1),
            variance,
        )

    @torch.no_grad()
    def open_loop(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Predicted observations ``[W, H, S]`` after each action of ``[W, H, ...]`` stretches.

        And the standard deviation of each step between members, ``[W, H, S]``.
        """
        observation, predicted, deviations = batch["observation"][:, 0], [], []
        for action in batch["action"].unbind(1):
            step = self.step(observation, action)
            observation = step.next_observation
            predicted.append(observation)
            deviations.append(step.variance.sqrt() * self.scales()[0])
        return torch.stack(predicted, 1), torch.stack(deviations, 1)

    @torch.no_grad()
    def calibrate(self, replay: Replay) -> None:
        """Scale uncertainty so that on held-out data its mean is the mean squared error."""
        rows = replay.held_out(1)[-_JUDGED:, 0]
        if not self.dream.calibrate or not len(rows):
            return
        batch = replay.at(rows)
        self.calibration.fill_(1.0)
        step = self.step(batch["observation"], batch["action"])
        error = ((step.next_observation - batch["next_observation"]) / self.scales()[0]).square().mean()
        self.calibration.copy_(error / step.uncertainty.mean().clamp(min=1e-8))

    @torch.no_grad()
    def error(self, replay: Replay, horizons: tuple[int, ...] = (1, 5)) -> dict[str, float]:
        """Held-out squared error after each horizon, as a share of the no-change model's.

        A horizon without held-out stretches is left out.
        """
        errors = {}
        for horizon in horizons:
            windows = replay.held_out(horizon)[-_JUDGED:]
            if not len(windows):
                continue
            batch = replay.at(windows)
            real, start = batch["next_observation"][:, -1], batch["observation"][:, 0]
            scale = self.normaliser.scale
            missed = ((self.open_loop(batch)[0][:, -1] - real) / scale).square().mean()
            trivial = ((start - real) / scale).square().mean()
            errors[f"model_error_{horizon}_step"] = float(missed / trivial.clamp(min=1e-12))
        return errors

    @torch.no_grad()
    def imagine(
        self,
        start: Tensor,
        act: Callable[[Tensor], Tensor],
        discount: float,
        exploration_noise: float,
        generator: Generator,
    ) -> Dream:
        """Roll out from ``start [B, S]``; a rollout ends where it is too uncertain or terminates.

        With ``multi_step`` the reward of an imagined transition is the discounted sum up to the end of
        its rollout, and ``next_observation`` and ``discount`` are those of that end (model-based value
        expansion, Feinberg et al. 2018, for every step of the rollout).

        Args:
            start: real observations.
            act: the policy, from observations ``[B, S]`` to actions ``[B, A]`` in ``[-1, 1]``.
            discount: factor per step.
            exploration_noise: standard deviation of acting noise, in half ranges.
            generator: source of exploration noise.
        """
        o = self.dream
        pessimism = o.pessimism * self.scales()[1]
        observation, threshold = start, self.threshold.clone()
        rollout = torch.arange(len(start))
        kept, imagined, uncertain = [], 0, 0.0
        for _ in range(o.horizon):
            action = act(observation)
            noise = torch.randn(action.shape, generator=generator) * exploration_noise
            action = (action + noise).clamp(-1, 1)
            step = self.step(observation, action)
            imagined += len(observation)
            uncertain += float(step.uncertainty.sum())
            sure = step.uncertainty < threshold
            transition = {
                "observation": observation,
                "action": action,
                "reward": (step.reward - pessimism * step.uncertainty)[:, None],
                "next_observation": step.next_observation,
                "discount": discount * (~step.terminated).float()[:, None],
                "rollout": rollout,
            }
            kept.append({name: value[sure] for name, value in transition.items()})
            goes_on = sure & ~step.terminated
            observation, rollout = step.next_observation[goes_on], rollout[goes_on]
            threshold *= o.threshold_decay
            if not len(observation):
                break
        if o.multi_step:
            _reach_to_the_end(kept, len(start))
        transitions = {name: torch.cat([k[name] for k in kept]) for name in kept[0] if name != "rollout"}
        return Dream(transitions, imagined, uncertain / imagined)

    def adapt_threshold(self, accepted: float) -> None:
        """Move the threshold 5 % so that the accepted share stays within its band."""
        if accepted < self.dream.acceptance_low:
            self.threshold.mul_(1.05).clamp_(max=2.0)
        elif accepted > self.dream.acceptance_high:
            self.threshold.mul_(0.95).clamp_(min=0.01)

    def longest_held_out(self, replay: Replay, horizon: int) -> dict[str, np.ndarray]:
        """The newest held-out stretch, as `Agent.dream_against_reality` gives it."""
        windows = replay.held_out(horizon)[-1:]
        if not len(windows):
            return {}
        batch = replay.at(windows)
        dream, uncertainty = self.open_loop(batch)
        stretch = {"real": batch["next_observation"], "dream": dream, "uncertainty": uncertainty}
        return {name: values[0].numpy() for name, values in stretch.items()}
