"""Spaces of environments in the form that algorithms take: one vector or picture, one choice or vector.

`observations` and `actions` convert a Gymnasium space. Where the form differs, the result is a `Flattened`
observation space or a `Combinations` or `Rounded` action space, which keeps the environment's as ``source``.
"""

from collections.abc import Iterator
from typing import Any, cast

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from spiking_wm.core.errors import UserError

MOST_COMBINATIONS = 1024  # of one Discrete action
_MOST_VALUES = 1_000_000  # of a flattened observation
_MOST_CHANNELS, _LEAST_SIDE = 16, 8  # of a picture whose channels come first


class Flattened(Box):
    """Float32 vector that holds all parts of ``source``, or a picture whose channels came first.

    Parts of a dictionary are in the order of their sorted keys; numbers (Discrete) are one-hot.
    """

    def __init__(self, source: gym.Space):
        self.source = source
        self._leaves: list[_Leaf] = []
        if isinstance(source, Box) and len(source.shape) == 3:
            low, high = (np.ascontiguousarray(_channels_last(x)) for x in (source.low, source.high))
            super().__init__(low, high, dtype=cast(Any, source.dtype))
            return
        self._leaves = list(_leaves(source))
        boxes = [spaces.flatten_space(leaf) for _, leaf in self._leaves]
        low, high = (
            np.concatenate([np.ravel(getattr(box, end)).astype(np.float32) for box in boxes])
            for end in ("low", "high")
        )
        super().__init__(low, high, dtype=np.float32)

    def convert(self, observation: Any) -> np.ndarray:
        """An element of ``source`` in the shape of this space.

        Raises:
            UserError: for a missing part, or one that is no element of its space; the message names it.
        """
        if not self._leaves:
            return _channels_last(np.asarray(observation))
        parts = []
        for path, leaf in self._leaves:
            where = "observation" + "".join(f"[{key!r}]" for key in path)
            part = observation
            try:
                for key in path:
                    part = part[key]
            except (KeyError, IndexError, TypeError):
                raise UserError(f"{where} is missing: check the environment's observation_space") from None
            parts.append(_flat_part(leaf, part, where))
        return np.concatenate(parts)


class Rounded(Box):
    """Float32 vector in place of the whole numbers of ``source``."""

    def __init__(self, source: Box):
        self.source = source
        super().__init__(source.low.astype(np.float32), source.high.astype(np.float32), dtype=np.float32)

    def convert(self, action: Any) -> np.ndarray:
        """The nearest element of ``source``."""
        return np.rint(action).astype(self.source.dtype)


class Combinations(Discrete):
    """All combinations of the values of ``source`` (MultiDiscrete or MultiBinary) as one choice.

    Number 0 has all values at their lowest; the last value changes fastest.

    Raises:
        UserError: if there are more than `MOST_COMBINATIONS`.
    """

    def __init__(self, source: MultiDiscrete | MultiBinary):
        self.source = source
        if isinstance(source, MultiDiscrete):
            self._sizes, self._first = source.nvec, source.start
        else:
            self._sizes, self._first = np.full(source.shape, 2), np.zeros(source.shape, np.int8)
        count = np.prod(self._sizes.astype(float))
        if not 1 <= count <= MOST_COMBINATIONS:
            raise UserError(
                f"actions {source} have {count:.0f} combinations, at most {MOST_COMBINATIONS} are served:"
                f" wrap the environment to take fewer"
            )
        super().__init__(int(count))

    def __repr__(self) -> str:
        return f"{self.n} combinations of {self.source}"

    def convert(self, action: Any) -> np.ndarray:
        """The element of ``source`` with a number."""
        chosen = np.unravel_index(int(action), self._sizes.ravel())
        return (np.reshape(chosen, self._sizes.shape) + self._first).astype(self.source.dtype)


_Leaf = tuple[tuple[Any, ...], gym.Space]  # keys that lead to a part, and its space


def _leaves(space: gym.Space, path: tuple[Any, ...] = ()) -> Iterator[_Leaf]:
    if isinstance(space, Dict):
        for key in sorted(space.spaces, key=str):
            yield from _leaves(space.spaces[key], (*path, key))
    elif isinstance(space, Tuple):
        for k, part in enumerate(space.spaces):
            yield from _leaves(part, (*path, k))
    elif isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        yield path, space
    else:
        raise UserError(f"observations {space} are no Box, and cannot be flattened: wrap the environment")


def _flat_part(space: gym.Space, part: Any, where: str) -> np.ndarray:
    try:
        array = np.asarray(part)
        if array.shape != space.shape:
            raise UserError(f"{where} has shape {array.shape}, its space is {space}: check the environment")
        if isinstance(space, Discrete | MultiDiscrete | MultiBinary):
            array = _whole_numbers(space, array, where)
        return np.asarray(spaces.flatten(space, array), np.float32)
    except UserError:
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} is no array of numbers ({error}): check the environment") from None


def _whole_numbers(space: Discrete | MultiDiscrete | MultiBinary, part: np.ndarray, where: str) -> np.ndarray:
    """Check numbers, of which Gymnasium would take one below the first from the end."""
    first: Any = 0 if isinstance(space, MultiBinary) else space.start
    count: Any = 2
    if not isinstance(space, MultiBinary):
        count = space.n if isinstance(space, Discrete) else space.nvec
    numbers = part.astype(np.int64)
    if not np.all((numbers == part) & (numbers >= first) & (numbers < first + count)):
        raise UserError(f"{where} is {part}, outside {space}: check the environment")
    return numbers


def _channels_last(picture: np.ndarray) -> np.ndarray:
    return np.moveaxis(picture, 0, -1)


def _channels_first(space: Box) -> bool:
    """True for pictures as ``(3, 64, 64)``: few channels, then height and width."""
    if len(space.shape) != 3:
        return False
    channels, *sides = space.shape
    return channels <= _MOST_CHANNELS and min(sides) >= max(_LEAST_SIDE, 2 * channels)


def observations(space: Any) -> Box:
    """The observation space that algorithms see.

    Vectors are float32, pictures (three dimensions, or two of bytes) keep their type and have their channels
    last.

    Raises:
        UserError: for a space that is empty or cannot be flattened.
    """
    if isinstance(space, Flattened):
        return space
    if not isinstance(space, gym.Space):
        raise UserError(f"observations {space}; wrap it to give one array (Box)")
    if not isinstance(space, Box):
        if not 0 < (count := sum(spaces.flatdim(leaf) for _, leaf in _leaves(space))) <= _MOST_VALUES:
            raise UserError(
                f"observations {space} of {count} values, 1 to {_MOST_VALUES} are served: wrap it"
            )
        return Flattened(space)
    if not np.prod(space.shape):
        raise UserError(f"observations {space}, which hold nothing: wrap it to give some values")
    if _channels_first(space):
        return Flattened(space)
    if space.dtype == np.uint8 and len(space.shape) > 1:
        return Box(0, 255, space.shape, np.uint8)
    return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32)


def actions(space: Any) -> Box | Discrete:
    """The action space that algorithms see: a float32 vector inside the environment's bounds, or a choice.

    Raises:
        UserError: for a space that is empty, has a value without a range, or is of another kind.
    """
    if isinstance(space, Discrete):
        return space
    if isinstance(space, MultiDiscrete | MultiBinary):
        return Combinations(space)
    if not isinstance(space, Box):
        raise UserError(f"actions {space}; wrap it to take Box, Discrete, MultiDiscrete or MultiBinary")
    if not np.prod(space.shape):
        raise UserError(f"actions {space}, which hold nothing: wrap it to take some values")
    low, high = _float32_bounds(space)
    if (stuck := np.flatnonzero(~(low < high).ravel())).size:
        raise UserError(
            f"actions {space}, whose value {stuck[0]} has no range (low {space.low.flat[stuck[0]]:g}, high"
            f" {space.high.flat[stuck[0]]:g}): wrap it to leave that value out"
        )
    if space.dtype == np.float32:
        return space
    return Box(low, high) if np.issubdtype(space.dtype, np.floating) else Rounded(space)


def _float32_bounds(space: Box) -> tuple[np.ndarray, np.ndarray]:
    """The bounds in float32, none of them outside the space."""
    with np.errstate(over="ignore"):
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    low = np.where(low < space.low, np.nextafter(low, np.float32(np.inf)), low)
    return low, np.where(high > space.high, np.nextafter(high, np.float32(-np.inf)), high)
