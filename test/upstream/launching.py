"""Helpers that run ROS's own command line, with this package installed as colcon installs it."""

import os
import pty
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from test.conftest import TINY
from test.test_command_faults import ROOT, until

LONG = [f"{name}:={value}" for name, value in (TINY | {"steps": 100_000}).items()]


def need_ros2() -> None:
    """Skip the calling module where ROS's command line or this package are not installed."""
    pytest.importorskip("launch_ros", reason="needs ROS's own launch: see test/upstream/run")
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(":")
    marker = "share/ament_index/resource_index/packages/spiking_wm_ros"
    if not shutil.which("ros2") or not any(Path(prefix, marker).exists() for prefix in prefixes):
        pytest.skip("needs ros2 and this package, installed: see test/upstream/run", allow_module_level=True)


def ros2(*arguments: str, seconds: float = 60.0) -> str:
    """Output of a command that has to succeed."""
    done = subprocess.run(("ros2", *arguments), cwd=ROOT, capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Terminal:
    """A command in a terminal of its own.

    Args:
        arguments: the command.
        folder: for its temporary files (``tmp``) and its logs (``log``).
    """

    def __init__(self, arguments: list[str], folder: Path):
        self.shown = ""
        self.folder = folder / "tmp"
        self.folder.mkdir(parents=True)
        self.began = time.monotonic()
        self.pid, self._terminal = pty.fork()
        if not self.pid:
            os.environ |= {"TMPDIR": str(self.folder), "ROS_LOG_DIR": str(folder / "log")}
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder / "cache")
            os.chdir(ROOT)
            os.execvp(arguments[0], arguments)
        os.set_blocking(self._terminal, False)

    def read(self) -> str:
        """All that it has shown until now."""
        with suppress(OSError):
            while found := os.read(self._terminal, 65536):
                self.shown += found.decode(errors="replace")
        return self.shown

    def shows(self, text: str, seconds: float = 240.0) -> None:
        """Wait until it shows a text, or fail."""
        until(lambda: text in self.read(), seconds)

    def press_ctrl_c(self) -> None:
        """Have the terminal send SIGINT to the processes in its foreground."""
        os.write(self._terminal, b"\x03")

    def ended(self, seconds: float = 240.0) -> int:
        """Wait for its end; returns the exit code."""

        def end() -> tuple[int, int] | None:
            self.read()
            found = os.waitpid(self.pid, os.WNOHANG)
            return found if found[0] else None

        _, status = until(end, seconds)
        self.read()
        return os.waitstatus_to_exitcode(status)

    def left(self) -> list[str]:
        """Processes that run on, and temporary files that are still there."""
        return [*_processes_with(f"TMPDIR={self.folder}"), *map(str, self.folder.iterdir())]

    def nodes(self) -> list[str]:
        """Processes that it has started, as `launch` shows them."""
        return re.findall(r"\[(\w+)-\d+\]: process started", self.read())

    def close(self) -> None:
        """Kill what is left."""
        with suppress(ChildProcessError):
            if os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
        os.close(self._terminal)


def _processes_with(variable: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if variable.encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_text().replace("\0", " "))
    return found
