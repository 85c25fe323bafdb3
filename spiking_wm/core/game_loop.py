"""Play episodes: the only game loop of the library, and its single step."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core.errors import UserError


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


def take_step(env: gym.Env, observation: Any, action: Any, game: int = 0) -> Step:
    """Step an environment; an action array without dimensions is passed as a plain number.

    Raises:
        UserError: if the returned values do not follow Gymnasium's interface.
    """
    given = action[()] if isinstance(action, np.ndarray) and not action.ndim else action
    returned = env.step(given)
    try:
        following, reward, terminated, truncated, info = returned
        number = float(reward)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"step() of {type(env.unwrapped).__name__} must return (observation, reward, terminated,"
            f" truncated, info), the reward a number: {error}"
        ) from None
    return Step(game, observation, action, number, following, bool(terminated), bool(truncated), info)


def begin(env: gym.Env, seed: int, options: dict[str, Any] | None = None) -> Any:
    """Reset an environment; returns its first observation.

    Raises:
        UserError: if arguments or returned values of ``reset`` do not follow Gymnasium's interface.
    """
    try:
        observation, _ = env.reset(seed=seed, options=options)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"reset() of {type(env.unwrapped).__name__} must take seed= and options=, and return"
            f" (observation, info): {error}"
        ) from error
    return observation


def play(
    envs: Sequence[gym.Env],
    seeds: Sequence[int],
    act: Callable[[list[int], list[Any]], Iterable[Any]],
    longest: int = 1_000_000,
) -> Iterator[list[Step]]:
    """Play one episode in every environment, side by side.

    Args:
        envs: the environments.
        seeds: seed of the reset of each environment.
        act: called with the indices of the running games and their observations; returns their actions in
            the same order.
        longest: largest number of steps per episode.

    Yields:
        At each time step, the steps of all running games, in order of their indices.
    """
    seen = [begin(env, int(seed)) for env, seed in zip(envs, seeds)]
    on = list(range(len(envs)))
    for _ in range(longest):
        if not on:
            return
        actions = act(on, [seen[game] for game in on])
        steps = [take_step(envs[game], seen[game], action, game) for game, action in zip(on, actions)]
        yield steps
        for step in steps:
            seen[step.game] = step.next_observation
        on = [step.game for step in steps if not step.done]
