"""PopSAN + TD3 + an ensemble of spiking world models, with uncertainty-filtered dreaming."""

import time
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor

from spiking_wm.agents.popsan.network import EventDrivenPopSAN, PopSAN, chip_layers
from spiking_wm.agents.popsan.options import Options
from spiking_wm.agents.popsan.td3 import TD3
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.core import contract
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, restore_optimiser, unflatten
from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.memory.transitions import Replay
from spiking_wm.models.dynamics import Dynamics


def _sizes(spaces: Spaces) -> tuple[int, int]:
    observation, action, _ = spaces
    if len(observation.shape) != 1 or not isinstance(action, Box) or len(action.shape) != 1:
        raise UserError(
            f"popsan drives environments with vector observations and continuous actions, not"
            f" {observation.shape} and {action}: choose another env:="
        )
    if not (np.isfinite(action.low).all() and np.isfinite(action.high).all()):
        raise UserError("popsan needs bounded actions: set low and high of the action space")
    return observation.shape[0], action.shape[0]


class PopSANPolicy(contract.Policy):
    """The spiking actor, event-driven, with its normaliser. Decisions have no memory."""

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._sizes = _sizes(spaces)
        self._middle = (spaces.action.high + spaces.action.low) / 2
        self._half_range = (spaces.action.high - spaces.action.low) / 2

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights."""
        parts = unflatten(weights)
        sizes = self.options.actor
        self._actor = EventDrivenPopSAN(parts["actor"], sizes.widths(*self._sizes), sizes)
        self._layers = chip_layers(parts["actor"])
        normaliser = Normaliser(self._sizes[0])
        normaliser.load_state_dict(parts["normaliser"])
        self._mean, self._scale = normaliser.mean.float().numpy(), normaliser.scale.numpy()
        self._clip = normaliser.clip
        self._random = bool(weights["random"])

    def _normalised(self, observation: np.ndarray) -> np.ndarray:
        return ((observation - self._mean) / self._scale).clip(-self._clip, self._clip)

    def act(self, observation: np.ndarray, state: None, rng: np.random.Generator | None) -> tuple:
        """Greedy action plus Gaussian noise; uniformly random during warm-up."""
        if rng is not None and self._random:
            action = rng.uniform(-1, 1, self._middle.shape)
        else:
            action = self._decide(observation)
            if rng is not None:
                noise = rng.normal(0, self.options.exploration_noise, action.shape)
                action = (action + noise).clip(-1, 1)
        action = (self._middle + self._half_range * action).astype(np.float32)
        return action.clip(self.spaces.action.low, self.spaces.action.high), None

    def _decide(self, observation: np.ndarray) -> np.ndarray:
        encoded = self._actor.encode(self._normalised(observation))
        spikes = self.elsewhere(encoded, None, None) if self.elsewhere else None
        return self._actor.decode(self._actor.spikes(encoded)[-1] if spikes is None else spikes)

    def chip_network(self) -> ChipNetwork:
        """All layers; populations are encoded and decoded on the host."""
        return ChipNetwork(self._layers, self.options.actor.ticks)

    def spikes(self, observation: np.ndarray) -> list[np.ndarray]:
        """Spike trains ``[T, N]`` of every layer for one observation."""
        return self._actor.spikes(self._actor.encode(self._normalised(observation)))


class Agent(contract.Agent):
    """Learns from real transitions awake, and from imagined ones besides while it dreams."""

    policy_class = PopSANPolicy

    def __init__(self, options: Options, spaces: Spaces, seed: int):
        super().__init__(options, spaces, seed)
        observation_size, action_size = _sizes(spaces)
        self._middle = torch.from_numpy((spaces.action.high + spaces.action.low) / 2)
        self._half_range = torch.from_numpy((spaces.action.high - spaces.action.low) / 2)
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            actor = PopSAN(observation_size, action_size, options.actor)
            self.td3 = TD3(actor, observation_size, action_size, options)
            self.normaliser = Normaliser(observation_size)
            self.dynamics = (
                Dynamics(observation_size, action_size, options.model, options.dream, self.normaliser)
                if options.world_model
                else None
            )
        self.replay = Replay.of_transitions(options.replay.size, observation_size, action_size)
        self.dreams = Replay(
            options.dream.memory,
            {
                "observation": observation_size,
                "action": action_size,
                "reward": 1,
                "next_observation": observation_size,
                "discount": 1,
            },
        )

    # --- awake ---

    def policy_weights(self) -> Weights:
        """The actor and the normaliser, and whether to act at random still."""
        weights = flatten({"actor": self.td3.actor.acting(), "normaliser": self.normaliser.state_dict()})
        random = torch.tensor(self.replay.written < self.options.warmup)
        return {name: value.clone() for name, value in weights.items()} | {"random": random}

    def observe(self, transition: Transition) -> None:
        """Remember a transition and its statistics."""
        action = (torch.from_numpy(transition.action) - self._middle) / self._half_range
        reward = transition.reward * self.options.reward_scale
        transition = transition._replace(action=action, reward=reward)
        self.replay.add(transition)
        observation = torch.from_numpy(transition.observation)
        self.normaliser.update(observation)
        if self.dynamics:
            self.dynamics.change.update(torch.from_numpy(transition.next_observation) - observation)
            self.dynamics.reward.update(torch.tensor([reward]))

    def learn(self) -> Metrics:
        """One TD3 update, and every ``model.every``-th time one of the world model."""
        metrics = self._update_policy(self.options.dream.awake_share)
        if self.dynamics and self.td3.updates % self.options.model.every == 0:
            metrics |= self.dynamics.learn(self.replay, self._generator)
        return metrics

    def _update_policy(self, dream_share: float) -> Metrics:
        dreamed = round(self.options.batch * dream_share)
        if len(self.dreams) < dreamed:
            dreamed = 0
        batch = self.replay.at(self.replay.sample((self.options.batch - dreamed,), self._generator))
        del batch["truncated"]  # truncated steps bootstrap
        batch["discount"] = self.options.discount * (1 - batch.pop("terminated"))
        if dreamed:
            imagined = self.dreams.at(self.dreams.sample((dreamed,), self._generator))
            batch = {name: torch.cat([values, imagined[name]]) for name, values in batch.items()}
        for name in ("observation", "next_observation"):
            batch[name] = self.normaliser(batch[name])
        return self.td3.update(batch, self._generator)

    # --- dreaming ---

    @property
    def can_dream(self) -> bool:
        """Whether there is a world model and anything to start dreams from."""
        return self.dynamics is not None and len(self.replay) > self.options.warmup

    def dream(self, budget: Budget) -> Iterator[DreamProgress]:
        """Imagine batches of rollouts, with updates on real and imagined transitions after each."""
        o = self.options
        started, rollouts, updates, owed = time.monotonic(), 0, 0, 0.0
        imagined, accepted = 0, 0
        self.dynamics.calibrate(self.replay)

        def left() -> bool:
            return budget.lasts(rollouts, updates, time.monotonic() - started)

        while left():
            size = min(o.dream.batch, (budget.rollouts or 1 << 30) - rollouts)
            dream = self._imagine(size)
            rollouts, owed = rollouts + size, owed + size * o.dream.updates_per_rollout
            imagined, accepted = imagined + dream.imagined, accepted + len(dream.transitions["reward"])
            metrics = {
                "dream_accepted": accepted / imagined,
                "dream_uncertainty": dream.uncertainty,
                "dream_threshold": float(self.dynamics.threshold),
                "dream_imagined": float(imagined),
            }
            yield DreamProgress(rollouts, updates, metrics)
            while owed >= 1 and (budget.rollouts is not None or left()):
                if budget.updates is not None and updates >= budget.updates:
                    break
                metrics |= self._update_policy(o.dream.share)
                updates, owed = updates + 1, owed - 1
                yield DreamProgress(rollouts, updates, metrics)
        if imagined:
            self.dynamics.adapt_threshold(accepted / imagined)

    def _imagine(self, size: int):
        start = self.replay.at(self.replay.sample((size,), self._generator))["observation"]
        dream = self.dynamics.imagine(
            start,
            lambda observation: self.td3.actor(self.normaliser(observation)),
            self.options.discount,
            self.options.exploration_noise,
            self._generator,
        )
        self.dreams.extend(dream.transitions)
        return dream

    # --- judging and keeping ---

    def model_error(self) -> Metrics:
        """Held-out error after 1 and 5 steps, as a share of the no-change model's."""
        return self.dynamics.error(self.replay) if self.dynamics else {}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The newest held-out stretch of 15 steps, or of 5, with its prediction."""
        if not self.dynamics:
            return {}
        return self.dynamics.longest_held_out(self.replay, 15) or self.dynamics.longest_held_out(
            self.replay, 5
        )

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return self.td3.optimisers | ({"model": self.dynamics.optimiser} if self.dynamics else {})

    def _parts(self) -> dict:
        return {
            "td3": self.td3.state_dict(),
            "normaliser": self.normaliser.state_dict(),
            "dynamics": self.dynamics.state_dict() if self.dynamics else {},
            **{f"{name}_optimiser": optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "replay": self.replay.snapshot(),
            "dreams": self.dreams.snapshot(),
            "updates": torch.tensor(self.td3.updates),
            "generator": self._generator.get_state(),
        }

    def snapshot(self) -> Weights:
        """All networks, optimisers, memories, counters and random states."""
        return {name: value.clone() for name, value in flatten(self._parts()).items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        parts = unflatten(snapshot)
        self.td3.load_state_dict(parts["td3"])
        self.normaliser.load_state_dict(parts["normaliser"])
        if self.dynamics:
            self.dynamics.load_state_dict(parts["dynamics"])
        for name, optimiser in self._optimisers().items():
            restore_optimiser(optimiser, parts.get(f"{name}_optimiser", {}))
        self.replay.restore(parts["replay"])
        self.dreams.restore(parts["dreams"])
        self.td3.updates = int(snapshot["updates"])
        self._generator.set_state(snapshot["generator"])
