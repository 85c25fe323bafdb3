"""The environments of a training run: episodes, seeds, evaluations, and resuming after a stop."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import begin, close, cut_off_warning, limit_of, take_step
from spiking_wm.core.schedule import Schedule
from spiking_wm.core.spaces import Spaces, name_of
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.envs.battery import EnvBattery
from spiking_wm.envs.make import EnvLike, make_env, source_of

_EVALUATION_SEEDS = 1_000_003  # first seed: the same for all evaluations, other than in training


class Pending(NamedTuple):
    """An observation that needs an action, and the reward received with it; counters as in `Transition`."""

    observation: np.ndarray
    episode: int
    step: int
    episode_step: int
    evaluation: bool
    reward: float = 0.0


def _second(env: EnvLike, env_kwargs: Mapping[str, Any]) -> gym.Env:
    try:
        return make_env(env, env_kwargs)
    except UserError as error:
        advice = "it is the second one, for evaluations: env_alone:=true does without"
        raise UserError(f"{error}; {advice}") from error.__cause__


def _print_warning(text: str) -> None:
    print(f"warning: {text}", flush=True)


class Session:
    """Steps a training environment, and a second environment for evaluations.

    Every episode is seeded from the run's seed and its own number, so an episode can be replayed from
    its actions. This is how a stopped run is resumed, with any environment.

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

    Raises:
        UserError: if the environment cannot be made, or a single instance is given with evaluations.
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
    ):
        self._given = source_of(env).single  # a single instance is closed by the caller
        if evaluate_every and steps and self._given:
            raise UserError(
                "evaluations need a second environment: give a function that makes environments, or"
                " evaluation.every:=0"
            )
        self._seed, self._steps, self._warn = seed, steps, warn
        self._evaluate_every, self._evaluation_episodes = evaluate_every, evaluation_episodes
        self.battery: EnvBattery | None = None
        self._evaluated_at: int | None = None  # training step of the last evaluation
        self._evaluating: Pending | None = None
        self._end_requested = self._has_warned = False
        self._episode_seed = self._next_seed = -1  # as in `Transition`
        self._evaluation = self._training = make_env(env, env_kwargs)
        try:
            self.spaces = Spaces.of(self._training)
            if evaluate_every and steps:
                self._evaluation = _second(env, env_kwargs)
            self._longest = limit_of(self._evaluation, longest)
            self._training_pending = self._begin(episode=0, step=0)
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
        )

    def fit_battery(self, kind: str, options: BatteryOptions) -> None:
        """Add a battery to training; its charge is kept between episodes. Evaluations have none.

        Raises:
            UserError: if ``kind`` is ``own`` and the environment has no battery.
        """
        self.battery = EnvBattery(self._training, kind, options)

    # --- steps ---

    def pending(self) -> Pending:
        """The observation that needs an action next; an evaluation that is due comes first."""
        step = self._training_pending.step
        if self._evaluating is None and self._evaluated_at != step and self._evaluation_due(step):
            self._evaluated_at = step
            self._evaluating = self._begin_evaluation(episode=0, step=0)
        return self._evaluating or self._training_pending

    def _evaluation_due(self, step: int) -> bool:
        return bool(self._evaluate_every) and (step % self._evaluate_every == 0 or step == self._steps)

    @property
    def evaluating(self) -> bool:
        """True during an evaluation."""
        return self._evaluating is not None

    @property
    def env(self) -> gym.Env:
        """The environment in use now: of training or of an evaluation."""
        return self._evaluation if self.evaluating else self._training

    @property
    def training_step(self) -> int:
        """Training steps taken so far."""
        return self._training_pending.step

    def apply(self, action: np.ndarray, policy_version: int) -> Transition:
        """Apply an action to the environment of `pending`; returns the transition.

        Raises:
            UserError: for an action outside the action space, or an environment that returns NaN or infinity.
        """
        pending = self.pending()
        env = self._evaluation if pending.evaluation else self._training
        action = self.spaces.check_action(action)
        given = self.spaces.env_action(action)
        step = take_step(env, pending.observation, given, number=pending.step)
        cut_off = pending.evaluation and pending.episode_step + 1 >= self._longest and not step.done
        if cut_off and not self._has_warned:
            self._has_warned = True
            self._warn(cut_off_warning(env, self._longest))
        transition = Transition(
            pending.observation,
            action,
            step.reward,
            self.spaces.check_observation(step.next_observation),
            step.terminated,
            step.truncated or cut_off or (self._end_requested and not pending.evaluation),
            pending.episode,
            pending.step,
            policy_version,
            pending.evaluation,
            -1 if pending.evaluation else self._episode_seed,
            bool(step.info.get("life_lost", False)),
        )
        if not pending.evaluation:
            self._end_requested = False
            if self.battery:
                self.battery.step(self.spaces.period)
        self._advance(pending, transition)
        return transition

    def _advance(self, pending: Pending, transition: Transition) -> None:
        following = pending._replace(
            observation=transition.next_observation,
            step=pending.step + 1,
            episode_step=pending.episode_step + 1,
            reward=transition.reward,
        )
        episode = pending.episode + 1
        if not pending.evaluation:
            if transition.done:
                self._episode_seed, self._next_seed = self._next_seed, -1
                following = self._begin(episode, following.step)
            self._training_pending = following
        elif not transition.done:
            self._evaluating = following
        elif episode < self._evaluation_episodes:
            self._evaluating = self._begin_evaluation(episode, following.step)
        else:
            self._evaluating = None

    def _begin(self, episode: int, step: int) -> Pending:
        chosen = self._episode_seed >= 0
        seed = self._episode_seed if chosen else self._seed * 100_003 + episode
        return self._reset(self._training, seed, episode, step, False)

    def _begin_evaluation(self, episode: int, step: int) -> Pending:
        return self._reset(self._evaluation, _EVALUATION_SEEDS + episode, episode, step, True)

    def _reset(self, env: gym.Env, seed: int, episode: int, step: int, evaluation: bool) -> Pending:
        options = self.battery.reset_options() if self.battery and not evaluation else None
        observation = begin(env, seed % 2**31, options)
        return Pending(self.spaces.check_observation(observation), episode, step, 0, evaluation)

    def begin_again(self) -> None:
        """Reset the training environment if it is at the start of an episode, else do nothing."""
        pending = self._training_pending
        if pending.episode_step == 0:
            self._training_pending = self._begin(pending.episode, pending.step)

    def end_episode(self, next_seed: int = -1) -> None:
        """Truncate the training episode at its next step; ``next_seed`` seeds the next one (-1: default)."""
        self._end_requested, self._next_seed = True, next_seed

    def rest_action(self) -> np.ndarray:
        """Default action: zero, clipped to the action space."""
        if isinstance(self.spaces.action, gym.spaces.Discrete):
            return np.asarray(self.spaces.action.start)
        return np.zeros(self.spaces.action.shape, np.float32).clip(
            self.spaces.action.low, self.spaces.action.high
        )

    # --- resuming after a stop ---

    def resume(
        self,
        episode: int,
        step: int,
        actions: Sequence[np.ndarray],
        evaluated_at: int | None = None,
        episode_seed: int = -1,
        observation: np.ndarray | None = None,
    ) -> None:
        """Continue at ``step``, ``len(actions)`` steps into an episode, by replaying that episode.

        If the replay comes to something else than was recorded (randomness without a seed, hardware), a
        warning is given; the environment is reset, the episode is truncated at its next step, and a new one
        begins.

        Args:
            episode: number of the episode.
            step: training steps so far.
            actions: of the episode so far.
            evaluated_at: training step of the last finished evaluation, if any.
            episode_seed: as in `Transition`.
            observation: recorded after the last action; None: not recorded.
        """
        self._evaluating, self._evaluated_at, self._episode_seed = None, evaluated_at, episode_seed
        self._training_pending = self._begin(episode, step - len(actions))
        for action in actions:
            pending = self._training_pending
            given = self.spaces.env_action(action)
            again = take_step(self._training, pending.observation, given, number=pending.step)
            self._training_pending = pending._replace(
                observation=self.spaces.check_observation(again.next_observation),
                step=pending.step + 1,
                episode_step=pending.episode_step + 1,
                reward=again.reward,
            )
            if again.done:
                break
        same = self._training_pending.step == step and (
            observation is None or np.array_equal(self._training_pending.observation, observation)
        )
        if not same:
            self._warn(
                f"{name_of(self._training)} does not repeat its episode (randomness without the seed of"
                f" reset, or hardware): episode {episode} ends with the next step, and a new one begins"
            )
            begun = self._begin(episode, step)
            self._training_pending = begun._replace(episode_step=len(actions))
            self.end_episode()

    def close(self) -> None:
        """Close the environments that this session made.

        Raises:
            UserError: if one cannot be closed; while another exception is raised, that one goes on.
        """
        if self._given:
            return
        failed: UserError | None = None
        for env in {id(env): env for env in (self._training, self._evaluation)}.values():
            try:
                close(env)
            except UserError as error:
                failed = failed or error
        if failed:
            raise failed
