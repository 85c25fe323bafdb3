"""Decision transformer: imitates demonstrations, then learns from its own steps, awake and in dreams."""

import time
from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
import torch

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.dreams import Dreams
from spiking_wm.agents.spiking_dt.experience import (
    add_demonstrations,
    draw_demonstrated,
    make_replay,
    newest_of_all,
    without_tails,
)
from spiking_wm.agents.spiking_dt.improvement import Improvement
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.agents.spiking_dt.policy import DecisionPolicy, Memory, with_current_names
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights, memory_of
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, restore_optimiser, unflatten
from spiking_wm.datasets.demonstrations import digest, load
from spiking_wm.memory.lanes import as_tensor, from_tensor

_FUTILE = 20  # consecutive batches of rollouts without an accepted step, after which a dream ends


class Agent(contract.Agent):
    """Learns from demonstrations until it has its own experience, then by PPO."""

    policy_class = DecisionPolicy
    options_class = Options
    serves_copies = True
    options: Options

    def __init__(self, options: Options, spaces: Spaces, seed: int, envs: int = 1):
        super().__init__(options, spaces, seed, envs)
        self._actions = Actions(spaces, "spiking_dt")
        self._generator = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.decider = Decider(options, spaces)
            width, codes = self.decider.observation_width, self._actions.width
            normaliser = self.decider.normaliser
            self.dreams = Dreams(options, width, codes, normaliser) if options.world_model else None
        demonstrations = load(options.dataset) if options.dataset else []
        self._demonstrated = sum(len(d.reward) for d in demonstrations)
        self._data_set, lowest = digest(demonstrations), 0.0
        self.replay = make_replay(options.replay.size, width, codes, envs, self._demonstrated)
        add_demonstrations(self.replay, demonstrations, self._actions)
        if self._demonstrated:
            self._extend_scales(slice(0, self._demonstrated))
            tail = options.imitation.truncation_tail
            self._learnable = without_tails(self.replay, self._demonstrated, tail)
            left = self.replay.fields["return_to_go"][self._learnable]
            self.decider.highest.copy_(left.max())
            lowest = float(left.min())
        self.improvement = Improvement(self.decider, options, lowest)
        # by copy of the environment:
        self._fresh = [0] * envs  # number of own steps not yet learned from
        # copy of the acting policy, to know its state
        self._acting = DecisionPolicy(options, spaces)
        self._acting.load(self.policy_weights())
        self._memories = [self._acting.initial_state() for _ in range(envs)]
        self._episodes = [-1] * envs  # numbers of those that the memories are of

    def _extend_scales(self, rows: slice | torch.Tensor) -> None:
        """Add these rows to the normalisers; if there are demonstrations, only they set the scales."""
        seen = {name: field[rows] for name, field in self.replay.fields.items()}
        self.decider.normaliser.extend(seen["observation"])
        if self.dreams:
            self.dreams.notice(seen["next_observation"] - seen["observation"], seen["reward"])

    def lowest_demonstrated(self) -> float:
        """Return of the worst demonstrated episode, in the environment's units."""
        names = ("return_to_go", "step")
        fields = {name: self.replay.fields[name][: self._demonstrated, 0] for name in names}
        return float(fields["return_to_go"][fields["step"] == 0].min())

    # --- awake ---

    @property
    def updates_first(self) -> int:
        """Number of updates from demonstrations."""
        return self.options.imitation.updates if self._demonstrated else 0

    def policy_weights(self) -> Weights:
        """Copies of the decider's weights, averaged over updates."""
        return {name: value.clone() for name, value in self.improvement.average.state_dict().items()}

    def released(self, weights: Weights) -> None:
        """Load the weights into the copy of the acting policy."""
        self._acting.load(weights)

    def policy_state(self) -> Weights:
        """State of the policy in each running episode."""
        return {
            name: value
            for copy, memory in enumerate(self._memories)
            for name, value in memory.as_weights(copy).items()
        }

    def observe(self, transition: Transition) -> None:
        """Store a transition, and advance the state of the policy within the episode."""
        copy = self.copy_of(transition)
        begun = transition.episode == self._episodes[copy]
        state = self._memories[copy] if begun else self._acting.initial_state()
        code = torch.from_numpy(self._actions.code(transition.action))
        rows = self.replay.extend(
            {
                "observation": torch.from_numpy(transition.observation)[None],
                "next_observation": torch.from_numpy(transition.next_observation)[None],
                "action": code[None],
                "reward": torch.tensor([transition.reward], dtype=torch.float32),
                "terminated": torch.tensor([float(transition.final)]),
                "truncated": torch.tensor([float(transition.truncated)]),
                "return_to_go": state.return_to_go,
                "step": torch.tensor([float(state.step)]),
            },
            copy,
        )
        self._fresh[copy] += 1
        if not self._demonstrated:
            self._extend_scales(rows)
        state = self._acting.act(transition.observation, state, None)[1]._replace(code=code)
        self._memories[copy] = self._acting.rewarded(state, transition.reward)
        self._episodes[copy] = -1 if transition.done else transition.episode

    def learn(self) -> Metrics:
        """One update from demonstrations; after the first own step PPO, every ``online.rollout`` steps."""
        o, dreams = self.options, self.dreams
        metrics: Metrics = {}
        if self._demonstrated and self.replay.written == self._demonstrated:
            segments = draw_demonstrated(
                self.replay, self._learnable, o.imitation.batch, o.network.context, self._generator
            )
            metrics = self.improvement.imitate(segments)
            if dreams and self.improvement.updates % o.model.every == 0:
                metrics |= dreams.learn(self.replay, self._generator)
        elif sum(self._fresh) >= o.online.rollout:
            segments = newest_of_all(self.replay, self._fresh, o.network.context)
            self._fresh = [0] * self.envs
            for learned in self.improvement.ppo(segments, self._generator):
                metrics = learned
            if dreams:
                for _ in range(o.model.updates):
                    metrics |= dreams.learn(self.replay, self._generator)
        return metrics

    # --- dreaming ---

    @property
    def can_dream(self) -> bool:
        """True if there are world models and at least ``online.rollout`` steps to start from."""
        return self.dreams is not None and len(self.replay) >= self.options.online.rollout

    def dream(self, budget: Budget) -> Generator[DreamProgress, None, None]:
        """Imagine rollouts with the acting policy, and learn from each batch by PPO.

        Raises:
            UserError: without a world model.
        """
        dreams = self.dreams
        if dreams is None:
            raise UserError("there is no world model to dream in: train with world_model:=true")
        started, rollouts, updates = time.monotonic(), 0, 0
        imagined, accepted, futile = 0.0, 0.0, 0
        dreams.dynamics.calibrate(self.replay)

        def left() -> bool:
            return budget.lasts(rollouts, updates, time.monotonic() - started)

        while left() and futile < _FUTILE:
            size = min(self.options.dream.batch, (budget.rollouts or 1 << 30) - rollouts)
            acting = self.improvement.average
            segments = dreams.imagine(acting, self.replay, size, self._generator)
            imagined, accepted = imagined + segments.attempted(), accepted + float(segments.valid.sum())
            metrics = {"dream_accepted": accepted / imagined}
            rollouts += size
            yield DreamProgress(rollouts, updates, metrics)
            futile = 0 if segments.valid.any() else futile + 1
            if futile:
                continue
            with closing(self.improvement.ppo(segments, self._generator)) as learning:
                for learned in learning:
                    updates += 1
                    yield DreamProgress(rollouts, updates, metrics | learned)
                    if (budget.rollouts is None and not left()) or updates == budget.updates:
                        break
        if imagined:
            dreams.dynamics.adapt_threshold(accepted / imagined)

    # --- evaluation and checkpoints ---

    def model_error(self) -> Metrics:
        """Held-out error after 1 and 5 steps, as a share of the no-change model's."""
        return self.dreams.error(self.replay) if self.dreams else {}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The newest held-out segment, real and imagined."""
        return self.dreams.against_reality(self.replay) if self.dreams else {}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        optimisers: dict[str, torch.optim.Optimizer] = {
            "imitation": self.improvement.imitation,
            "online": self.improvement.online,
        }
        if self.dreams:
            optimisers["models"] = self.dreams.dynamics.optimiser
        return optimisers

    def _parts(self) -> dict[str, Any]:
        return {
            "decider": self.decider.state_dict(),
            "average": self.improvement.average.state_dict(),
            "dreams": self.dreams.state_dict() if self.dreams else {},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "trace": self.improvement.local.trace,
            "replay": self.replay.snapshot(),
            "updates": torch.tensor(self.improvement.updates),
            "fresh": as_tensor(self._fresh),
            "generator": self._generator.get_state(),
            "data_set": torch.tensor(self._data_set),
            "acting": self._acting.weights(),
            "episode": as_tensor(self._episodes),
            "seed": torch.tensor(self.seed),
        }

    def snapshot(self) -> Weights:
        """All networks, optimisers, experience and the random state."""
        kept = {name: value.clone() for name, value in flatten(self._parts()).items()}
        return kept | self.policy_state()

    def restore(self, snapshot: Mapping[str, torch.Tensor]) -> None:
        """Continue from a `snapshot`, also of version 0.1.

        Raises:
            UserError: if the data set has changed.
        """
        parts = unflatten(with_current_names(snapshot))
        if int(parts["data_set"]) != self._data_set:
            raise UserError(
                f"dataset:={self.options.dataset} is not what this run began with (was ./swm demos called"
                " since?): put that one back, or begin a run anew"
            )
        self.decider.load_state_dict(parts["decider"])
        self.improvement.average.load_state_dict(parts["average"])
        if self.dreams:
            self.dreams.load_state_dict(parts["dreams"])
        for name, optimiser in self._optimisers().items():
            restore_optimiser(optimiser, parts.get("optimisers", {}).get(name, {}))
        self.improvement.local.trace.copy_(parts["trace"])
        self.replay.restore(parts["replay"])
        self.improvement.updates, self._fresh = int(parts["updates"]), from_tensor(parts["fresh"])
        self._generator.set_state(parts["generator"])
        self._acting.load(parts["acting"])
        self.seed = int(parts["seed"])
        self._memories = [Memory.of_weights(parts[memory_of(copy)]) for copy in range(self.envs)]
        self._episodes = from_tensor(parts["episode"])
