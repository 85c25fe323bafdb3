"""Spiking-WM: learns a latent world model from replayed sequences, and behaviour in imagined rollouts."""

import time
from collections.abc import Generator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.rssm.behaviour import Behaviour
from spiking_wm.agents.rssm.network import Latent
from spiking_wm.agents.rssm.observations import Observations
from spiking_wm.agents.rssm.options import Options
from spiking_wm.agents.rssm.policy import RSSMPolicy, acting_part, state_from_tensors, state_to_tensors
from spiking_wm.agents.rssm.world_model import WorldModel
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.adam import Adam
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights, memory_of
from spiking_wm.core.devices import learning_device
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, restore_optimiser, unflatten
from spiking_wm.memory.lanes import as_tensor, from_tensor
from spiking_wm.memory.sequences import Batch, Sequences

_CONTEXT, _AHEAD = 5, 15  # observed and then imagined steps of an open-loop prediction
# beginnings of tensors' names in snapshots of version 0.1, and what they are now
_FORMER = {"goes_on.": "continues.", "range": "return_range", "common": "value_offset"}


class Agent(contract.Agent):
    """Updates model, actor and critic awake, and actor and critic alone in dreams."""

    options_class: ClassVar[type] = Options
    policy_class: ClassVar[type[contract.Policy]] = RSSMPolicy
    serves_copies = True
    options: Options

    def __init__(self, options: Options, spaces: Spaces, seed: int, envs: int = 1):
        super().__init__(options, spaces, seed, envs)
        self._observations, self._actions = Observations(spaces), Actions(spaces, "spiking_wm")
        observations, width = self._observations, self._actions.width
        self._generator, self._device = torch.Generator().manual_seed(seed), learning_device(options.device)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = WorldModel(options, observations, width).to(self._device)
            behaviour = Behaviour(options, width, self._actions.discrete)
            self.behaviour = behaviour.to(self._device)
        # repeats the decisions of the policy that acts in the environment, so as to know its state
        self._acting, self._exploration = RSSMPolicy(options, spaces), Exploration(seed)
        self._states = [self._acting.initial_state() for _ in range(envs)]  # by copy of the environment
        self._episodes = [-1] * envs  # numbers of those that the states are of
        self.replay = Sequences(options.replay.size, observations.shape, observations.dtype, width, envs)
        self._adams = {
            "model": _adam(self.model, options.model.lr, 1e-8),
            "actor": _adam(self.behaviour.actor, options.actor.lr, 1e-5),
            "critic": _adam(self.behaviour.critic, options.critic.lr, 1e-5),
        }
        self._acting.load(self.policy_weights())

    # --- awake ---

    def policy_weights(self) -> Weights:
        """Weights of encoder, recurrent state and actor, and whether the warm-up still lasts."""
        weights = flatten({"model": acting_part(self.model), "actor": self.behaviour.actor.state_dict()})
        random = torch.tensor(self.replay.written < self.options.warmup)
        return {name: value.cpu().clone() for name, value in weights.items()} | {"random": random}

    def released(self, weights: Weights) -> None:
        """The policy that acts in the environment has these weights from now on."""
        self._acting.load(weights)

    def policy_state(self) -> Weights:
        """State, in each running episode, of the policy that acts in lock-step with this agent."""
        memories = {memory_of(copy): state_to_tensors(state) for copy, state in enumerate(self._states)}
        return flatten(memories)

    def observe(self, transition: Transition) -> None:
        """Store a transition, and follow the policy's state through it."""
        copy = self.copy_of(transition)
        begun = transition.episode == self._episodes[copy]
        state = self._states[copy] if begun else self._acting.initial_state()
        rng = self._exploration.at(transition.step)
        self._states[copy] = self._acting.act(transition.observation, state, rng)[1]
        self._episodes[copy] = -1 if transition.done else transition.episode
        converted = transition._replace(
            observation=self._observations(transition.observation).numpy(),
            next_observation=self._observations(transition.next_observation).numpy(),
        )
        self.replay.add(converted, self._actions.code(transition.action), transition.reward, copy)

    def learn(self) -> Metrics:
        """One update of the world model, then of actor and critic by rollouts from its posterior states."""
        if not self.replay.holds(self.options.length):
            return {}
        batch = self._sample()
        states, metrics = self._learn_model(batch)
        return metrics | self._learn_behaviour(batch, states.detach(), self._most_starts())

    def _sample(self) -> Batch:
        batch = self.replay.sample(self.options.batch, self.options.length, self._generator)
        return Batch(*(field.to(self._device) for field in batch))

    def _learn_model(self, batch: Batch) -> tuple[Latent, Metrics]:
        o = self.options
        with self._precision():
            loss, states, metrics = self.model.loss(batch, self._uniform(o.length, o.batch))
        metrics["model_gradient"] = self._step("model", loss, o.model.clip)
        return states, metrics

    def _most_starts(self) -> int:
        o = self.options
        return min(o.dream.starts or o.batch * o.length, o.batch * o.length)

    def _learn_behaviour(self, batch: Batch, states: Latent, rollouts: int) -> Metrics:
        """Update actor and critic by rollouts.

        Args:
            batch: replayed sequences.
            states: posterior states of the model in them, stacked ``[L, ...]``; rollouts start from some.
            rollouts: their number.
        """
        o, starts = self.options, states.flat()
        order = torch.randperm(starts.sample.shape[0], generator=self._generator)
        rows = order[:rollouts].to(self._device)
        start, alive = starts.rows(rows), 1 - batch.terminal.flatten()[rows]
        self.model.requires_grad_(False)  # gradients go through it, but it does not learn here
        try:
            with self._precision():
                imagined = self.behaviour.imagine(self.model, start, self._generator)
                targets = self.behaviour.targets(self.model, imagined, alive)
            for minibatch in self.behaviour.minibatches(targets):
                with self._precision():
                    actor_loss, critic_loss, metrics = self.behaviour.losses(minibatch)
                    if weight := o.critic.replay_weight:
                        replay_loss = self.behaviour.replay_loss(states.sequence_features(), batch)
                        critic_loss = critic_loss + weight * replay_loss
                self._step("actor", actor_loss, o.behaviour_clip)
                self._step("critic", critic_loss, o.behaviour_clip)
                self.behaviour.update_slow_critic()
            self.behaviour.update_offset(targets)
        finally:
            self.model.requires_grad_(True)
        return metrics

    def _uniform(self, *shape: int) -> Tensor:
        drawn = torch.rand(*shape, self.model.rssm.width, generator=self._generator)
        return drawn.to(self._device)

    def _precision(self) -> torch.autocast:
        o = self.options
        return torch.autocast(self._device.type, torch.bfloat16, enabled=o.precision == "bfloat16")

    def _step(self, name: str, loss: Tensor, clip: float) -> float:
        adam = self._adams[name]
        adam.zero_grad()
        loss.backward(inputs=adam.param_groups[0]["params"])
        norm = torch.nn.utils.clip_grad_norm_(adam.param_groups[0]["params"], clip)
        adam.step()
        return float(norm)

    # --- dreaming ---

    @property
    def can_dream(self) -> bool:
        """True if there is experience beyond that of the warm-up."""
        enough = len(self.replay) > max(self.options.warmup, self.options.length)
        return enough and self.replay.holds(self.options.length)

    def dream(self, budget: Budget) -> Generator[DreamProgress, None, None]:
        """Update actor and critic by rollouts from replayed sequences; the model does not change."""
        started, rollouts, updates = time.monotonic(), 0, 0
        while budget.lasts(rollouts, updates, time.monotonic() - started):
            left = self._most_starts()
            if budget.rollouts is not None:
                left = min(left, budget.rollouts - rollouts)
            batch = self._sample()
            metrics = self._learn_behaviour(batch, self._replay(batch), left)
            rollouts, updates = rollouts + left, updates + 1
            yield DreamProgress(rollouts, updates, metrics)

    @torch.no_grad()
    def _replay(self, batch: Batch) -> Latent:
        """Posterior states of the model in replayed sequences, stacked ``[L, ...]``."""
        o = self.options
        with self._precision():
            embeddings = self.model.encoder(batch.observation)
            start = self.model.rssm.initial(o.batch, like=embeddings)
            noise = self._uniform(o.length, o.batch)
            return self.model.rssm.observe(start, embeddings, batch.action, batch.first, noise)[0]

    # --- evaluation and snapshots ---

    def model_error(self) -> Metrics:
        """Held-out squared error after 1 and 5 imagined steps, divided by that of predicting no change."""
        segments = self.replay.held_out(_CONTEXT + _AHEAD)
        if not segments.reward.shape[1]:
            return {}
        real, dream = self._open_loop(segments)
        last, metrics = segments.observation[_CONTEXT - 1].float(), {}
        for name, ahead in (("model_error_1_step", 1), ("model_error_5_step", 5)):
            error = (dream[ahead - 1] - real[ahead - 1]).square().mean()
            metrics[name] = float(error / (last - real[ahead - 1]).square().mean().clamp_min(1e-12))
        return metrics

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The newest held-out segment of 15 steps, and its prediction from the 5 steps before it."""
        segments = self.replay.held_out(_CONTEXT + _AHEAD, most=8)
        if not segments.reward.shape[1]:
            return {}
        real, dream = self._open_loop(Batch(*(field[:, :1] for field in segments)))
        segment = {"real": real[:, 0], "dream": dream[:, 0]}
        if self._observations.pictures:
            segment = {name: pictures.round().to(torch.uint8) for name, pictures in segment.items()}
        return {name: observations.numpy() for name, observations in segment.items()}

    @torch.no_grad()
    def _open_loop(self, segments: Batch) -> tuple[Tensor, Tensor]:
        """Observations ``[15, W, ...]`` of ``W`` segments, and predictions by the most probable states."""
        rssm, device = self.model.rssm, self._device
        seen = Batch(*(field[:_CONTEXT].to(device) for field in segments))
        embeddings = self.model.encoder(seen.observation)
        latent, imagined = rssm.initial(seen.reward.shape[1], like=embeddings), []
        for t in range(_CONTEXT):
            latent = rssm.see(latent, embeddings[:, t], seen.action[t], None)
        for action in segments.action[_CONTEXT:].to(device):
            latent = rssm.imagine(latent, action, None)
            imagined.append(self.model.decode(latent.features()))
        return segments.observation[_CONTEXT:].float(), torch.stack(imagined).cpu()

    def _parts(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "behaviour": self.behaviour.state_dict(),
            "adams": {name: adam.state_dict() for name, adam in self._adams.items()},
            "replay": self.replay.snapshot(),
            "generator": self._generator.get_state(),
            "acting": self._acting.weights(),
            "episode": as_tensor(self._episodes),
            "seed": torch.tensor(self.seed),
        }

    def snapshot(self) -> Weights:
        """All networks, optimisers, experience, and the state of random numbers and of the policy."""
        kept = {name: value.cpu().clone() for name, value in flatten(self._parts()).items()}
        return kept | self.policy_state()

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        parts = unflatten(snapshot)
        self.model.load_state_dict(_renamed(parts["model"]))
        self.behaviour.load_state_dict(_renamed(parts["behaviour"]))
        for name, adam in self._adams.items():
            restore_optimiser(adam, parts.get("adams", {}).get(name, {}))
        self.replay.restore(parts["replay"])
        self._generator.set_state(snapshot["generator"])
        self._acting.load(flatten(parts["acting"]))
        self.seed = int(snapshot["seed"])
        self._exploration = Exploration(self.seed)
        self._states = [state_from_tensors(parts[memory_of(copy)]) for copy in range(self.envs)]
        self._episodes = from_tensor(snapshot["episode"])


def _renamed(weights: Mapping[str, Tensor]) -> Weights:
    """Weights by their present names."""

    def present(name: str) -> str:
        old = next((old for old in _FORMER if name.startswith(old)), "")
        return _FORMER.get(old, "") + name.removeprefix(old)

    return {present(name): value for name, value in weights.items()}


def _adam(module: torch.nn.Module, rate: float, epsilon: float) -> Adam:
    return Adam(module.parameters(), rate, eps=epsilon, fused=True)
