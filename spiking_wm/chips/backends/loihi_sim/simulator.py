"""A simulated chip in its own process, so that a crash or hang does not affect the caller."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import numpy as np

from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.network import ChipNetwork
from spiking_wm.core.errors import UserError

# not in an extra: lava-nc declares Python < 3.11 and NumPy < 2, but runs with newer versions
_PACKAGES = "lava-nc==0.10.0 asteval"
_CHILD = "spiking_wm.chips.backends.loihi_sim.child"
_START, _END, _LAST = 30.0, 3.0, 1.0  # seconds to start, to end, and to end after each signal
_CLEANS_UP = b"resource_tracker"  # Python process that frees shared memory after all others have ended


class ChipGone(RuntimeError):
    """The chip crashed or hangs; the message names the reason."""


class Simulator:
    """Starts the process of a chip and sends it requests.

    Args:
        network: the network to run.
        options: precision, bits and longest time of a decision.
        probes: return the spikes of all layers, not only of the last.

    Raises:
        UserError: if lava-nc is not installed.
    """

    def __init__(self, network: ChipNetwork, options: Options, probes: bool = False):
        try:  # the child needs it; without this check it would end with a traceback
            import lava  # noqa: F401
        except ModuleNotFoundError:
            raise UserError(f"the simulated Loihi needs Lava: pip install --no-deps {_PACKAGES}") from None
        self.options, self.figures = options, {"decisions": 0, "seconds": 0.0}
        ours, theirs = socket.socketpair()
        # short path for the sockets of Lava's shared memory (at most 107 characters)
        self._temporary = tempfile.TemporaryDirectory(prefix=f"loihi_sim{os.getpid()}_", dir="/tmp")
        environment = os.environ | {
            "TMPDIR": self._temporary.name,
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore:resource_tracker",  # it warns about memory freed after a crash
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", _CHILD, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment,
            start_new_session=True,
        )
        theirs.close()
        self._died = os.pidfd_open(self._process.pid)
        self._pipe = Connection(ours.detach())
        self._pipe.send((network, options, probes))
        self._started = False
        self.gone = ""  # reason why the chip stopped; empty while it runs

    def run(self, inputs: np.ndarray, course: int = 0, fresh: bool = False) -> list[np.ndarray]:
        """Run one decision, as `Chip.run`.

        Args:
            inputs: spikes, numbers or currents.
            course: number of the course (sequence of decisions); each has its own state of carried neurons.
            fresh: True at the first decision of a course: neurons start from rest.

        Raises:
            ChipGone: if the chip crashed, or did not answer within ``patience`` seconds.
        """
        self.wait()
        began = time.perf_counter()
        answer = self._ask((inputs, course, fresh), self.options.patience)
        self.figures["decisions"] += 1
        self.figures["seconds"] += time.perf_counter() - began
        return answer

    def saturated(self) -> list[int]:
        """Number of saturated potentials of each layer so far.

        Raises:
            ChipGone: as in `run`.
        """
        self.wait()
        return self._ask("saturated", self.options.patience)

    def wait(self) -> None:
        """Wait until the chip has started.

        Raises:
            ChipGone: if it does not start.
        """
        if not self._started:
            self._ask(None, _START)
            self._started = True

    def _ask(self, request: tuple | str | None, patience: float) -> Any:
        if self.gone:
            raise ChipGone(self.gone)
        try:
            if request is not None:
                self._pipe.send(request)
            ready = wait([self._pipe, self._died], patience)
            if not ready:
                raise ChipGone(f"no answer within {patience:g} s")
            if self._pipe in ready:
                return self._pipe.recv()
            raise EOFError
        except (EOFError, OSError):
            self.gone = "its process has ended"
        except ChipGone as error:
            self.gone = str(error)
        raise ChipGone(self.gone)

    def close(self) -> None:
        """End the chip and all its processes; leaves no process, shared memory or socket behind."""
        self._pipe.close()
        os.close(self._died)
        with contextlib.suppress(subprocess.TimeoutExpired):
            if not self.gone:
                self._process.wait(_END)
        group = self._process.pid
        for number, seconds in ((signal.SIGTERM, _LAST), (signal.SIGKILL, _LAST)):
            members = _members(group)
            for member in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(member, number)
                    os.kill(member, signal.SIGCONT)  # so that a suspended process ends too
            _wait_until(lambda: not _members(group), seconds if members else 0)
        self._process.wait()
        _wait_until(lambda: not _members(group, all_of_them=True), _END)
        self._temporary.cleanup()


def _members(group: int, all_of_them: bool = False) -> list[int]:
    """Process ids of a session, by default without the process that frees shared memory."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            counts = all_of_them or _CLEANS_UP not in (folder / "cmdline").read_bytes()
            if int(session) == group and state != "Z" and counts:
                found.append(int(folder.name))
    return found


def _wait_until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
