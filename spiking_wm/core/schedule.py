"""Options that every algorithm shares: the schedule of a run."""

import math
from dataclasses import dataclass

from spiking_wm.core.options import group, option


@dataclass(frozen=True)
class DreamSchedule:
    """When the learner dreams by itself, and how much."""

    every: int = option(0, "steps between dream phases; 0 for none but those asked for", 0)
    after: int = option(1000, "steps before the first scheduled dream", 0)
    halving: int = option(
        0,
        "steps after that one in which scheduled dreams become half as frequent, again and again; 0: none",
        0,
    )
    rollouts: int = option(1024, "rollouts of a dream phase when nothing else is said", 1)

    def due(self, step: int) -> bool:
        """Whether a scheduled dream begins after so many steps."""
        if not self.every or step % self.every or step < max(self.after, 1):
            return False
        return math.floor(self._count(step)) > math.floor(self._count(step - self.every))

    def _count(self, step: int) -> float:
        """How many are due up to a step, as a smooth course."""
        since: float = step - self.after
        if self.halving and since > 0:
            rate = math.log(2) / self.halving
            since = -math.expm1(-rate * since) / rate
        return since / self.every


@dataclass(frozen=True)
class EvaluationSchedule:
    """When the policy is evaluated, and how thoroughly."""

    every: int = option(5000, "steps between evaluations; 0 for none", 0, was="evaluate_every")
    episodes: int = option(10, "greedy episodes per evaluation", 1)


@dataclass(frozen=True)
class Schedule:
    """How long, how often, and what comes out; counted in environment steps of training."""

    seed: int = option(0, "seed of everything random", 0, 2**31 - 1)
    steps: int = option(100_000, "environment steps of the whole run", 1)
    updates_per_step: float = option(1.0, "learning updates per environment step; holds exactly", 0, 100)
    learn_after: int = option(1000, "steps before the first update", 0)
    policy_every: int = option(50, "steps between policy versions", 1)
    dream: DreamSchedule = group(DreamSchedule())
    evaluation: EvaluationSchedule = group(EvaluationSchedule())
    stop_when_solved: bool = option(False, "end the run at the first evaluation that reaches `solved_at`")
    solved_at: float = option(float("inf"), "mean evaluation return that counts as solved")
    checkpoint_every: int = option(10_000, "steps between checkpoints; 0 for the last one only", 0)
    matmul: str = option(
        "medium",
        "matrix products in learning: float32 (highest), or bfloat16 inputs where the CPU has them (medium)",
        choices=("highest", "medium"),
    )
    threads: int = option(1, "threads that learn", 1, 256)
