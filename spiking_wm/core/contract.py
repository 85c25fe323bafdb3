"""What every algorithm implements: an `Agent` that learns and a `Policy` that acts.

The contract covers algorithms that learn from replay or on line, in a latent or an observed space,
with vectors or pixels, continuous or discrete actions; the environment's spaces say which. An
algorithm that cannot serve some spaces says so with a `UserError` when it is made.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces

if TYPE_CHECKING:  # the contract is also read where torch is not loaded
    from torch import Tensor

    from spiking_wm.chips.network import ChipNetwork

Weights = dict[str, "Tensor"]
Metrics = dict[str, float]
# takes inputs of a `ChipNetwork` and a policy's states before and after the decision; gives the spikes of the
# last layer, [T, N], or None where it can no more
NetworkRunner = Callable[[np.ndarray, Any, Any], np.ndarray | None]


class Transition(NamedTuple):
    """One environment step.

    ``step`` counts the environment steps of training before this one; in an evaluation it counts
    that evaluation's steps. ``terminated`` (the task ended) and ``truncated`` (time ran out, the
    next state still has a value) are never merged; a life may be lost though the episode goes on.
    ``seed`` is the episode's if it was chosen, else -1: it follows from the run's.
    """

    observation: np.ndarray
    action: np.ndarray
    reward: float
    next_observation: np.ndarray
    terminated: bool
    truncated: bool
    episode: int
    step: int
    policy_version: int
    evaluation: bool = False
    seed: int = -1
    life_lost: bool = False

    @property
    def final(self) -> bool:
        """True if the value after this step is zero (terminated, or a life was lost)."""
        return self.terminated or self.life_lost

    @property
    def done(self) -> bool:
        """Whether the episode ended with this step."""
        return self.terminated or self.truncated


@dataclass(frozen=True)
class Budget:
    """Bounds of a dream phase, whichever is met first; ``None`` is no bound."""

    rollouts: int | None = None
    updates: int | None = None
    seconds: float | None = None

    def lasts(self, rollouts: int, updates: int, seconds: float) -> bool:
        """Whether something is left after so much."""
        spent = ((rollouts, self.rollouts), (updates, self.updates), (seconds, self.seconds))
        return all(bound is None or used < bound for used, bound in spent)


class DreamProgress(NamedTuple):
    """What a dream phase has done so far."""

    rollouts: int
    updates: int
    metrics: Metrics


class Policy(ABC):
    """The acting half: loads weights that an `Agent` released, and chooses actions.

    Args:
        options: the algorithm's options.
        spaces: the environment's spaces.
    """

    network_runner: NetworkRunner | None = None  # runs `chip_network` instead of the policy

    def __init__(self, options: Any, spaces: Spaces):
        self.options, self.spaces = options, spaces

    def chip_network(self) -> "ChipNetwork":
        """The spiking network between encoder and decoder, as loaded, for `network_runner`.

        Raises:
            UserError: if there is none that neuromorphic chips run.
        """
        raise UserError(
            "this policy has more between spikes than weights (normalised currents, attention, or no spikes"
            " at all), which neuromorphic chips do not run: act by policy_backend:=host"
        )

    @abstractmethod
    def load(self, weights: "Mapping[str, Tensor]") -> None:
        """Take new weights; recurrent state that callers hold stays valid."""

    def initial_state(self, episode: int = 0) -> Any:
        """State at the start of an episode; ``None`` where decisions have no memory.

        Args:
            episode: its number; what is random in an evaluation is drawn by it.
        """
        return None

    def state_to_join(self) -> Any:
        """State for an episode that goes on: as released (`Agent.policy_state`), else as at a start."""
        return self.initial_state()

    def rewarded(self, state: Any, reward: float) -> Any:
        """State after the reward of the last decision; before the next one, for those that go by it."""
        return state

    @abstractmethod
    def act(
        self, observation: np.ndarray, state: Any, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, Any]:
        """Choose an action.

        Args:
            observation: of the shape and type of the observation space, checked by the caller.
            state: what `initial_state` or the previous decision of this episode returned.
            rng: source of exploration; ``None`` asks for the greedy action.

        Returns:
            The action, inside the action space, and the next state.
        """


class Agent(ABC):
    """The learning half. All randomness comes from its seed, and all of it is in `snapshot`.

    Args:
        options: the algorithm's options, an ``Options`` of its folder.
        spaces: the environment's spaces.
        seed: seed of initialisation, sampling and dreaming.
    """

    policy_class: ClassVar[type[Policy]]
    options_class: ClassVar[type]

    def __init__(self, options: Any, spaces: Spaces, seed: int):
        self.options, self.spaces, self.seed = options, spaces, seed

    @property
    def updates_first(self) -> int:
        """Updates that are due before the first step, of what learns from demonstrations."""
        return 0

    @abstractmethod
    def policy_weights(self) -> Weights:
        """Copies of all that a `Policy` needs to act as this agent does now."""

    def policy_state(self) -> Weights:
        """What a policy remembers of the episode that goes on, by names that weights do not have.

        Released with the weights where a stopped run goes on; nothing where decisions have no memory.
        """
        return {}

    def released(self, weights: Weights) -> None:  # noqa: B027, nothing to do for most
        """The policy acts by these weights from now on; for those whose policies remember."""

    @abstractmethod
    def observe(self, transition: Transition) -> None:
        """Take in one real transition."""

    @abstractmethod
    def learn(self) -> Metrics:
        """One update from real experience; an agent that learns in `observe` returns ``{}``."""

    @property
    def can_dream(self) -> bool:
        """Whether there is a world model with enough experience to dream in; by default there is none."""
        return False

    def dream(self, budget: Budget) -> Generator[DreamProgress, None, None]:
        """Improve in imagination, yielding at least every 0.2 s; closing it ends the phase cleanly.

        Raises:
            UserError: if this algorithm has no world model.
        """
        raise UserError(f"{type(self).__name__} has no world model to dream in")
        yield  # a generator, as those that dream are

    def model_error(self) -> Metrics:
        """Open-loop error on held-out data, relative to a model that predicts no change."""
        return {}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """A held-out segment (``real [H, D]``) and its open-loop prediction (``dream [H, D]``).

        Where several models predict, ``uncertainty [H, D]`` is the standard deviation between them.
        Pictures are ``[H, height, width, C]``, of 0 to 255 (uint8).
        """
        return {}

    @abstractmethod
    def snapshot(self) -> Weights:
        """Everything needed to go on bit for bit, as tensors by name."""

    @abstractmethod
    def restore(self, snapshot: "Mapping[str, Tensor]") -> None:
        """Go on from a `snapshot` of an agent with the same options and spaces."""
