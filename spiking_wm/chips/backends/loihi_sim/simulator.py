"""A simulated chip in a process of its own, which may crash or hang without harm."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np

from spiking_wm.chips.backends.loihi_sim.options import Options
from spiking_wm.chips.network import ChipNetwork

_CHILD = "spiking_wm.chips.backends.loihi_sim.child"
_START, _END, _LAST = 30.0, 3.0, 1.0  # seconds to start in, to end in, and to end in when told twice
_CLEANS_UP = b"resource_tracker"  # frees shared memory when all others are gone


class ChipGone(RuntimeError):
    """The chip crashed or hangs; its text says which."""


class Simulator:
    """The parent's end.

    Args:
        network: what the chip is to run.
        options: how.
        probes: give the spikes of every layer.
    """

    def __init__(self, network: ChipNetwork, options: Options, probes: bool = False):
        self.options, self.figures = options, {"decisions": 0, "seconds": 0.0}
        ours, theirs = socket.socketpair()
        # for sockets of Lava's memory, whose paths may not be longer than 107 characters
        self._temporary = tempfile.TemporaryDirectory(prefix=f"loihi_sim{os.getpid()}_", dir="/tmp")
        environment = os.environ | {
            "TMPDIR": self._temporary.name,
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore:resource_tracker",  # says what it cleans up after a crash
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
        self.gone = ""  # why it is, once it is

    def run(self, inputs: np.ndarray, course: int = 0, fresh: bool = False) -> list[np.ndarray]:
        """One decision, as `Chip.run`.

        Args:
            inputs: spikes, numbers or currents.
            course: of events, of which neurons that are carried remember each one apart.
            fresh: whether it begins here.

        Raises:
            ChipGone: if it crashed, or did not answer within ``patience``.
        """
        self.wait()
        began = time.perf_counter()
        answer = self._ask((inputs, course, fresh), self.options.patience)
        self.figures["decisions"] += 1
        self.figures["seconds"] += time.perf_counter() - began
        return answer

    def saturated(self) -> list[int]:
        """How often, so far, a potential of each layer was as large as potentials can be.

        Raises:
            ChipGone: as `run`.
        """
        self.wait()
        return self._ask("saturated", self.options.patience)

    def wait(self) -> None:
        """Until it has started.

        Raises:
            ChipGone: if it does not.
        """
        if not self._started:
            self._ask(None, _START)
            self._started = True

    def _ask(self, request: tuple | str | None, patience: float):
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
        """End it and all that it started; leaves no process, shared memory or socket."""
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
                    os.kill(member, signal.SIGCONT)  # one that is stopped ends too
            _wait_until(lambda: not _members(group), seconds if members else 0)
        self._process.wait()
        _wait_until(lambda: not _members(group, all_of_them=True), _END)
        self._temporary.cleanup()


def _members(group: int, all_of_them: bool = False) -> list[int]:
    """Processes of a session that still run, by default but for the one that frees shared memory."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            counts = all_of_them or _CLEANS_UP not in (folder / "cmdline").read_bytes()
            if int(session) == group and state != "Z" and counts:
                found.append(int(folder.name))
    return found


def _wait_until(true, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.01)
