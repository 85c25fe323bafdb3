"""The environments of a training run: episodes, seeds, evaluations, and resuming after a stop."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from types import MappingProxyType
from typing import Any

import gymnasium as gym
import numpy as np

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import close, limit_of
from spiking_wm.core.schedule import Schedule, due
from spiking_wm.core.spaces import Spaces, name_of
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.envs.battery import EnvBattery
from spiking_wm.envs.camera import Camera
from spiking_wm.envs.copies import Copies, CopiesHere, Copy, Recorded
from spiking_wm.envs.copies_in_processes import CopiesInProcesses
from spiking_wm.envs.make import EnvLike, make_env, portable, source_of
from spiking_wm.training.episodes import RunningEpisode
from spiking_wm.training.pending import Pending
from spiking_wm.training.scheduled_evaluations import Evaluations


def _second(env: EnvLike, env_kwargs: Mapping[str, Any]) -> gym.Env:
    try:
        return make_env(env, env_kwargs)
    except UserError as error:
        advice = "it is the second one, for evaluations: env_alone:=true does without"
        raise UserError(f"{error}; {advice}") from error.__cause__


def _print_warning(text: str) -> None:
    print(f"warning: {text}", flush=True)


class Session:
    """Steps copies of a training environment, and one more environment for evaluations.

    A round is one step in every copy: training step ``t`` is one of copy ``t % envs``. Every episode is
    seeded from the run's seed and its own number, so an episode can be replayed from its actions. This is how
    a stopped run is resumed, with any environment.

    Args:
        env: an environment, its id or a function that makes it; see `spiking_wm.envs.make`.
        seed: the run's seed.
        steps: training steps of the whole run; 0: evaluations only, in the same instance.
        evaluate_every: training steps between evaluations, from step 0 to the last; 0 for none.
        evaluation_episodes: greedy episodes per evaluation.
        longest: steps after which an evaluation episode is truncated, with a warning; 0: as
            `spiking_wm.core.game_loop.limit_of`.
        env_kwargs: arguments of the environment's constructor.
        warn: called with the text of a warning.
        envs: copies of the training environment.
        processes: each of several copies has a process of its own.

    Raises:
        UserError: if the environment cannot be made, or a single instance is given where several are needed.
    """

    def __init__(
        self,
        env: EnvLike,
        seed: int,
        steps: int,
        evaluate_every: int = 0,
        evaluation_episodes: int = 10,
        longest: int = 0,
        env_kwargs: Mapping[str, Any] = MappingProxyType({}),
        warn: Callable[[str], None] = _print_warning,
        envs: int = 1,
        processes: bool = True,
    ):
        source = source_of(env)
        self._given = source.single  # a single instance is closed by the caller
        evaluates = bool(evaluate_every and steps)
        if envs > 1 and self._given:
            raise UserError(f"envs:={envs} needs {envs} environments: give a function that makes them")
        if evaluates and self._given:
            raise UserError(
                "evaluations need a second environment: give a function that makes environments, or"
                " evaluation.every:=0"
            )
        self._seed, self._steps, self._envs, self._warn = seed, steps, envs, warn
        self._evaluate_every = evaluate_every
        self.battery: EnvBattery | None = None
        self._evaluated_at: int | None = None  # training step of the last evaluation
        self._actions: list[np.ndarray] = []  # of the step that was started
        self._ending: dict[int, int] = {}  # copies whose episode ends at the next step; seed of their next
        first = make_env(env, env_kwargs)
        self._evaluation: gym.Env | None = first  # None if there are none, and no environment for them
        self._copies: Copies = CopiesHere([])
        try:
            self.spaces, self._name = Spaces.of(first), name_of(first)
            longest = limit_of(first, longest)
            if envs > 1 and processes:
                if not evaluates:
                    self._evaluation = None
                    with suppress(UserError):  # the copies say so at the end
                        close(first)
                self._copies = CopiesInProcesses(portable(env), env_kwargs, self.spaces, envs)
            else:
                others = [Copy(source, env_kwargs, self.spaces, k, envs) for k in range(1, envs)]
                self._copies = CopiesHere([Copy(first, {}, self.spaces, 0, envs), *others])
                if evaluates:
                    self._evaluation = _second(env, env_kwargs)
            self._evaluations: Evaluations | None = None
            if self._evaluation is not None:
                self._evaluations = Evaluations(
                    self._evaluation, self.spaces, evaluation_episodes, longest, warn
                )
            self._running = self._begin({copy: (copy, copy, -1) for copy in range(envs)})
        except BaseException:
            self.close()
            raise

    @staticmethod
    def of(env: EnvLike, schedule: Schedule) -> "Session":
        """The session of a run.

        Raises:
            UserError: as the constructor.
        """
        evaluation = schedule.evaluation
        return Session(
            env,
            schedule.seed,
            schedule.steps,
            evaluation.every,
            evaluation.episodes,
            evaluation.longest,
            schedule.env_arguments,
            envs=schedule.envs,
            processes=schedule.env_processes,
        )

    def fit_battery(self, kind: str, options: BatteryOptions) -> None:
        """Add a battery to training; its charge is kept between episodes. Evaluations have none.

        Raises:
            UserError: if ``kind`` is ``own`` and the environment has no battery, or there are several copies.
        """
        if self._envs > 1:
            raise UserError(f"battery:={kind} is one robot's, and there are envs:={self._envs}: give envs:=1")
        assert isinstance(self._copies, CopiesHere) and self._copies.first is not None
        self.battery = EnvBattery(self._copies.first, kind, options)

    # --- steps ---

    def pending(self) -> list[Pending]:
        """The observations that need actions next: of a round, or one of an evaluation, which comes first.

        A round is only its rest if a run was stopped within it, or if the run's last step is in it.
        """
        step, evaluations = self.training_step, self._evaluations
        if evaluations and not evaluations.pending and self._evaluated_at != step and self._due(step):
            self._evaluated_at = step
            evaluations.begin()
        if evaluations and evaluations.pending:
            return [evaluations.pending]
        end = step - step % self._envs + self._envs
        if step < self._steps:
            end = min(end, self._steps)
        return [running for running in self._running if running.step < end]

    def _due(self, step: int) -> bool:
        """True if an evaluation is due."""
        every = self._evaluate_every
        return bool(every) and (step in (0, self._steps) or due(step, every, self._envs))

    @property
    def evaluating(self) -> bool:
        """True during an evaluation."""
        return self._evaluations is not None and self._evaluations.pending is not None

    @property
    def over(self) -> bool:
        """True if all training steps are done, and the evaluation after the last one."""
        return not self.pending()[0].evaluation and self.training_step >= self._steps

    @property
    def training_step(self) -> int:
        """Training steps taken so far."""
        return min(running.step for running in self._running)

    @property
    def camera(self) -> Camera:
        """A camera on the environment in use now: of an evaluation, or the first copy."""
        return self._evaluation_camera if self.evaluating else self._training_camera

    @cached_property
    def _evaluation_camera(self) -> Camera:
        assert self._evaluation is not None
        return Camera(self._evaluation)

    @cached_property
    def _training_camera(self) -> Camera:
        return self._copies.camera()

    def apply(self, actions: Sequence[np.ndarray], policy_version: int) -> list[Transition]:
        """Apply actions to the environments of `pending`, in the same order; returns the transitions.

        Raises:
            UserError: for an action outside the action space, or an environment that returns NaN or infinity.
        """
        self.start(actions)
        return self.finish(policy_version)

    def start(self, actions: Sequence[np.ndarray]) -> None:
        """As `apply`, but return while copies in processes of their own step; `finish` comes next."""
        self._actions = [self.spaces.check_action(action) for action in actions]
        copies = [pending.step % self._envs for pending in self.pending()]  # may begin an evaluation
        if not self.evaluating:
            self._copies.start(dict(zip(copies, self._actions, strict=True)))

    def finish(self, policy_version: int) -> list[Transition]:
        """The transitions of the step that was started, by a policy version."""
        pending, actions = self.pending(), self._actions
        if self._evaluations and self._evaluations.pending:
            return [self._evaluations.apply(actions[0], policy_version)]
        outcomes = self._copies.finish()
        if self.battery:
            self.battery.step(self.spaces.period)
        transitions = [
            p.transition(action, outcome, policy_version, p.step % self._envs in self._ending)
            for p, action, outcome in zip(pending, actions, outcomes)
        ]
        self._advance(pending, transitions)
        return transitions

    def _advance(self, pending: Sequence[Pending], transitions: Sequence[Transition]) -> None:
        number = max(running.episode for running in self._running) + 1
        begun: dict[int, tuple[int, int, int]] = {}
        for before, transition in zip(pending, transitions):
            copy = before.step % self._envs
            next_seed = self._ending.pop(copy, -1)
            self._running[copy] = before.following(transition, self._envs)
            if transition.done:
                begun[copy] = (number, before.step + self._envs, next_seed)
                number += 1
        if begun:
            for running in self._begin(begun):
                self._running[running.step % self._envs] = running

    def _begin(self, episodes: Mapping[int, tuple[int, int, int]]) -> list[Pending]:
        """Begin episodes in some copies, given their numbers, first steps and seeds (-1: the run's)."""
        seeds = {copy: self._seed_of(number, seed) for copy, (number, _, seed) in episodes.items()}
        options = self.battery.reset_options() if self.battery else None
        seen = self._copies.reset(seeds, options)
        return [
            Pending(seen[copy], number, step, 0, False, seed=seed)
            for copy, (number, step, seed) in episodes.items()
        ]

    def _seed_of(self, episode: int, chosen: int) -> int:
        return (chosen if chosen >= 0 else self._seed * 100_003 + episode) % 2**31

    def begin_again(self) -> None:
        """Reset the copies that are at the start of an episode."""
        begun = {k: (r.episode, r.step, r.seed) for k, r in enumerate(self._running) if not r.episode_step}
        if begun:
            for running in self._begin(begun):
                self._running[running.step % self._envs] = running

    def end_episode(self, next_seed: int = -1) -> None:
        """Truncate the training episodes at their next steps.

        Args:
            next_seed: of the episode that the first copy begins next; the others' follow; -1: the run's.
        """
        self._ending = {k: next_seed + k if next_seed >= 0 else -1 for k in range(self._envs)}

    def rest_action(self) -> np.ndarray:
        """Default action: zero, clipped to the action space."""
        if isinstance(self.spaces.action, gym.spaces.Discrete):
            return np.asarray(self.spaces.action.start)
        return np.zeros(self.spaces.action.shape, np.float32).clip(
            self.spaces.action.low, self.spaces.action.high
        )

    # --- resuming after a stop ---

    def resume(self, step: int, episodes: Sequence[RunningEpisode], evaluated_at: int | None = None) -> None:
        """Continue at a training step by replaying the episode that goes on in every copy.

        If the replay comes to something else than was recorded (randomness without a seed, hardware), a
        warning is given; that copy is reset, the episode is truncated at its next step, and a new one begins.

        Args:
            step: training steps so far.
            episodes: by copy.
            evaluated_at: training step of the last finished evaluation, if any.

        Raises:
            UserError: if there are more or fewer episodes than copies.
        """
        if len(episodes) != self._envs:
            raise UserError(
                f"envs:={self._envs} is not that of the run to resume (envs:={len(episodes)}): leave it out"
            )
        self._evaluated_at = evaluated_at
        if self._evaluations:
            self._evaluations.pending = None
        next_steps = [step + (copy - step) % self._envs for copy in range(self._envs)]
        recorded = [
            Recorded(self._seed_of(e.number, e.seed), e.actions, next_step - len(e.actions) * self._envs)
            for e, next_step in zip(episodes, next_steps)
        ]
        for copy, (episode, replayed) in enumerate(zip(episodes, self._copies.replay(recorded))):
            made = len(episode.actions)
            self._running[copy] = Pending(
                replayed.observation,
                episode.number,
                next_steps[copy],
                made,
                False,
                replayed.reward,
                episode.seed,
            )
            seen = episode.observation
            if replayed.steps < made or not (seen is None or np.array_equal(replayed.observation, seen)):
                self._give_up(copy, episode)

    def _give_up(self, copy: int, episode: RunningEpisode) -> None:
        self._warn(
            f"{self._name} does not repeat its episode (randomness without the seed of reset, or hardware):"
            f" episode {episode.number} ends with the next step, and a new one begins"
        )
        (begun,) = self._begin({copy: (episode.number, self._running[copy].step, episode.seed)})
        self._running[copy] = begun._replace(episode_step=len(episode.actions))
        self._ending[copy] = -1

    def close(self) -> None:
        """Close the environments that this session made.

        Raises:
            UserError: if one cannot be closed; while another exception is raised, that one goes on.
        """
        if self._given:
            return
        failed: UserError | None = None
        shared = isinstance(self._copies, CopiesHere) and self._copies.first is self._evaluation
        try:
            self._copies.close()
        except UserError as error:
            failed = error
        if self._evaluation is not None and not shared:
            try:
                close(self._evaluation)
            except UserError as error:
                failed = failed or error
        if failed:
            raise failed
