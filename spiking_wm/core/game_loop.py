"""Play episodes: the only game loop of the library, and its single step."""

import copy
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import name_of


class Step(NamedTuple):
    """One environment step; ``game`` is the index of the environment among those played side by side."""

    game: int
    observation: Any
    action: Any
    reward: float
    next_observation: Any
    terminated: bool
    truncated: bool
    info: dict[str, Any]

    @property
    def done(self) -> bool:
        """True if the episode ended with this step."""
        return self.terminated or self.truncated


LONGEST = 10_000  # steps of an episode, in environments without a time limit of their own
_RETURNS = {
    "reset": "(observation, info), the info a dictionary",
    "step": "(observation, reward, terminated, truncated, info), the reward a number, the info a dictionary",
}
CUT_OFF = "cut_off"  # in the info of a step: the loop has truncated the episode, not the environment


def limit_of(env: gym.Env, longest: int = 0) -> int:
    """Largest number of steps of an episode: ``longest``; if it is 0, the environment's own or `LONGEST`."""
    return longest or (env.spec and env.spec.max_episode_steps) or LONGEST


def cut_off_warning(env: gym.Env, steps: int) -> str:
    """Text of the warning that an evaluation episode was cut off after some steps."""
    return (
        f"an evaluation episode of {name_of(env)} was cut off after {steps} steps: register the environment"
        f" with max_episode_steps, or set evaluation.longest:= to the steps that it should have"
    )


@contextmanager
def naming(env: gym.Env, method: str) -> Iterator[None]:
    """Context in which an environment's own errors become one line; the error itself is its cause.

    Raises:
        UserError: for any exception but `KeyboardInterrupt`, also for `SystemExit`.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        values = isinstance(error, ValueError) and "unpack" in str(error)
        advice = f": it must return {_RETURNS[method]}" if values and method in _RETURNS else ""
        raise UserError(f"{method}() of {name_of(env)} fails: {told(error)}{advice}") from error


def told(error: BaseException) -> str:
    """An exception in one line, with its type if that is not one of Gymnasium."""
    text = " ".join(str(error).split())
    if text and isinstance(error, gym.error.Error):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def take_step(env: gym.Env, observation: Any, action: Any, game: int = 0, number: int = 0) -> Step:
    """Step an environment; an action array without dimensions is passed as a plain number.

    Args:
        env: the environment.
        observation: the one before the step.
        action: in the environment's own form.
        game: index of the environment.
        number: of the step, for messages.

    Returns:
        The step, with a copy of the observation: environments may use the same array again.

    Raises:
        UserError: if the step fails, or the returned values do not follow Gymnasium's interface.
    """
    given = action[()] if isinstance(action, np.ndarray) and not action.ndim else action
    with naming(env, "step"):
        returned = env.step(given)
    try:
        following, reward, terminated, truncated, info = returned
        following, points = copy.deepcopy(following), _number(reward)
        ended = _flag("terminated", terminated), _flag("truncated", truncated)
        if not isinstance(info, Mapping):
            raise TypeError(f"info is {type(info).__name__}")
    except (TypeError, ValueError) as error:
        raise UserError(
            f"step() of {name_of(env)} must return {_RETURNS['step']}: {error} (step {number})"
        ) from None
    if not math.isfinite(points):
        raise UserError(f"the reward of step {number} is {points} in {name_of(env)}: check the environment")
    return Step(game, observation, action, points, following, *ended, dict(info))


def _number(reward: Any) -> float:
    """A reward: a number, or an array of one."""
    if isinstance(reward, np.ndarray) and reward.size == 1:
        reward = reward.item()
    if isinstance(reward, str | bytes):
        raise TypeError(f"the reward is {reward!r}")
    return float(reward)


def _flag(name: str, given: Any) -> bool:
    """True or false, or an array of one."""
    value = given.item() if isinstance(given, np.ndarray | np.generic) and given.size == 1 else given
    if value not in (True, False):
        raise TypeError(f"{name} is {given!r}")
    return bool(value)


def begin(env: gym.Env, seed: int, options: dict[str, Any] | None = None) -> Any:
    """Reset an environment; returns a copy of its first observation.

    Raises:
        UserError: if it fails, or the returned values do not follow Gymnasium's interface.
    """
    with naming(env, "reset"):
        returned = env.reset(seed=seed, options=options)
    try:
        observation, info = returned
        if not isinstance(info, Mapping):
            raise TypeError(f"info is {type(info).__name__}")
    except (TypeError, ValueError) as error:
        raise UserError(f"reset() of {name_of(env)} must return {_RETURNS['reset']}: {error}") from None
    return copy.deepcopy(observation)


def close(env: gym.Env) -> None:
    """Close an environment.

    Raises:
        UserError: if that fails; while another exception is raised, that one goes on.
    """
    raised = sys.exc_info()[1]
    try:
        with naming(env, "close"):
            env.close()
    except UserError:
        if raised is None:
            raise


def play(
    envs: Sequence[gym.Env],
    seeds: Sequence[int],
    act: Callable[[list[int], list[Any]], Iterable[Any]],
    longest: int = 0,
) -> Iterator[list[Step]]:
    """Play one episode in every environment, side by side.

    Args:
        envs: the environments.
        seeds: seed of the reset of each environment.
        act: called with the indices of the running games and their observations; returns their actions in
            the same order.
        longest: steps after which an episode is truncated; 0: as `limit_of`. The ``info`` of such a step has
            `CUT_OFF`.

    Yields:
        At each time step, the steps of all running games, in order of their indices.
    """
    seen = [begin(env, int(seed)) for env, seed in zip(envs, seeds)]
    on, number = list(range(len(envs))), 0
    while on:
        actions = act(on, [seen[game] for game in on])
        steps = []
        for game, action in zip(on, actions):
            step = take_step(envs[game], seen[game], action, game, number)
            if not step.done and number + 1 >= limit_of(envs[game], longest):
                step = step._replace(truncated=True, info=step.info | {CUT_OFF: True})
            steps.append(step)
        yield steps
        number += 1
        for step in steps:
            seen[step.game] = step.next_observation
        on = [step.game for step in steps if not step.done]
