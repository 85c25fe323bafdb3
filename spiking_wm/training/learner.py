"""Schedule of an agent's work: when it learns, dreams, releases policies and saves checkpoints.

The in-process trainer and the dreamer node use the same `Learner`, so both learn identically.
"""

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from spiking_wm.core.contract import Agent, Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.errors import UserError
from spiking_wm.core.process import matmul_precision
from spiking_wm.core.schedule import Schedule, due
from spiking_wm.training.episodes import RunningEpisode, facts_of, next_number

AWAKE, DREAMING = "awake", "dreaming"


class Release(NamedTuple):
    """A policy version, which acts from step ``first_step`` up to, but without, ``until_step``."""

    version: int
    first_step: int
    until_step: int
    weights: Weights


class DreamResult(NamedTuple):
    """Result of a dream phase."""

    rollouts: int
    updates: int
    completed: bool
    metrics: Metrics
    scheduled: bool  # True: by the schedule; False: on request


class Evaluation(NamedTuple):
    """Returns of one evaluation; ``step`` is the training step at which it took place."""

    step: int
    version: int
    returns: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.returns))


class Observer:
    """Receives the events of a learner. All methods do nothing by default."""

    def released(self, release: Release) -> None:
        """A policy version is ready."""

    def learned(self, step: int, updates: int, metrics: Metrics) -> None:
        """An update was made; ``updates`` is the total so far."""

    def episode_ended(self, step: int, episode: int, episode_return: float, length: int) -> None:
        """A training episode ended."""

    def evaluated(self, evaluation: Evaluation) -> None:
        """An evaluation ended."""

    def dream_started(self, step: int) -> None:
        """A dream phase started."""

    def dreamed(self, step: int, progress: DreamProgress) -> None:
        """A unit of work of the dream phase was done."""

    def dream_ended(self, step: int, result: DreamResult) -> None:
        """The dream phase ended."""

    def save_due(self, step: int) -> None:
        """The schedule asks for a checkpoint."""


class Learner:
    """Receives transitions and does the work that is due after each, one unit at a time.

    Args:
        agent: the agent.
        options: the run's schedule.
        observer: receives the learner's events.
    """

    def __init__(self, agent: Agent, options: Schedule, observer: Observer):
        self.agent, self.options, self.observer = agent, options, observer
        self.step = 0  # training transitions received
        self.updates = 0
        self.version = 0
        self.dreams = 0
        self.dream_rollouts = 0
        self.dream_updates = 0
        self.acting: Release | None = None
        self.episodes = [RunningEpisode(number) for number in range(options.envs)]  # by copy
        self.evaluated_at: int | None = None
        self.finished = False
        self.intact = True  # False in the middle of a unit of work, and after an exception in one
        self._evaluation_step = 0
        self._evaluation_episode = 0
        self._evaluation_returns: list[float] = []
        self._evaluation_return = 0.0
        self._dreamed_at = 0
        self._saved_at = 0
        self._dream: Generator[DreamProgress, None, None] | None = None
        self._dream_scheduled = False
        self.progress = DreamProgress(0, 0, {})  # of the current or last dream phase

    @contextmanager
    def _unit(self) -> Iterator[None]:
        """A unit of work, after which the state is intact, unless there was an exception."""
        self.intact = False
        yield
        self.intact = True

    # --- experience ---

    def observe(self, transition: Transition) -> None:
        """Receive the next transition. Before the next call, call `work` until it returns False.

        Raises:
            UserError: if a transition is missing or was received twice.
        """
        if not transition.evaluation and transition.step != self.step:
            raise UserError(
                f"received the transition of step {transition.step}, expected step {self.step}: transitions"
                f" were lost or duplicated between bridge and dreamer"
            )
        with self._unit():
            if transition.evaluation:
                self._observe_evaluation(transition)
            else:
                self._observe_training(transition)

    def _observe_training(self, transition: Transition) -> None:
        self.agent.observe(transition)
        copy = self.step % self.options.envs
        self.step += 1
        episode = self.episodes[copy]
        episode.number, episode.seed = transition.episode, transition.seed
        episode.total += transition.reward
        episode.actions.append(transition.action)
        episode.observation = transition.next_observation
        if transition.done:
            length = len(episode.actions)
            self.observer.episode_ended(self.step, transition.episode, episode.total, length)
            self.episodes[copy] = RunningEpisode(next_number(self.episodes))
        if self.step >= self.options.steps and not self.options.evaluation.every:
            self.finished = True

    def _observe_evaluation(self, transition: Transition) -> None:
        if (transition.step, transition.episode) == (0, 0):  # also after an interrupted evaluation
            self._evaluation_step = self._evaluation_episode = 0
            self._evaluation_returns, self._evaluation_return = [], 0.0
        if transition.step != self._evaluation_step:
            raise UserError(f"evaluation step {self._evaluation_step} was lost between bridge and dreamer")
        self._evaluation_step += 1
        self._evaluation_return += transition.reward
        if not transition.done:
            return
        self._evaluation_returns.append(self._evaluation_return)
        self._evaluation_return = 0.0
        if len(self._evaluation_returns) == self.options.evaluation.episodes:
            evaluation = Evaluation(self.step, transition.policy_version, tuple(self._evaluation_returns))
            self.evaluated_at = self.step
            self.observer.evaluated(evaluation)
            solved = self.options.stop_when_solved and evaluation.mean >= self.options.solved_at
            if solved or self.step >= self.options.steps:
                self.finished = True

    # --- scheduled work ---

    def work(self) -> bool:
        """Do one unit of work that is due (an update, part of a dream); returns False if nothing is due."""
        with matmul_precision(self.options.matmul), self._unit():
            return self._work()

    def _work(self) -> bool:
        if self._dream is not None:
            self._advance_dream(self._dream)
        elif self.updates < self._updates_due():
            self.updates += 1
            self.observer.learned(self.step, self.updates, self.agent.learn())
        elif self._dream_due():
            self._dreamed_at = self.step
            self.start_dream(Budget(rollouts=self.options.dream.rollouts), scheduled=True)
        elif self.acting is None or self.step >= self.acting.until_step:
            self.release()
        elif self._save_due():
            self._saved_at = self.step
            self.observer.save_due(self.step)
        else:
            return False
        return True

    def _updates_due(self) -> int:
        since = max(0, self.step - self.options.learn_after)
        return self.agent.updates_first + math.floor(since * self.options.updates_per_step)

    def _dream_due(self) -> bool:
        o = self.options
        scheduled = self._dreamed_at != self.step and o.dream.due(self.step, o.envs)
        return scheduled and self.agent.can_dream

    def _save_due(self) -> bool:
        o = self.options
        return self._saved_at != self.step and due(self.step, o.checkpoint_every, o.envs)

    def release(self) -> Release:
        """Release the agent's current policy: it acts from this step on."""
        self.version += 1
        o = self.options
        until = self.step - self.step % o.policy_every + o.policy_every
        until += -until % o.envs  # to the end of the round
        if self.updates < self.agent.updates_first:  # the policy acts only after the first updates
            until = self.step
        self.acting = Release(self.version, self.step, until, self.agent.policy_weights())
        self.agent.released(self.acting.weights)
        self.observer.released(self.acting)
        return self.acting

    # --- dreams ---

    @property
    def phase(self) -> str:
        """``awake`` or ``dreaming``."""
        return DREAMING if self.dreaming else AWAKE

    @property
    def dreaming(self) -> bool:
        """True during a dream phase."""
        return self._dream is not None

    def start_dream(self, budget: Budget, scheduled: bool = False) -> None:
        """Start a dream phase; `work` then dreams until the budget is spent or `end_dream` is called.

        A dream phase on request ends with the release of a policy version. After a scheduled one, the
        schedule decides when the next version is released.

        Raises:
            UserError: if the agent cannot dream yet, or a dream phase is running.
        """
        if self._dream is not None:
            raise UserError("a dream phase is running: end it first")
        if not self.agent.can_dream:
            raise UserError(
                "nothing to dream of yet: there is no world model (algorithm:=…_dream has one) or too"
                " little experience"
            )
        self.dreams += 1
        self.progress = DreamProgress(0, 0, {})
        self._dream, self._dream_scheduled = self.agent.dream(budget), scheduled
        self.observer.dream_started(self.step)

    def end_dream(self) -> None:
        """End the dream phase, if there is one; its updates are kept."""
        if self._dream is not None:
            self._end_dream(self._dream, completed=False)

    def _advance_dream(self, dream: Generator[DreamProgress, None, None]) -> None:
        try:
            self.progress = next(dream)
            self.observer.dreamed(self.step, self.progress)
        except StopIteration:
            self._end_dream(dream, completed=True)

    def _end_dream(self, dream: Generator[DreamProgress, None, None], completed: bool) -> None:
        dream.close()
        self._dream = None
        rollouts, updates, metrics = self.progress
        self.dream_rollouts += rollouts
        self.dream_updates += updates
        if not self._dream_scheduled:
            self.release()
        result = DreamResult(rollouts, updates, completed, metrics, self._dream_scheduled)
        self.observer.dream_ended(self.step, result)


_COUNTERS = ("step", "updates", "version", "dreams", "dream_rollouts", "dream_updates")
_PLACES = ("evaluated_at", "_dreamed_at", "_saved_at")


def counters(learner: Learner) -> dict[str, Any]:
    """The learner's own state, as values for JSON (the agent's state is its `snapshot`)."""
    facts = {name: getattr(learner, name) for name in (*_COUNTERS, *_PLACES)} | facts_of(learner.episodes)
    acting = learner.acting
    return facts | {"acting": [acting.version, acting.first_step, acting.until_step] if acting else None}


def restore_counters(
    learner: Learner, facts: dict[str, Any], acting: Weights, episodes: list[RunningEpisode]
) -> None:
    """Restore a learner from the values of `counters`."""
    for name in (*_COUNTERS, *_PLACES):
        setattr(learner, name, facts[name])
    if facts["acting"]:  # else it ended before its first release
        version, first_step, until_step = facts["acting"]
        learner.acting = Release(version, first_step, until_step, acting)
    learner.episodes = episodes
