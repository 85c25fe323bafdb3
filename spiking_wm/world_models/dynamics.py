"""The world model in the environment's own units: training, evaluation and imagined rollouts."""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm.core.adam import Adam
from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.memory.transitions import Replay
from spiking_wm.world_models.ensemble import SpikingWorldModel
from spiking_wm.world_models.options import DreamOptions, ModelOptions

_EVALUATED = 512  # held-out segments used per evaluation, at most


class Step(NamedTuple):
    """Mean prediction of the ensemble in the environment's units, each ``[B, ...]``."""

    next_observation: Tensor
    reward: Tensor
    terminated: Tensor
    uncertainty: Tensor  # mean of `variance` over the state's values, [B]
    variance: Tensor  # variance between members of the change in target units, calibrated, [B, S]


class DreamPolicy(NamedTuple):
    """The policy of imagined rollouts."""

    act: Callable[[Tensor], Tensor]  # from observations [B, S] to actions [B, A] in [-1, 1], with noise
    discount: float  # factor per step


class Dream(NamedTuple):
    """What is learned from imagined rollouts."""

    transitions: dict[str, Tensor]
    imagined: int  # imagined transitions, before the uncertainty filter
    accepted: int  # after it
    uncertainty: float  # mean over all of them


def _extend_to_rollout_end(steps: list[dict[str, Tensor]], rollouts: int) -> None:
    """Extend every transition, in place, from its step to the end of its rollout.

    Args:
        steps: accepted transitions of each step of the rollouts; ``rollout [B]`` numbers their rollouts.
        rollouts: number of rollouts.
    """
    for this, later in reversed(list(itertools.pairwise(steps))):
        row = torch.full((rollouts,), -1)  # row of each rollout in the following step; -1: ended
        row[later["rollout"]] = torch.arange(len(later["rollout"]))
        row = row[this["rollout"]]
        followed = (row >= 0).nonzero().flatten()
        next_step = {name: value[row[followed]] for name, value in later.items()}
        this["reward"][followed] += this["discount"][followed] * next_step["reward"]
        this["discount"][followed] *= next_step["discount"]
        this["next_observation"][followed] = next_step["next_observation"]


class Dynamics(nn.Module):
    """The ensemble with the scales of its targets, its optimiser and its uncertainty filter.

    Args:
        observation_size, action_size: widths of the inputs.
        model: options of the ensemble and its training.
        dream: options of rollouts and of the uncertainty filter.
        normaliser: the agent's observation normaliser, shared with actor and critic.
    """

    threshold: Tensor  # largest accepted uncertainty at the first step of a rollout
    calibration: Tensor  # factor on the variance between members

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
        self.optimiser = Adam(
            self.network.parameters(), model.lr, weight_decay=model.weight_decay, fused=True
        )
        self.register_buffer("threshold", torch.tensor(float(dream.threshold)))
        self.register_buffer("calibration", torch.ones(()))

    def scales(self) -> tuple[Tensor, Tensor]:
        """Units in which state change ``[S]`` and reward ``[1]`` are predicted."""
        if self.model.scale_targets:
            return self.change.scale, self.reward.scale
        return self.normaliser.scale, torch.ones(1)

    @property
    def updates(self) -> int:
        """Number of updates so far."""
        return int(next((state["step"] for state in self.optimiser.state.values()), 0))

    def learn(self, replay: Replay, generator: Generator) -> dict[str, float]:
        """One update; each member draws its own batch of training transitions."""
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
        # the sum over members gives each member its own gradient
        loss = (change_loss + 0.5 * reward_loss + termination_loss).sum()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0 * self.model.members)
        self.optimiser.step()
        return {"model_loss": float(loss.detach()) / self.model.members}

    @torch.no_grad()
    def step(self, observation: Tensor, action: Tensor) -> Step:
        """Predict one step from observations ``[B, S]`` and actions ``[B, A]`` in ``[-1, 1]``."""
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
        """Predict segments ``[W, H, ...]`` from their first observations and their actions.

        Returns:
            Observations after each action and the standard deviation between members of each single step,
            both ``[W, H, S]`` in the environment's units.
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
        """Scale uncertainty so that its mean on held-out data equals the mean squared error."""
        rows = replay.held_out(1)[-_EVALUATED:, 0]
        if not self.dream.calibrate or not len(rows):
            return
        batch = replay.at(rows)
        self.calibration.fill_(1.0)
        step = self.step(batch["observation"], batch["action"])
        error = ((step.next_observation - batch["next_observation"]) / self.scales()[0]).square().mean()
        self.calibration.copy_(error / step.uncertainty.mean().clamp(min=1e-8))

    @torch.no_grad()
    def error(self, replay: Replay, horizons: tuple[int, ...] = (1, 5)) -> dict[str, float]:
        """Held-out open-loop squared error after each horizon, divided by that of predicting no change.

        Horizons without held-out segments are left out.
        """
        errors = {}
        for horizon in horizons:
            segments = replay.held_out(horizon)[-_EVALUATED:]
            if not len(segments):
                continue
            batch = replay.at(segments)
            real, start = batch["next_observation"][:, -1], batch["observation"][:, 0]
            scale = self.normaliser.scale
            error = ((self.open_loop(batch)[0][:, -1] - real) / scale).square().mean()
            no_change = ((start - real) / scale).square().mean()
            errors[f"model_error_{horizon}_step"] = float(error / no_change.clamp(min=1e-12))
        return errors

    def imagine(self, start: Tensor, policy: DreamPolicy) -> Dream:
        """Imagine rollouts from real observations.

        With ``multi_step`` the reward of an imagined transition is the discounted sum up to the end of
        its rollout, and ``next_observation`` and ``discount`` are those of that end (model-based value
        expansion, Feinberg et al. 2018, for every step of the rollout).

        Args:
            start: real observations ``[B, S]``, one per rollout.
            policy: who acts.

        Returns:
            Accepted transitions: ``observation``, ``action``, ``reward``, ``next_observation``, and
            ``discount``, the factor on the next observation's value.
        """
        steps, imagined, uncertainty = self._roll_out(start, policy)
        if self.dream.multi_step:
            _extend_to_rollout_end(steps, len(start))
        transitions = {name: torch.cat([step[name] for step in steps]) for name in steps[0]}
        del transitions["rollout"]
        accepted = len(transitions["reward"])
        return Dream(transitions, imagined, accepted, uncertainty)

    def imagine_after(self, real: dict[str, Tensor], policy: DreamPolicy) -> Dream:
        """Imagine how real transitions go on, for values alone: imagined states are not learned from.

        Args:
            real: transitions ``[B, ...]`` of a `Replay`.
            policy: who acts after them.

        Returns:
            The real transitions, each extended to the end of the rollout that follows it, as in `imagine`;
            those whose first imagined step was not accepted are as they were.
        """
        steps, imagined, uncertainty = self._roll_out(real["next_observation"], policy)
        first = {name: real[name] for name in ("observation", "action")}
        first |= {name: real[name].clone() for name in ("reward", "next_observation")}
        first["discount"] = policy.discount * (1 - real["terminated"])
        first["rollout"] = torch.arange(len(first["discount"]))
        _extend_to_rollout_end([first, *steps], len(first["rollout"]))
        del first["rollout"]
        return Dream(first, imagined, sum(len(step["reward"]) for step in steps), uncertainty)

    @torch.no_grad()
    def _roll_out(self, start: Tensor, policy: DreamPolicy) -> tuple[list[dict[str, Tensor]], int, float]:
        """Accepted transitions of each step, transitions before the filter, and their mean uncertainty.

        A rollout ends where it is too uncertain or terminates.
        """
        o = self.dream
        pessimism = o.pessimism * self.scales()[1]
        observation, threshold = start, self.threshold.clone()
        rollout = torch.arange(len(start))
        accepted, imagined, uncertainty = [], 0, 0.0
        for _ in range(o.horizon):
            action = policy.act(observation)
            step = self.step(observation, action)
            imagined += len(observation)
            uncertainty += float(step.uncertainty.sum())
            certain = step.uncertainty < threshold
            transition = {
                "observation": observation,
                "action": action,
                "reward": (step.reward - pessimism * step.uncertainty)[:, None],
                "next_observation": step.next_observation,
                "discount": policy.discount * (~step.terminated).float()[:, None],
                "rollout": rollout,
            }
            accepted.append({name: value[certain] for name, value in transition.items()})
            continues = certain & ~step.terminated
            observation, rollout = step.next_observation[continues], rollout[continues]
            threshold *= o.threshold_decay
            if not len(observation):
                break
        return accepted, imagined, uncertainty / imagined

    def adapt_threshold(self, accepted: float) -> None:
        """Raise or lower the threshold by 5 % if the ``accepted`` share is outside its band."""
        if accepted < self.dream.acceptance_low:
            self.threshold.mul_(1.05).clamp_(max=2.0)
        elif accepted > self.dream.acceptance_high:
            self.threshold.mul_(0.95).clamp_(min=0.01)

    def longest_held_out(self, replay: Replay, *horizons: int) -> dict[str, np.ndarray]:
        """The newest held-out segment of the first horizon that has one, and its prediction.

        Returns:
            ``real``, ``dream`` and ``uncertainty`` ``[H, S]``, as in `Agent.dream_against_reality`; empty if
            there is no segment of any horizon.
        """
        for horizon in horizons:
            segments = replay.held_out(horizon)[-1:]
            if len(segments):
                batch = replay.at(segments)
                dream, uncertainty = self.open_loop(batch)
                result = {"real": batch["next_observation"], "dream": dream, "uncertainty": uncertainty}
                return {name: values[0].numpy() for name, values in result.items()}
        return {}
