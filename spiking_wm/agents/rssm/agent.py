"""Spiking-WM: learns a latent world model from replayed sequences, and behaviour in its imagination."""

import time
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.rssm.behaviour import Actor, Behaviour, done
from spiking_wm.agents.rssm.network import Latent
from spiking_wm.agents.rssm.observations import Observations
from spiking_wm.agents.rssm.options import Options
from spiking_wm.agents.rssm.world_model import WorldModel
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.devices import learning_device
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, restore_optimiser, unflatten
from spiking_wm.memory.sequences import Batch, Sequences

_CONTEXT, _AHEAD = 5, 15  # steps seen, then imagined, where a dream is held against reality


def acting_part(model: WorldModel) -> Weights:
    """Weights of a model without its heads, which are not for acting."""
    heads = ("decoder", "reward", "goes_on")
    return {name: value for name, value in model.state_dict().items() if not name.startswith(heads)}


class SpikingWMPolicy(contract.Policy):
    """Encoder, recurrent state and actor; the state goes on from decision to decision."""

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._observations, self._actions = Observations(spaces), Actions(spaces, "spiking_wm")
        with torch.random.fork_rng():  # weights are drawn, and then loaded
            self._model = WorldModel(options, self._observations, self._actions.width)
            self._actor = Actor(self._actions.width, self._actions.discrete, options)
        self._exploration, self._held = options.exploration, options.held
        self._random, self._to_join = True, self.initial_state()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights, and what is remembered of an episode if that is released with them."""
        parts = unflatten(weights)
        if "memory" in parts:
            self._to_join = _remembered(parts["memory"])
        self._model.load_state_dict(parts["model"], strict=False)  # heads are not for acting
        self._actor.load_state_dict(parts["actor"])
        self._random = bool(weights["random"])

    def weights(self) -> Weights:
        """Those that `load` takes."""
        weights = flatten({"model": acting_part(self._model), "actor": self._actor.state_dict()})
        return weights | {"random": torch.tensor(self._random)}

    def initial_state(self, episode: int = 0) -> tuple[Latent, Tensor]:
        """Nothing remembered, nothing done yet."""
        nothing = torch.zeros(1, self._actions.width)
        return self._model.rssm.initial(1, like=nothing), nothing

    def state_to_join(self) -> tuple[Latent, Tensor]:
        """What was released with the weights, else nothing."""
        return self._to_join

    @torch.no_grad()
    def act(self, observation: np.ndarray, state: tuple, rng: np.random.Generator | None) -> tuple:
        """Greedy, with the most probable latent; drawn from the policy with ``rng``, at random in warm-up."""
        latent, last = state
        rssm, seen = self._model.rssm, self._observations(observation)[None]
        chances = None if rng is None else torch.from_numpy(rng.random((1, rssm.width), np.float32))
        latent = rssm.see(latent, self._model.encoder(seen), last, chances)
        if rng is None:
            code = self._actor.greedy(latent.features())
        elif self._random:
            another = rng.random() >= self._held or not last.any()  # nothing has been done yet
            code = torch.from_numpy(self._actions.random(rng))[None] if another else last
        else:
            shape = (1, self._actions.width)
            noise = rng.gumbel(size=shape) if self._actions.discrete else rng.normal(size=shape)
            noise = torch.from_numpy(noise.astype(np.float32))
            code = done(self._actor.draw(latent.features(), noise, self._exploration))
        return self._actions.action(code[0].numpy()), (latent, code)


class Agent(contract.Agent):
    """Updates of model and behaviour awake, of behaviour alone in dreams."""

    policy_class = SpikingWMPolicy

    def __init__(self, options: Options, spaces: Spaces, seed: int):
        super().__init__(options, spaces, seed)
        self._observations, self._actions = Observations(spaces), Actions(spaces, "spiking_wm")
        seen, width = self._observations, self._actions.width
        self._generator, self._device = torch.Generator().manual_seed(seed), learning_device(options.device)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model = WorldModel(options, seen, width).to(self._device)
            behaviour = Behaviour(options, width, self._actions.discrete)
            self.behaviour = behaviour.to(self._device)
        # acts beside the policy that really acts, so as to know what that one remembers
        self._acting, self._exploration = SpikingWMPolicy(options, spaces), Exploration(seed)
        self._memory, self._episode = self._acting.initial_state(), -1
        self.replay = Sequences(options.replay, seen.shape, seen.dtype, width)
        self._adams = {
            "model": _adam(self.model, options.model_lr, 1e-8),
            "actor": _adam(self.behaviour.actor, options.actor_lr, 1e-5),
            "critic": _adam(self.behaviour.critic, options.critic_lr, 1e-5),
        }
        self._acting.load(self.policy_weights())

    # --- awake ---

    def policy_weights(self) -> Weights:
        """Encoder, recurrent state and actor, and whether to act at random still."""
        weights = flatten({"model": acting_part(self.model), "actor": self.behaviour.actor.state_dict()})
        random = torch.tensor(self.replay.written < self.options.warmup)
        return {name: value.cpu().clone() for name, value in weights.items()} | {"random": random}

    def released(self, weights: Weights) -> None:
        """Take note of what the policy that really acts has."""
        self._acting.load(weights)

    def policy_state(self) -> Weights:
        """The recurrent state of the policy that acts in lock-step, in the episode that goes on."""
        latent, code = self._memory
        state = latent._asdict() | {"code": code}
        return {f"memory/{name}": value.clone() for name, value in state.items()}

    def observe(self, transition: Transition) -> None:
        """Remember a transition, and what the policy remembers of the episode."""
        begun = transition.episode == self._episode
        state = self._memory if begun else self._acting.initial_state()
        rng = self._exploration.at(transition.step)
        self._memory = self._acting.act(transition.observation, state, rng)[1]
        self._episode = -1 if transition.done else transition.episode
        seen = transition._replace(
            observation=self._observations(transition.observation),
            next_observation=self._observations(transition.next_observation),
        )
        self.replay.add(seen, self._actions.code(transition.action), transition.reward)

    def learn(self) -> Metrics:
        """One update of the world model, and one of actor and critic from the states that it went through."""
        if len(self.replay) < self.options.length:
            return {}
        batch = self._sample()
        course, metrics = self._learn_model(batch)
        return metrics | self._learn_behaviour(batch, course.detach(), self._most_starts())

    def _sample(self) -> Batch:
        batch = self.replay.sample(self.options.batch, self.options.length, self._generator)
        return Batch(*(field.to(self._device) for field in batch))

    def _learn_model(self, batch: Batch) -> tuple[Latent, Metrics]:
        o = self.options
        with self._precision():
            loss, course, metrics = self.model.loss(batch, self._chances(o.length, o.batch))
        metrics["model_gradient"] = self._step("model", loss, o.model_clip)
        return course, metrics

    def _most_starts(self) -> int:
        o = self.options
        return min(o.starts or o.batch * o.length, o.batch * o.length)

    def _learn_behaviour(self, batch: Batch, course: Latent, rollouts: int) -> Metrics:
        """So many of them, from states ``[L, ...]`` of the model in a batch."""
        o, states = self.options, course.flat()
        order = torch.randperm(states.sample.shape[0], generator=self._generator)
        rows = order[:rollouts].to(self._device)
        start, alive = states.rows(rows), 1 - batch.terminal.flatten()[rows]
        self.model.requires_grad_(False)  # it is not what learns
        try:
            with self._precision():
                imagined = self.behaviour.imagine(self.model, start, self._generator)
                goals = self.behaviour.goals(self.model, imagined, alive)
            for part in self.behaviour.portions(goals):
                with self._precision():
                    actor_loss, critic_loss, metrics = self.behaviour.losses(part)
                    if o.replayed:
                        really = self.behaviour.replay_loss(course.course(), batch)
                        critic_loss = critic_loss + o.replayed * really
                self._step("actor", actor_loss, o.behaviour_clip)
                self._step("critic", critic_loss, o.behaviour_clip)
                self.behaviour.follow()
            self.behaviour.rise(goals)
        finally:
            self.model.requires_grad_(True)
        return metrics

    def _chances(self, *shape: int) -> Tensor:
        drawn = torch.rand(*shape, self.model.rssm.width, generator=self._generator)
        return drawn.to(self._device)

    def _precision(self):
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
        """Whether there is experience beyond the random one."""
        return len(self.replay) > max(self.options.warmup, self.options.length)

    def dream(self, budget: Budget) -> Iterator[DreamProgress]:
        """Behaviour learned on in imagination, from states of replayed sequences; the model stays."""
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
        """States ``[L, ...]`` that the model goes through in replayed sequences."""
        o = self.options
        with self._precision():
            embeddings = self.model.encoder(batch.observation)
            start = self.model.rssm.initial(o.batch, like=embeddings)
            chances = self._chances(o.length, o.batch)
            return self.model.rssm.observe(start, embeddings, batch.action, batch.first, chances)[0]

    # --- judging and keeping ---

    def model_error(self) -> Metrics:
        """Held-out error of what is decoded after 1 and 5 imagined steps, as a share of no change's."""
        stretches = self.replay.held_out(_CONTEXT + _AHEAD)
        if not stretches.reward.shape[1]:
            return {}
        real, dream = self._foreseen(stretches)
        last, metrics = stretches.observation[_CONTEXT - 1].float(), {}
        for name, ahead in (("model_error_1_step", 1), ("model_error_5_step", 5)):
            error = (dream[ahead - 1] - real[ahead - 1]).square().mean()
            metrics[name] = float(error / (last - real[ahead - 1]).square().mean().clamp_min(1e-12))
        return metrics

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The newest held-out stretch of 15 steps, and what is imagined of it after 5 that are seen."""
        stretches = self.replay.held_out(_CONTEXT + _AHEAD, most=8)
        if not stretches.reward.shape[1]:
            return {}
        real, dream = self._foreseen(Batch(*(field[:, :1] for field in stretches)))
        stretch = {"real": real[:, 0], "dream": dream[:, 0]}
        if self._observations.pictures:
            stretch = {name: pictures.round().to(torch.uint8) for name, pictures in stretch.items()}
        return {name: observations.numpy() for name, observations in stretch.items()}

    @torch.no_grad()
    def _foreseen(self, stretches: Batch) -> tuple[Tensor, Tensor]:
        """What came ``[15, W, ...]``, and what is imagined of it by the most probable states."""
        rssm, device = self.model.rssm, self._device
        seen = Batch(*(field[:_CONTEXT].to(device) for field in stretches))
        embeddings = self.model.encoder(seen.observation)
        latent, imagined = rssm.initial(seen.reward.shape[1], like=embeddings), []
        for t in range(_CONTEXT):
            latent = rssm.see(latent, embeddings[:, t], seen.action[t], None)
        for action in stretches.action[_CONTEXT:].to(device):
            latent = rssm.imagine(latent, action, None)
            imagined.append(self.model.decode(latent.features()))
        return stretches.observation[_CONTEXT:].float(), torch.stack(imagined).cpu()

    def _parts(self) -> dict:
        return {
            "model": self.model.state_dict(),
            "behaviour": self.behaviour.state_dict(),
            "adams": {name: adam.state_dict() for name, adam in self._adams.items()},
            "replay": self.replay.snapshot(),
            "generator": self._generator.get_state(),
            "acting": self._acting.weights(),
            "episode": torch.tensor(self._episode),
            "seed": torch.tensor(self.seed),
        }

    def snapshot(self) -> Weights:
        """All networks, optimisers, experience and the random state."""
        kept = {name: value.cpu().clone() for name, value in flatten(self._parts()).items()}
        return kept | self.policy_state()

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Go on from a `snapshot`."""
        parts = unflatten(snapshot)
        self.model.load_state_dict(parts["model"])
        self.behaviour.load_state_dict(parts["behaviour"])
        for name, adam in self._adams.items():
            restore_optimiser(adam, parts.get("adams", {}).get(name, {}))
        self.replay.restore(parts["replay"])
        self._generator.set_state(snapshot["generator"])
        self._acting.load(flatten(parts["acting"]))
        self.seed = int(snapshot["seed"])
        self._exploration = Exploration(self.seed)
        self._memory, self._episode = _remembered(parts["memory"]), int(snapshot["episode"])


def _remembered(state: Mapping[str, Tensor]) -> tuple[Latent, Tensor]:
    return Latent(*(state[name].clone() for name in Latent._fields)), state["code"].clone()


def _adam(module: torch.nn.Module, rate: float, epsilon: float) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), rate, eps=epsilon, fused=True)
