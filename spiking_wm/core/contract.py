"""Interface of every algorithm: an `Agent` that learns and a `Policy` that acts.

It covers algorithms that learn from replay or online, with vector or pixel observations, and with
continuous or discrete actions. An algorithm that does not support the environment's spaces raises a
`UserError` in its constructor.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import Spaces

if TYPE_CHECKING:  # this module must not load torch
    from torch import Tensor

    from spiking_wm.chips.network import ChipNetwork

Weights = dict[str, "Tensor"]
Metrics = dict[str, float]
# called with the inputs of a `ChipNetwork` and the policy's states before and after the decision; returns the
# spikes of the last layer, [T, N], or None if it cannot run the network (the policy then runs it itself)
NetworkRunner = Callable[[np.ndarray, Any, Any], np.ndarray | None]


class Transition(NamedTuple):
    """One environment step.

    ``step`` is the number of training steps before this one; in an evaluation, the number of steps of
    that evaluation. ``terminated``: the task ended. ``truncated``: the time limit was reached, and the
    next state still has a value. ``life_lost``: a life was lost, and the episode continues. ``seed`` is
    the episode's seed if it was set explicitly; -1 if it is derived from the run's seed.
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
        """True if the episode ended with this step."""
        return self.terminated or self.truncated


def memory_of(copy: int) -> str:
    """Group of tensors, in weights, that holds a policy's memory in a copy of the environment."""
    return f"memory_{copy}" if copy else "memory"


@dataclass(frozen=True)
class Budget:
    """Limits of a dream phase, which ends at the first one reached; ``None`` is no limit."""

    rollouts: int | None = None
    updates: int | None = None
    seconds: float | None = None

    def lasts(self, rollouts: int, updates: int, seconds: float) -> bool:
        """True while no limit is reached, given the rollouts, updates and seconds used so far."""
        spent = ((rollouts, self.rollouts), (updates, self.updates), (seconds, self.seconds))
        return all(bound is None or used < bound for used, bound in spent)


class DreamProgress(NamedTuple):
    """Rollouts, updates and metrics of a dream phase so far."""

    rollouts: int
    updates: int
    metrics: Metrics


class Policy(ABC):
    """The acting part of an algorithm: loads weights that an `Agent` released, and chooses actions.

    Args:
        options: the algorithm's options.
        spaces: the environment's spaces.
    """

    network_runner: NetworkRunner | None = None  # if set, runs `chip_network` in place of the policy

    def __init__(self, options: Any, spaces: Spaces):
        self.options, self.spaces = options, spaces

    def chip_network(self) -> "ChipNetwork":
        """The spiking network between encoder and decoder, with the loaded weights.

        Raises:
            UserError: if neuromorphic chips cannot run this policy's network.
        """
        raise UserError(
            "this policy has more between spikes than weights (normalised currents, attention, or no spikes"
            " at all), which neuromorphic chips do not run: act by policy_backend:=host"
        )

    @abstractmethod
    def load(self, weights: "Mapping[str, Tensor]") -> None:
        """Replace the weights. Recurrent states that callers keep stay valid."""

    def initial_state(self, episode: int = 0) -> Any:
        """State at the start of an episode; ``None`` for a policy without memory.

        Args:
            episode: number of the episode; seeds the random numbers of an evaluation.
        """
        return None

    def state_to_join(self, copy: int = 0) -> Any:
        """State for joining a running episode: as released (`Agent.policy_state`), else the initial one.

        Args:
            copy: of the environment, for agents with `Agent.serves_copies`.
        """
        return self.initial_state()

    def rewarded(self, state: Any, reward: float) -> Any:
        """State after the reward of the last action. Called before the next decision; default: unchanged."""
        return state

    @abstractmethod
    def act(
        self, observation: np.ndarray, state: Any, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, Any]:
        """Choose an action.

        Args:
            observation: has the shape and type of the observation space (checked by the caller).
            state: returned by `initial_state` or by the previous decision of this episode.
            rng: random generator for exploration; ``None`` selects the greedy action.

        Returns:
            The action, inside the action space, and the next state.
        """


class Agent(ABC):
    """The learning part of an algorithm. Its only source of randomness is its seed.

    Args:
        options: the algorithm's options, an instance of `options_class`.
        spaces: the environment's spaces.
        seed: seed of initialisation, sampling and dreams.
        envs: copies of the environment, which take turns: the step ``t`` is one of copy ``t % envs``. Above 1
            only for agents with `serves_copies`.
    """

    policy_class: ClassVar[type[Policy]]
    options_class: ClassVar[type]
    serves_copies: ClassVar[bool] = False  # True: it learns from several episodes that take turns

    def __init__(self, options: Any, spaces: Spaces, seed: int, envs: int = 1):
        self.options, self.spaces, self.seed, self.envs = options, spaces, seed, envs

    def copy_of(self, transition: Transition) -> int:
        """The copy of the environment that a transition is of."""
        return transition.step % self.envs

    @property
    def updates_first(self) -> int:
        """Updates before the first environment step, for agents that learn from demonstrations."""
        return 0

    @abstractmethod
    def policy_weights(self) -> Weights:
        """Copies of all tensors that a `Policy` needs to act as this agent does now."""

    def policy_state(self) -> Weights:
        """Memory of the policy in each copy's running episode, as tensors by names that no weight has.

        Released with the weights when a stopped run is resumed; empty for policies without memory.
        """
        return {}

    def released(self, weights: Weights) -> None:  # noqa: B027, optional to override
        """Called when the policy starts to act with these weights; for agents whose policies have memory."""

    @abstractmethod
    def observe(self, transition: Transition) -> None:
        """Receive one real transition."""

    @abstractmethod
    def learn(self) -> Metrics:
        """Do one update from real experience. Agents that learn in `observe` return ``{}``."""

    @property
    def can_dream(self) -> bool:
        """True if there is a world model with enough experience to dream in. Default: False."""
        return False

    def dream(self, budget: Budget) -> Generator[DreamProgress, None, None]:
        """Learn from imagined rollouts. Yields at least every 0.2 s; closing the generator ends the phase.

        Raises:
            UserError: if this algorithm has no world model.
        """
        raise UserError(f"{type(self).__name__} has no world model to dream in")
        yield  # makes this method a generator

    def model_error(self) -> Metrics:
        """Open-loop error on held-out data by name, divided by the error of predicting no change."""
        return {}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """A held-out segment (``real [H, D]``) and its open-loop prediction (``dream [H, D]``).

        An ensemble adds ``uncertainty [H, D]``, the standard deviation between its members. Pictures are
        ``[H, height, width, C]``, uint8. Empty if there is no world model or no held-out data.
        """
        return {}

    @abstractmethod
    def snapshot(self) -> Weights:
        """The complete state, random generators included, as tensors by name."""

    @abstractmethod
    def restore(self, snapshot: "Mapping[str, Tensor]") -> None:
        """Continue exactly from a `snapshot` of an agent with the same options and spaces."""
