"""The one loop in which environments are played, and one step of it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np

from spiking_wm.core.errors import UserError


class Step(NamedTuple):
    """One step of an episode; ``game`` says which of the environments played side by side."""

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
        """Whether the episode ended with this step."""
        return self.terminated or self.truncated


def take_step(env: gym.Env, observation: Any, action: Any, game: int = 0) -> Step:
    """Step an environment; a NumPy scalar is given to it as a plain number.

    Raises:
        UserError: if it does not return what Gymnasium's environments return.
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
        UserError: if it takes no seed and options, or returns something else than Gymnasium's do.
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
        seeds: of their resets, one each.
        act: actions for the games that go on (their numbers) about what they see, in this order.
        longest: steps after which an episode that goes on is left.

    Yields:
        The steps of all games that still go on, in their order.
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
