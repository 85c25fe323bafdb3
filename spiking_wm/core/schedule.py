"""Options shared by all algorithms: the schedule of a run."""

import math
from dataclasses import dataclass
from typing import Any

import yaml

from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import LONGEST
from spiking_wm.core.options import group, option


def due(step: int, every: int, envs: int = 1) -> bool:
    """True if what happens every some steps happens after this one: at the first end of a round from there.

    Args:
        step: training steps so far.
        every: steps between two times; 0: never.
        envs: steps in a round, one in each copy of the environment.
    """
    return bool(every and step) and step % envs == 0 and step % every < envs


@dataclass(frozen=True)
class DreamSchedule:
    """When scheduled dream phases start, and their length."""

    every: int = option(0, "steps between scheduled dream phases; 0: only dreams on request", 0)
    after: int = option(1000, "steps before the first scheduled dream", 0)
    halving: int = option(
        0,
        "half-life of the dream frequency after the first scheduled dream, in steps; 0: constant frequency",
        0,
    )
    rollouts: int = option(1024, "rollouts per dream phase, if a request sets no other number", 1)

    def due(self, step: int, envs: int = 1) -> bool:
        """True if a scheduled dream phase starts after this step; arguments as of `due`."""
        if not due(step, self.every, envs):
            return False
        step -= step % self.every
        return step >= self.after and math.floor(self._count(step)) > math.floor(
            self._count(step - self.every)
        )

    def _count(self, step: int) -> float:
        """Number of dream phases scheduled up to a step, as a continuous function."""
        since: float = step - self.after
        if self.halving and since > 0:
            rate = math.log(2) / self.halving
            since = -math.expm1(-rate * since) / rate
        return since / self.every


@dataclass(frozen=True)
class EvaluationSchedule:
    """When the policy is evaluated, and with how many episodes."""

    every: int = option(5000, "steps between evaluations; 0: none", 0, was="evaluate_every")
    episodes: int = option(10, "greedy episodes per evaluation", 1)
    longest: int = option(
        0,
        "steps after which an episode of an evaluation is cut off; 0: the environment's own time limit, or"
        f" {LONGEST} steps if it has none",
        0,
    )


@dataclass(frozen=True)
class Schedule:
    """Length of a run and its intervals, in environment steps of training."""

    seed: int = option(0, "seed of all random numbers", 0, 2**31 - 1)
    steps: int = option(100_000, "environment steps of the whole run", 1)
    envs: int = option(1, "copies of the environment, which step at the same time", 1, 256)
    env_processes: bool = option(
        True, "each of several copies steps in a process of its own; false: all in one, for fast simulators"
    )
    updates_per_step: float = option(1.0, "learning updates per environment step", 0, 100)
    learn_after: int = option(1000, "steps before the first update", 0)
    policy_every: int = option(50, "steps between policy versions", 1)
    dream: DreamSchedule = group(DreamSchedule())
    evaluation: EvaluationSchedule = group(EvaluationSchedule())
    stop_when_solved: bool = option(False, "end the run at the first evaluation that reaches `solved_at`")
    solved_at: float = option(float("inf"), "mean evaluation return that counts as solved")
    checkpoint_every: int = option(10_000, "steps between checkpoints; 0: only at the end", 0)
    on_full_disk: str = option(
        "go_on",
        "what learning does while the disk is full: wait for room; or go on, and keep in memory what is to be"
        " written",
        choices=("go_on", "wait"),
    )
    matmul: str = option(
        "medium",
        "matrix products in learning: float32 (highest), or bfloat16 if the CPU supports it (medium)",
        choices=("highest", "medium"),
    )
    threads: int = option(1, "CPU threads for learning", 1, 256)
    env_kwargs: str = option("", "arguments of the environment's constructor, as {length: 2}")
    env_alone: bool = option(
        False,
        "no second instance of the environment is made (hardware): nothing is evaluated while it trains",
    )

    @property
    def env_arguments(self) -> dict[str, Any]:
        """The arguments in ``env_kwargs``.

        Raises:
            UserError: if it is no mapping.
        """
        return env_arguments(self.env_kwargs)

    def check_one_copy(self) -> None:
        """Check that it can be learned from recordings, which are of one robot.

        Raises:
            UserError: if there are several copies of the environment.
        """
        if self.envs > 1:
            raise UserError(f"this run has envs:={self.envs}: recordings are learned from with envs:=1")


def env_arguments(text: str) -> dict[str, Any]:
    """Arguments of an environment's constructor from YAML or JSON.

    Raises:
        UserError: if the text is no mapping from names to values.
    """
    try:
        found = yaml.safe_load(text) or {}
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"env_kwargs:={text} is no mapping: give it as env_kwargs:='{{length: 2}}'")
    return found
