"""PopSAN + TD3 + an ensemble of spiking world models, with uncertainty-filtered dreaming."""

import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.popsan.network import PopSAN
from spiking_wm.agents.popsan.options import Options
from spiking_wm.agents.popsan.policy import PopSANPolicy, vector_sizes
from spiking_wm.agents.popsan.td3 import TD3
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, restore_optimiser, unflatten
from spiking_wm.memory.normaliser import Normaliser
from spiking_wm.memory.transitions import Replay
from spiking_wm.world_models.dynamics import Dream, DreamPolicy, Dynamics


class Agent(contract.Agent):
    """TD3 on real transitions while awake, on real and imagined transitions while dreaming."""

    options_class = Options
    policy_class = PopSANPolicy
    serves_copies = True
    options: Options

    def __init__(self, options: Options, spaces: Spaces, seed: int, envs: int = 1):
        super().__init__(options, spaces, seed, envs)
        observation_size, action_size = vector_sizes(spaces)
        self._actions = Actions(spaces, "popsan")
        self.generator = torch.Generator().manual_seed(seed)
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
        self.replay = Replay.of_transitions(options.replay.size, observation_size, action_size, envs)
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
        """The actor, the normaliser, and whether the policy still acts at random (warm-up)."""
        actor = self.td3.acting_actor.acting()
        parts = {
            "actor": actor,
            "normaliser": self.normaliser.state_dict(),
            "noise": self.td3.noise.state_dict(),
        }
        weights = flatten(parts)
        random = torch.tensor(self._warming_up)
        return {name: value.clone() for name, value in weights.items()} | {"random": random}

    @property
    def _warming_up(self) -> bool:
        return self.replay.written < self.options.warmup

    def observe(self, transition: Transition) -> None:
        """Store a transition and update the running statistics."""
        action = self._actions.code(transition.action)
        reward = transition.reward * self.options.reward_scale
        self.replay.add(transition._replace(action=action, reward=reward), self.copy_of(transition))
        observation = torch.from_numpy(transition.observation)
        self.normaliser.update(observation)
        if self.dynamics:
            self.dynamics.change.update(torch.from_numpy(transition.next_observation) - observation)
            self.dynamics.reward.update(torch.tensor([reward]))

    def learn(self) -> Metrics:
        """One TD3 update, and one update of the world model every ``model.every`` TD3 updates."""
        metrics = self.update_policy(self.options.dream.awake_share)
        if self.dynamics and self.td3.updates % self.options.model.every == 0:
            metrics |= self.dynamics.learn(self.replay, self.generator)
        return metrics

    def update_policy(self, dream_share: float) -> Metrics:
        """One TD3 update, of which ``dream_share`` (0 to 1) are imagined transitions if there are enough."""
        dreamed = round(self.options.batch * dream_share)
        if len(self.dreams) < dreamed:
            dreamed = 0
        batch = self.replay.at(self.replay.sample((self.options.batch - dreamed,), self.generator))
        del batch["truncated"]  # truncated steps bootstrap
        batch["discount"] = self.options.discount * (1 - batch.pop("terminated"))
        if dreamed:
            imagined = self.dreams.at(self.dreams.sample((dreamed,), self.generator))
            batch = {name: torch.cat([values, imagined[name]]) for name, values in batch.items()}
        for name in ("observation", "next_observation"):
            batch[name] = self.normaliser(batch[name])
        # critics that have learned nothing would drive spiking layers to fire always or never, for good
        return self.td3.update(batch, self.generator, improve_actor=not self._warming_up)

    # --- dreaming ---

    @property
    def can_dream(self) -> bool:
        """True if there is a world model and more than ``warmup`` transitions to start dreams from."""
        return self.dynamics is not None and len(self.replay) > self.options.warmup

    def dream(self, budget: Budget) -> Generator[DreamProgress, None, None]:
        """Imagine batches of rollouts; after each batch, update on real and imagined transitions.

        ``dream.updates_per_rollout`` updates are made per imagined rollout. A budget without a bound on
        rollouts bounds them too, by its time.
        """
        assert self.dynamics is not None, "only agents with a world model can dream"
        o = self.options
        started, rollouts, updates, owed = time.monotonic(), 0, 0, 0.0
        imagined, accepted, share = 0, 0, self._dream_share()

        def left() -> bool:
            return budget.lasts(rollouts, updates, time.monotonic() - started)

        while self.dynamics.updates < o.model.first_updates and left():
            yield DreamProgress(0, 0, self.dynamics.learn(self.replay, self.generator))
        self.dynamics.calibrate(self.replay)
        while left():
            size = min(o.dream.batch, (budget.rollouts or 1 << 30) - rollouts)
            rollouts, owed = rollouts + size, owed + size * o.dream.updates_per_rollout
            metrics = {}
            if round(o.batch * max(share, o.dream.awake_share)):  # else nothing imagined is learned from
                dream = self.imagine(size)
                imagined, accepted = imagined + dream.imagined, accepted + dream.accepted
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
                metrics |= self.update_policy(share)
                updates, owed = updates + 1, owed - 1
                yield DreamProgress(rollouts, updates, metrics)
        if imagined:
            self.dynamics.adapt_threshold(accepted / imagined)

    def _dream_share(self) -> float:
        """Share of imagined transitions in updates of a dream that begins now."""
        o = self.options
        if not o.dream.share_halving:
            return o.dream.share
        return o.dream.share * 0.5 ** max(0, (self.replay.written - o.warmup) / o.dream.share_halving)

    def imagine(self, size: int) -> Dream:
        """Imagine ``size`` rollouts from replayed transitions, and remember what is to be learned from."""
        assert self.dynamics is not None
        o = self.options
        real = self.replay.at(self.replay.sample((size,), self.generator))
        policy = DreamPolicy(self._explore, o.discount)
        if o.dream.values_only:
            dream = self.dynamics.imagine_after(real, policy)
        else:
            dream = self.dynamics.imagine(real["observation"], policy)
        self.dreams.extend(dream.transitions)
        return dream

    def _explore(self, observation: Tensor) -> Tensor:
        decoded = self.td3.actor.decoded(self.normaliser(observation))
        return self.td3.noise.explore(decoded, self.generator)

    # --- evaluation and snapshots ---

    def model_error(self) -> Metrics:
        """Held-out error after 1 and 5 steps, as a share of the no-change model's."""
        return self.dynamics.error(self.replay) if self.dynamics else {}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """A held-out segment of 15 steps, or of 5 if there is none, and its open-loop prediction."""
        return self.dynamics.longest_held_out(self.replay, 15, 5) if self.dynamics else {}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return self.td3.optimisers | ({"model": self.dynamics.optimiser} if self.dynamics else {})

    def _parts(self) -> dict[str, Any]:
        return {
            "td3": self.td3.state_dict(),
            "normaliser": self.normaliser.state_dict(),
            "dynamics": self.dynamics.state_dict() if self.dynamics else {},
            **{f"{name}_optimiser": optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "replay": self.replay.snapshot(),
            "dreams": self.dreams.snapshot(),
            "updates": torch.tensor(self.td3.updates),
            "generator": self.generator.get_state(),
        }

    def snapshot(self) -> Weights:
        """All networks, optimisers, memories, counters and random states."""
        return {name: value.clone() for name, value in flatten(self._parts()).items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
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
        self.generator.set_state(snapshot["generator"])
