"""The folder of a run: configuration, tables, policies, checkpoints and pictures."""

import importlib.metadata
import json
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from spiking_wm.core.contract import Weights
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import (
    CheckpointFolder,
    append_traceback,
    lock,
    newest_checkpoint,
    write_atomically,
)
from spiking_wm.core.game_loop import told
from spiking_wm.core.options import values
from spiking_wm.core.presets import Setup
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.storage import load, pack
from spiking_wm.runs.config import LOCK, LOG, RunConfig, is_run, read_config, write_config
from spiking_wm.runs.policy_bundle import pack_bundle
from spiking_wm.runs.tables import Tables
from spiking_wm.training import learner as learning
from spiking_wm.training.episodes import facts_of, tensors_of
from spiking_wm.training.learner import Evaluation, Learner

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POLICIES_KEPT, _DREAMS_KEPT = 5, 12
_PATIENCE = 10.0  # seconds to wait for the end of a process that was killed


class Run:
    """The folder with all files of one run.

    Args:
        path: path of the folder.
    """

    def __init__(self, path: str | Path):
        self.path = path = Path(path)
        self.checkpoints = CheckpointFolder(path / "checkpoints")
        self.policies = path / "policies"
        self._tables = Tables(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @property
    def config(self) -> RunConfig:
        """Configuration with which the run was started or last resumed.

        Raises:
            UserError: if the folder is not a run.
        """
        return read_config(self.path)

    @staticmethod
    def create(path: Path, setup: Setup, env_id: str) -> "Run":
        """Make the folder of a run, or write the options with which an existing run is resumed.

        The previous options are kept until `commit_options` or `roll_back_options`.

        Raises:
            UserError: if the folder cannot be written; an existing run is then as it was.
        """
        run = Run(path)
        try:
            if is_run(path) and not run._before.exists():
                write_atomically(run._before, (path / "config.yaml").read_bytes())
            write_atomically(path / "versions.json", json.dumps(_versions(), indent=1).encode())
            write_config(path, setup, env_id)
        except OSError as error:
            run.roll_back_options()
            raise UserError(f"run:={path} cannot be written ({error.strerror}): choose another one") from None
        return run

    @property
    def _before(self) -> Path:
        return self.path / "config.before.yaml"

    def commit_options(self) -> None:
        """Accept the options that `create` wrote; the previous ones are deleted."""
        self._before.unlink(missing_ok=True)

    def roll_back_options(self) -> None:
        """Reject the options that `create` wrote; the previous ones are restored."""
        if self._before.exists():
            os.replace(self._before, self.path / "config.yaml")

    def lock(self) -> IO[bytes]:
        """Lock the folder against other learners until the returned file is closed.

        Raises:
            UserError: if another process still learns in this folder after 10 s, or it cannot be written.
        """
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return lock(self.path / LOCK)
            except BlockingIOError:  # a killed process may take a moment to end
                if time.monotonic() > deadline:
                    raise UserError(
                        f"another process learns in {self.path}: stop it first, or choose another run:="
                    ) from None
                time.sleep(0.1)
            except OSError as error:
                raise UserError(
                    f"{self.path} cannot be written ({error.strerror}): free some disk space"
                ) from None

    def clear(self) -> None:
        """Delete what a run has left that was stopped before its first checkpoint."""
        for name in ("policies", "tensorboard", "checkpoints"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        for file in (*self.path.glob("*.csv"), self._segment):
            file.unlink(missing_ok=True)

    def one_line(self, error: BaseException) -> str:
        """An exception in one line for the user; its traceback goes to the run's ``log.txt``."""
        append_traceback(self.path / LOG, error)
        if isinstance(error, UserError) and not error.__cause__:
            return str(error)
        text = str(error) if isinstance(error, UserError) else told(error)
        return f"{text} (traceback in {self.path / LOG})"

    # --- tables ---

    def append(self, table: str, row: Mapping[str, Any]) -> None:
        """Add a row to one of the CSV tables.

        Raises:
            OSError: if it cannot be written; it is then written with the next one.
        """
        self._tables.keep(table, row)
        self._tables.write(table)

    def keep_row(self, table: str, row: Mapping[str, Any]) -> None:
        """Add a row in memory; `write_rows` writes it."""
        self._tables.keep(table, row)

    def write_rows(self, table: str) -> None:
        """Write the rows of a table that were added in memory.

        Raises:
            OSError: if they cannot be written; they are kept.
        """
        self._tables.write(table)

    def table(self, name: str) -> list[dict[str, str]]:
        """Rows of a CSV table; empty if there is none yet."""
        return self._tables.rows(name)

    def forget_after(self, step: int, evaluated_at: int | None, dreams: int) -> None:
        """Delete the rows that were written after a checkpoint, given its step and numbers of dreams."""
        self._tables.forget_after(step, evaluated_at, dreams)

    @property
    def evaluations(self) -> list[Evaluation]:
        """All evaluations so far, oldest first: ``step``, ``version``, ``returns`` and their ``mean``."""
        return [
            Evaluation(
                int(row["step"]), int(row["policy_version"]), tuple(map(float, row["returns"].split()))
            )
            for row in self.table("evaluations")
        ]

    def plot(self) -> "Figure":
        """The learning curve: training episodes, evaluations and dream phases, by environment steps."""
        from spiking_wm.runs.figures import learning

        return learning(self)

    # --- policies ---

    def policy_path(self, version: int) -> Path:
        """File of a policy version."""
        return self.policies / f"policy_{version:06d}.safetensors"

    def write_policy(self, weights: Weights, setup: Setup, spaces: Spaces, version: int) -> Path:
        """Write a policy bundle; delete old ones, which no process can still be loading.

        Raises:
            OSError: if it cannot be written.
            UserError: if the weights are not finite.
        """
        path = self.policy_path(version)
        write_atomically(path, bundle_of(weights, setup, spaces, version))
        self.policy_path(version - _POLICIES_KEPT).unlink(missing_ok=True)
        return path

    def keep_around_dream(self, number: int, when: str, bundle: bytes) -> None:
        """Keep the policy bundle ``before`` or ``after`` a dream phase, for a limited number of phases."""
        folder = self.policies / "dreams"
        write_atomically(folder / f"{number:06d}_{when}.safetensors", bundle)
        kept = sorted({path.name.split("_")[0] for path in folder.glob("*.safetensors")})
        if len(kept) > _DREAMS_KEPT:  # delete every second one, except the first and the last
            for gone in kept[1:-1:2]:
                for path in folder.glob(f"{gone}_*.safetensors"):
                    path.unlink()

    def around_dreams(self) -> list[tuple[int, Path, Path]]:
        """For each dream phase kept: its number, and the bundles from before and after it."""
        folder, pairs = self.policies / "dreams", []
        for before in sorted(folder.glob("*_before.safetensors")):
            after = before.with_name(before.name.replace("before", "after"))
            if after.exists():
                pairs.append((int(before.name.split("_")[0]), before, after))
        return pairs

    # --- dream against reality ---

    @property
    def _segment(self) -> Path:
        return self.path / "dream.safetensors"

    def keep_segment(self, segment: Mapping[str, np.ndarray]) -> None:
        """Keep a held-out segment and its prediction for figures, if it is finite."""
        if segment and all(np.isfinite(values).all() for values in segment.values()):
            write_atomically(self._segment, pack(segment, {}))

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The segment stored by `keep_segment`; empty if there is none."""
        if not self._segment.exists():
            return {}
        return {name: tensor.numpy() for name, tensor in load(self._segment)[0].items()}

    # --- checkpoints ---

    def save(self, learner: Learner, spaces: Spaces, config: RunConfig, failed: bool = False) -> Path:
        """Write a checkpoint of learner, policy and environment.

        Args:
            learner: the learner.
            spaces: the environment's spaces.
            config: configuration with which the run is resumed.
            failed: the learner has failed: the checkpoint is not taken as the newest of the run.

        Raises:
            OSError: if it cannot be written; older checkpoints stay.
            UserError: if the learner's state is not finite.
        """
        facts = {
            "algorithm": config.algorithm,
            "env": config.env,
            "options": config.options,
            "spaces": spaces.to_json(),
            "learner": learning.counters(learner),
        }
        acting = learner.acting.weights if learner.acting else learner.agent.policy_weights()
        place = {"step": learner.step, "evaluated_at": learner.evaluated_at} | facts_of(learner.episodes)
        files = {
            "agent.safetensors": pack(learner.agent.snapshot(), facts),
            "policy.safetensors": bundle_of(acting, config.resolve(), spaces, learner.version),
            "episode.safetensors": pack(tensors_of(learner.episodes), place),
        }
        write = self.checkpoints.save_failed if failed else self.checkpoints.save
        return write(learner.step, files)

    def newest(self) -> Path:
        """The newest checkpoint.

        Raises:
            UserError: if there is none.
        """
        return newest_checkpoint(self.path)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(map(float, text.split()))


def new_run_path(setup: Setup, env_name: str) -> Path:
    """Path of a new folder in ``runs/``, named after environment, algorithm, seed and time."""
    name = re.sub(r"[^\w.-]+", "-", env_name)[:80].strip("-")
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return Path("runs") / f"{name}_{setup.algorithm}_s{setup.schedule.seed}_{stamp}"


def bundle_of(weights: Weights, setup: Setup, spaces: Spaces, version: int) -> bytes:
    """The content of a policy bundle file."""
    return pack_bundle(weights, setup.agent, values(setup.agent_options), spaces, version)


def _versions() -> dict[str, str]:
    packages = ("spiking_wm_ros", "torch", "numpy", "numba", "gymnasium", "mujoco", "safetensors")
    installed = {d.name.replace("-", "_"): d.version for d in importlib.metadata.distributions()}
    found = {name: installed[name] for name in packages if name in installed}
    command = os.environ.get("SWM_COMMAND", " ".join(sys.argv))
    return {"command": command, "python": platform.python_version(), "machine": platform.platform()} | found
