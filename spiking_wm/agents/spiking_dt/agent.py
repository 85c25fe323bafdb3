"""Decision transformer: imitates demonstrations, then learns by what it does itself, awake and in dreams."""

import time
from collections.abc import Iterator, Mapping
from contextlib import closing

import numpy as np
import torch

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.dreams import Dreams
from spiking_wm.agents.spiking_dt.experience import demonstrated, memory, newest, remember, settled
from spiking_wm.agents.spiking_dt.improvement import Improvement
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.agents.spiking_dt.policy import DecisionPolicy, Memory
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, restore_optimiser, unflatten
from spiking_wm.datasets.demonstrations import digest, load

_FUTILE = 20  # batches of rollouts of which none is accepted, one after the other, after which a dream ends


class Agent(contract.Agent):
    """Updates by demonstrations until there is own experience, by policy gradient from then on."""

    policy_class = DecisionPolicy

    def __init__(self, options: Options, spaces: Spaces, seed: int):
        super().__init__(options, spaces, seed)
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
        self.replay = memory(options.replay + self._demonstrated, width, codes)
        remember(self.replay, demonstrations, self._actions)
        if self._demonstrated:
            self._notice(slice(0, self._demonstrated))
            self._learnable = settled(self.replay, self._demonstrated, options.unsettled)
            left = self.replay.fields["asked"][self._learnable]
            self.decider.highest.copy_(left.max())
            lowest = float(left.min())
        self.improvement = Improvement(self.decider, options, lowest)
        self._fresh = 0  # steps of its own that it has not learned from
        # acts beside the policy that really acts, so as to know what that one remembers
        self._acting = DecisionPolicy(options, spaces)
        self._acting.load(self.policy_weights())
        self._memory, self._episode = self._acting.initial_state(), -1

    def _notice(self, rows: slice) -> None:
        """Take note of how far observations go; demonstrations are the measure where there are any."""
        seen = {name: field[rows] for name, field in self.replay.fields.items()}
        self.decider.normaliser.extend(seen["observation"])
        if self.dreams:
            self.dreams.notice(seen["next_observation"] - seen["observation"], seen["reward"])

    def lowest_demonstrated(self) -> float:
        """Return of the worst episode of the demonstrations."""
        fields = {name: self.replay.fields[name][: self._demonstrated, 0] for name in ("asked", "step")}
        return float(fields["asked"][fields["step"] == 0].min())

    # --- awake ---

    @property
    def updates_first(self) -> int:
        """Those by demonstrations."""
        return self.options.imitation_updates if self._demonstrated else 0

    def policy_weights(self) -> Weights:
        """The decider, averaged over updates."""
        return {name: value.clone() for name, value in self.improvement.average.state_dict().items()}

    def released(self, weights: Weights) -> None:
        """Take note of what the policy that really acts has."""
        self._acting.load(weights)

    def policy_state(self) -> Weights:
        """What the policy that acts in lock-step remembers of the episode that goes on."""
        return self._memory.as_weights()

    def observe(self, transition: Transition) -> None:
        """Remember a transition, and what the policy remembers of the episode."""
        begun = transition.episode == self._episode
        state = self._memory if begun else self._acting.initial_state()
        code = torch.from_numpy(self._actions.code(transition.action))
        row = self.replay.written
        self.replay.extend(
            {
                "observation": torch.from_numpy(transition.observation)[None],
                "next_observation": torch.from_numpy(transition.next_observation)[None],
                "action": code[None],
                "reward": torch.tensor([transition.reward], dtype=torch.float32),
                "terminated": torch.tensor([float(transition.final)]),
                "truncated": torch.tensor([float(transition.truncated)]),
                "asked": state.asked,
                "step": torch.tensor([float(state.step)]),
            }
        )
        self._fresh += 1
        if not self._demonstrated:
            row %= self.replay.capacity
            self._notice(slice(row, row + 1))
        state = self._acting.act(transition.observation, state, None)[1]._replace(code=code)
        self._memory = self._acting.rewarded(state, transition.reward)
        self._episode = -1 if transition.done else transition.episode

    def learn(self) -> Metrics:
        """One update by demonstrations; from the first own step on, some by what was done since."""
        o, metrics = self.options, {}
        if self._demonstrated and self.replay.written == self._demonstrated:
            stretches = demonstrated(self.replay, self._learnable, o.batch, o.context, self._generator)
            metrics = self.improvement.imitate(stretches)
            if self.dreams and self.improvement.updates % o.model_every == 0:
                metrics |= self.dreams.learn(self.replay, self._generator)
        elif self._fresh >= o.rollout:
            stretches = newest(self.replay, min(self._fresh, self.replay.capacity), o.context)
            self._fresh = 0
            for learned in self.improvement.practise(stretches, self._generator):
                metrics = learned
            for _ in range(o.model_updates if self.dreams else 0):
                metrics |= self.dreams.learn(self.replay, self._generator)
        return metrics

    # --- dreaming ---

    @property
    def can_dream(self) -> bool:
        """Whether there are world models, and enough that they know."""
        return self.dreams is not None and len(self.replay) >= self.options.rollout

    def dream(self, budget: Budget) -> Iterator[DreamProgress]:
        """Imagine rollouts as the policy acts, and practise on each batch of them."""
        started, rollouts, updates = time.monotonic(), 0, 0
        imagined, accepted, futile = 0.0, 0.0, 0
        self.dreams.dynamics.calibrate(self.replay)

        def left() -> bool:
            return budget.lasts(rollouts, updates, time.monotonic() - started)

        while left() and futile < _FUTILE:
            size = min(self.options.dream_batch, (budget.rollouts or 1 << 30) - rollouts)
            acting = self.improvement.average
            stretches = self.dreams.imagine(acting, self.replay, size, self._generator)
            imagined, accepted = imagined + stretches.begun(), accepted + float(stretches.valid.sum())
            metrics = {"dream_accepted": accepted / imagined}
            rollouts += size
            yield DreamProgress(rollouts, updates, metrics)
            futile = 0 if stretches.valid.any() else futile + 1
            if futile:
                continue
            with closing(self.improvement.practise(stretches, self._generator)) as practice:
                for learned in practice:
                    updates += 1
                    yield DreamProgress(rollouts, updates, metrics | learned)
                    if (budget.rollouts is None and not left()) or updates == budget.updates:
                        break
        if imagined:
            self.dreams.dynamics.adapt_threshold(accepted / imagined)

    # --- judging and keeping ---

    def model_error(self) -> Metrics:
        """Held-out error after 1 and 5 steps, as a share of the no-change model's."""
        return self.dreams.error(self.replay) if self.dreams else {}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The newest held-out stretch, real and imagined."""
        return self.dreams.against_reality(self.replay) if self.dreams else {}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        of_models = {"models": self.dreams.dynamics.optimiser} if self.dreams else {}
        return {
            "imitating": self.improvement.imitating,
            "practising": self.improvement.practising,
        } | of_models

    def _parts(self) -> dict:
        return {
            "decider": self.decider.state_dict(),
            "average": self.improvement.average.state_dict(),
            "dreams": self.dreams.state_dict() if self.dreams else {},
            "optimisers": {name: optimiser.state_dict() for name, optimiser in self._optimisers().items()},
            "trace": self.improvement.local.trace,
            "replay": self.replay.snapshot(),
            "updates": torch.tensor(self.improvement.updates),
            "fresh": torch.tensor(self._fresh),
            "generator": self._generator.get_state(),
            "data_set": torch.tensor(self._data_set),
            "acting": self._acting.weights(),
            "episode": torch.tensor(self._episode),
            "seed": torch.tensor(self.seed),
        }

    def snapshot(self) -> Weights:
        """All networks, optimisers, experience and the random state."""
        kept = {name: value.clone() for name, value in flatten(self._parts()).items()}
        return kept | self.policy_state()

    def restore(self, snapshot: Mapping[str, torch.Tensor]) -> None:
        """Go on from a `snapshot`.

        Raises:
            UserError: if the data set is not the one that it had.
        """
        parts = unflatten(snapshot)
        if int(snapshot["data_set"]) != self._data_set:
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
        self.improvement.updates, self._fresh = int(snapshot["updates"]), int(snapshot["fresh"])
        self._generator.set_state(snapshot["generator"])
        self._acting.load(parts["acting"])
        self.seed = int(snapshot["seed"])
        self._memory, self._episode = Memory.of_weights(parts["memory"]), int(snapshot["episode"])
