"""Copies of a training environment that step side by side, and those that do so in this process."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import gymnasium as gym
import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import Step, begin, close, take_step
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.camera import Camera, State
from spiking_wm.envs.make import EnvSource, made_from


class Outcome(NamedTuple):
    """What one step of one copy comes to; fields as in `spiking_wm.core.contract.Transition`."""

    observation: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    life_lost: bool


def outcome_of(step: Step, spaces: Spaces) -> Outcome:
    """The outcome of a step, in the form that algorithms see.

    Raises:
        UserError: as `Spaces.check_observation`.
    """
    life_lost = bool(step.info.get("life_lost", False))
    seen = spaces.check_observation(step.next_observation)
    return Outcome(seen, step.reward, step.terminated, step.truncated, life_lost)


class Recorded(NamedTuple):
    """An episode to replay: its seed, its actions, and the number of its first step."""

    seed: int
    actions: Sequence[np.ndarray]
    step: int


class Replayed(NamedTuple):
    """Where a replay ends: the last observation and reward, and the steps made."""

    observation: np.ndarray
    reward: float
    steps: int


class Copies(Protocol):
    """Several copies of an environment, in which numbers tell them apart."""

    def reset(self, seeds: Mapping[int, int], options: dict | None = None) -> dict[int, np.ndarray]:
        """Begin episodes in some copies; returns their first observations.

        Args:
            seeds: by copy.
            options: as of `gymnasium.Env.reset`.

        Raises:
            UserError: as `spiking_wm.core.game_loop.begin`, or if the environment cannot be made.
        """

    def start(self, actions: Mapping[int, np.ndarray]) -> None:
        """Start a step of some copies, at the same time; `finish` comes next.

        Raises:
            UserError: if a copy's process has ended.
        """

    def finish(self) -> list[Outcome]:
        """Wait for the step that was started; returns what it comes to, in order of the copies' numbers.

        Raises:
            UserError: as `spiking_wm.core.game_loop.take_step`.
        """

    def replay(self, episodes: Sequence[Recorded]) -> list[Replayed]:
        """Begin an episode in every copy, and repeat its actions until it ends.

        Raises:
            UserError: as `reset` and `step`.
        """

    def camera(self) -> Camera:
        """A camera on copy 0."""

    def close(self) -> None:
        """Close all copies.

        Raises:
            UserError: if one cannot be closed; while another exception is raised, that one goes on.
        """


class Copy(gym.Env):
    """An environment in the form that algorithms see. All its errors are `UserError` in one line.

    Args:
        source: what the environment is made from, at the first reset; or the environment.
        kwargs: arguments of its constructor.
        spaces: of the environment.
        number: of this copy.
        copies: number of copies.
    """

    def __init__(
        self,
        source: EnvSource | gym.Env,
        kwargs: Mapping[str, Any],
        spaces: Spaces,
        number: int = 0,
        copies: int = 1,
    ):
        self._source, self._kwargs, self._spaces = source, kwargs, spaces
        self._number, self._copies = number, copies
        self.observation_space, self.action_space = spaces.observation, spaces.action
        self._step = number  # training steps before the next one, for messages
        self._seen: Any = None  # the last observation
        self._held = False
        if isinstance(source, gym.Env):
            self.env = source

    @cached_property
    def env(self) -> gym.Env:
        """The environment itself."""
        assert isinstance(self._source, EnvSource)
        return made_from(self._source, self._kwargs)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Begin an episode."""
        self._seen = self._spaces.check_observation(begin(self.env, seed or 0, options or None))
        return self._seen, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        """Step; ``info`` holds ``life_lost`` alone."""
        if self._held:
            return self._seen, 0.0, False, False, {"life_lost": False}
        given = self._spaces.env_action(action)
        step = take_step(self.env, self._seen, given, number=self._step)
        self._step += self._copies
        self._seen, reward, terminated, truncated, life_lost = outcome_of(step, self._spaces)
        return self._seen, reward, terminated, truncated, {"life_lost": life_lost}

    def hold(self, copies: Sequence[int]) -> None:
        """The copies with these numbers do nothing when they are stepped, until the next call."""
        self._held = self._number in copies

    def replay(self, episodes: Sequence[Recorded]) -> Replayed:
        """Repeat the episode with this copy's number."""
        seed, actions, self._step = episodes[self._number]
        observation, _ = self.reset(seed=seed)
        reward, steps = 0.0, 0
        for action in actions:
            observation, reward, terminated, truncated, _ = self.step(action)
            steps += 1
            if terminated or truncated:
                break
        return Replayed(observation, reward, steps)

    @cached_property
    def camera(self) -> Camera:
        """A camera on the environment."""
        return Camera(self.env)

    def film(self) -> tuple[Any, str | int, str] | None:
        """What `Camera` tells of copy 0, but for pictures."""
        return None if self._number else (self.camera.model, self.camera.name, self.camera.failure)

    def snap(self) -> tuple[State | np.ndarray | None, str]:
        """What copy 0's camera sees, and its failure."""
        return (None, "") if self._number else (self.camera.snap(), self.camera.failure)

    def shut(self) -> None:
        """Close the environment, if it is made."""
        made = self.__dict__.pop("env", None)
        if made is not None:
            close(made)

    def close(self) -> None:
        """As `shut`, for a process that ends: nobody is left to be told of errors."""
        with suppress(UserError):
            self.shut()


class CopiesHere:
    """Copies in this process, which step one after the other."""

    def __init__(self, copies: Sequence[Copy]):
        self._copies = copies
        self._actions: Mapping[int, np.ndarray] = {}  # of the step that was started

    @property
    def first(self) -> gym.Env | None:
        """The environment of copy 0."""
        return self._copies[0].env if self._copies else None

    def reset(self, seeds: Mapping[int, int], options: dict | None = None) -> dict[int, np.ndarray]:
        """As `Copies.reset`."""
        return {
            number: self._copies[number].reset(seed=seed, options=options)[0]
            for number, seed in seeds.items()
        }

    def start(self, actions: Mapping[int, np.ndarray]) -> None:
        """As `Copies.start`; the copies step in `finish`."""
        self._actions = actions

    def finish(self) -> list[Outcome]:
        """As `Copies.finish`."""
        outcomes = []
        for number, action in self._actions.items():
            observation, reward, terminated, truncated, info = self._copies[number].step(action)
            outcomes.append(Outcome(observation, reward, terminated, truncated, info["life_lost"]))
        return outcomes

    def replay(self, episodes: Sequence[Recorded]) -> list[Replayed]:
        """As `Copies.replay`."""
        return [copy.replay(episodes) for copy in self._copies]

    def camera(self) -> Camera:
        """As `Copies.camera`."""
        return self._copies[0].camera

    def close(self) -> None:
        """As `Copies.close`."""
        failed: UserError | None = None
        for copy in self._copies:
            try:
                copy.shut()
            except UserError as error:
                failed = failed or error
        if failed:
            raise failed
