"""Record a learner's events in the run's tables and in TensorBoard."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from spiking_wm.core.contract import Metrics
from spiking_wm.runs.folder import Run
from spiking_wm.runs.scalars import scalars_file
from spiking_wm.runs.writes import Writes
from spiking_wm.training.learner import DreamResult, Evaluation, Observer


class Recorder(Observer):
    """Writes a learner's events to tables and TensorBoard.

    Args:
        run: the run's folder.
        writes: does the writes.
    """

    def __init__(self, run: Run, writes: Writes):
        self._run, self.writes = run, writes
        self._board = scalars_file(run.path / "tensorboard")
        self._started = self._fell_asleep = time.monotonic()
        self._newest: Metrics = {}  # metrics of the updates since the last row
        self._last_row = 0

    def goes_on(self) -> None:
        """After a resume, continue the count of seconds from the last rows of the run's tables."""
        ends = [0.0]
        for table in ("evaluations", "phases", "dreams"):
            for row in self._run.table(table)[-1:]:
                ends.append(float(row.get("began") or 0) + float(row.get("seconds") or 0))
        self._started -= max(ends)

    def _row(self, table: str, row: Mapping[str, Any]) -> None:
        self._run.keep_row(table, row)
        self.writes.do(f"{table}.csv", lambda: self._run.write_rows(table))

    def _scalars(self, step: int, metrics: Metrics) -> None:
        if self._board:
            self._board.add(step, metrics)
            if self._board.due:
                self.writes.do("tensorboard", self._board.write)

    def learned(self, step: int, updates: int, metrics: Metrics) -> None:
        """Record the newest metrics every 100 steps (or every 100 updates before the first step)."""
        at = step or updates
        if at < self._last_row:  # environment steps start, after the first updates
            self._newest, self._last_row = {}, 0
        self._newest |= metrics  # some metrics are not in every update
        if at >= self._last_row + 100:
            self._last_row = at
            self._scalars(at, self._newest)
            self._newest = {}

    def episode_ended(self, step: int, episode: int, episode_return: float, length: int) -> None:
        """A row and a scalar."""
        self._row("episodes", {"step": step, "episode": episode, "return": episode_return, "length": length})
        self._scalars(step, {"episode_return": episode_return})

    def evaluated(self, evaluation: Evaluation) -> None:
        """A row and a scalar."""
        self._row(
            "evaluations",
            {
                "step": evaluation.step,
                "policy_version": evaluation.version,
                "mean": evaluation.mean,
                "std": float(np.std(evaluation.returns)),
                "seconds": round(time.monotonic() - self._started, 1),
                "returns": " ".join(f"{r:.6g}" for r in evaluation.returns),
            },
        )
        self._scalars(evaluation.step, {"evaluation_return": evaluation.mean})

    def dream_started(self, step: int) -> None:
        """Store the start time."""
        self._fell_asleep = time.monotonic()

    def dream_recorded(self, step: int, number: int, result: DreamResult, model_error: Metrics) -> None:
        """Add a row and scalars for a dream phase and its world model."""
        accepted = result.metrics.get("dream_accepted", float("nan"))
        row = {"step": step, "rollouts": result.rollouts, "updates": result.updates, "accepted": accepted}
        began, took = self._fell_asleep - self._started, time.monotonic() - self._fell_asleep
        times = {"number": number, "began": round(began, 2), "seconds": round(took, 2)}
        self._row("dreams", row | model_error | times)
        self._scalars(step, result.metrics | model_error)

    def phase_changed(self, step: int, phase: str, reason: str) -> None:
        """Add a row for the robot's new phase and its reason."""
        seconds = round(time.monotonic() - self._started, 1)
        self._row("phases", {"step": step, "seconds": seconds, "phase": phase, "reason": reason})

    def flush(self) -> None:
        """Write all scalars so far to TensorBoard's file."""
        if self._board:
            self.writes.do("tensorboard", self._board.write)

    def close(self) -> None:
        """Write what has not been written, if that is possible."""
        self.flush()
        self.writes.catch_up(now=True)
