"""Copies of a training environment that step at the same time, each in a process of its own."""

import multiprocessing
import signal
import sys
import time
import traceback
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.util import Finalize
from typing import Any, cast

import cloudpickle  # type: ignore[import-untyped] # it has no types
import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.vector.async_vector_env import AsyncState, _async_worker

from spiking_wm.core.errors import UserError
from spiking_wm.core.game_loop import told
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.camera import Camera, State
from spiking_wm.envs.copies import Copy, Outcome, Recorded, Replayed
from spiking_wm.envs.make import EnvSource

_PATIENCE = 5.0  # seconds for a process to end, after its environment is closed


class CopiesInProcesses:
    """Copies in processes of their own, which step at the same time.

    Args:
        source: what environments are made from, as of `spiking_wm.envs.make.portable`.
        kwargs: arguments of their constructor.
        spaces: of the environment.
        copies: their number.

    Raises:
        UserError: if what environments are made from cannot be sent to other processes.
    """

    def __init__(self, source: EnvSource, kwargs: Mapping[str, Any], spaces: Spaces, copies: int):
        self._name, self._count = source.name, copies
        make = partial(Copy, source, dict(kwargs), spaces, copies=copies)
        try:
            cloudpickle.dumps(make)
        except Exception as error:  # of whoever wrote the environment
            raise UserError(
                f"{source.name} cannot be sent to other processes ({told(error)}): give env as an id or as"
                " 'module:function', or step all copies in one process by env_processes:=false"
            ) from error
        multiprocessing.set_forkserver_preload([__name__])
        try:
            with _without_main():
                self._copies = AsyncVectorEnv(
                    [partial(make, number=number) for number in range(copies)],
                    context="forkserver",  # a fork of this process would inherit locks of its threads
                    daemon=False,  # simulators may have processes of their own
                    worker=cast(Any, _work),
                    autoreset_mode=AutoresetMode.DISABLED,
                )
        except EOFError:
            raise UserError(
                f"no process for a copy of {source.name} can start (see above): step all copies in one"
                " process by env_processes:=false"
            ) from None
        self._stepping: list[int] = []  # copies in the step that was started
        self._broken = False  # True during a call, and after one that failed
        self._kill = Finalize(self, _kill, (self._copies.processes,), exitpriority=0)

    def reset(self, seeds: Mapping[int, int], options: dict | None = None) -> dict[int, np.ndarray]:
        """As `Copies.reset`."""
        chosen = np.array([number in seeds for number in range(self._count)])
        of_each = [seeds.get(number) for number in range(self._count)]
        with self._calling():
            seen, _ = self._copies.reset(seed=of_each, options=(options or {}) | {"reset_mask": chosen})
        return {number: seen[number] for number in seeds}

    def start(self, actions: Mapping[int, np.ndarray]) -> None:
        """As `Copies.start`."""
        others = [number for number in range(self._count) if number not in actions]
        any_action = next(iter(actions.values()))
        with self._calling():
            if others:
                self._copies.call("hold", others)
            self._copies.step_async(np.stack([actions.get(k, any_action) for k in range(self._count)]))
        self._stepping = list(actions)

    def finish(self) -> list[Outcome]:
        """As `Copies.finish`."""
        numbers, self._stepping = self._stepping, []
        with self._calling():
            seen, rewards, terminated, truncated, infos = self._copies.step_wait()
            if len(numbers) < self._count:
                self._copies.call("hold", [])
        return [
            Outcome(
                seen[k],
                float(rewards[k]),
                bool(terminated[k]),
                bool(truncated[k]),
                bool(infos["life_lost"][k]),
            )
            for k in numbers
        ]

    def replay(self, episodes: Sequence[Recorded]) -> list[Replayed]:
        """As `Copies.replay`."""
        with self._calling():
            return list(self._copies.call("replay", episodes))

    def camera(self) -> Camera:
        """As `Copies.camera`."""
        return _RemoteCamera(self)

    def ask(self, what: str) -> Any:
        """The result of a method of copy 0."""
        with self._calling():
            return self._copies.call(what)[0]

    def close(self) -> None:
        """As `Copies.close`."""
        raised = sys.exc_info()[1]
        if self._stepping and not self._broken:
            with suppress(UserError):  # of a step that nobody learns from
                self.finish()
        try:
            if not self._broken:
                with self._calling():
                    self._copies.call("shut")
        except UserError:
            if raised is None:
                raise
        finally:
            self._end()

    def _end(self) -> None:
        if not self._broken:
            for pipe in self._copies.parent_pipes:
                with suppress(OSError):
                    pipe.send(("close", None))
            deadline = time.monotonic() + _PATIENCE
            for process in self._copies.processes:
                process.join(max(deadline - time.monotonic(), 0))
        self._kill()
        self._copies._state = AsyncState.DEFAULT  # else it would wait for those that do not answer
        self._copies.close(terminate=True)

    @contextmanager
    def _calling(self) -> Iterator[None]:
        """Context of a call to all copies.

        Raises:
            UserError: of a copy, with the traceback that it had there; or if a process has ended.
        """
        level, gym.logger.min_level = gym.logger.min_level, gym.logger.ERROR + 1  # it would log tracebacks
        self._broken = True
        try:
            yield
        except UserError as error:  # Gymnasium puts the exception into a new one
            raise UserError(str(error)) from _with_traceback(error.args[0])
        except (EOFError, OSError) as error:
            raise UserError(self._end_of_a_process()) from error
        finally:
            gym.logger.min_level = level
        self._broken = False

    def _end_of_a_process(self) -> str:
        """Which process has ended, and how."""
        processes = self._copies.processes
        wait([process.sentinel for process in processes], timeout=1.0)
        for number, process in enumerate(processes):
            if (code := process.exitcode) is not None:
                how = f"exit code {code}"
                if code < 0:
                    how = f"{signal.Signals(-code).name}; if nobody did it: memory ran out"
                return f"the process of copy {number} of {self._name} has ended ({how})"
        return f"a process of {self._name} does not answer"


class _RemoteCamera(Camera):
    """The camera of copy 0, in another process."""

    def __init__(self, copies: CopiesInProcesses):
        self._copies = copies
        self.model, self.name, self.failure = copies.ask("film")

    def snap(self) -> State | np.ndarray | None:
        """As `Camera.snap`."""
        if self.failure:
            return None
        seen, self.failure = self._copies.ask("snap")
        return seen


def _work(number: int, make: Callable[[], Copy], *others: Any) -> None:
    """Gymnasium's worker, which heeds no signals: those of a terminal or a job are for the parent."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: None)  # programs that a simulator starts would inherit SIG_IGN
    with suppress(OSError):  # the parent is gone
        _async_worker(number, lambda: _Reporting(make()), *others)


class _Reporting(gym.Wrapper):
    """A copy whose errors keep their tracebacks on the way to another process."""

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict]:
        """As `Copy.reset`."""
        with _reporting():
            return self.env.reset(**kwargs)

    def step(self, action: Any) -> tuple[np.ndarray, Any, bool, bool, dict]:
        """As `Copy.step`."""
        with _reporting():
            return self.env.step(action)

    def get_wrapper_attr(self, name: str) -> Any:
        """A method of the copy."""
        return _reporting()(getattr(self.env, name))


@contextmanager
def _reporting() -> Iterator[None]:
    """Context in which all exceptions become `UserError`, which can be sent, with a traceback as a note.

    Raises:
        UserError: for any exception.
    """
    try:
        yield
    except (Exception, SystemExit) as error:
        known = isinstance(error, UserError)
        sent = UserError(str(error) if known else told(error))
        if not known or error.__cause__:
            sent.add_note(traceback.format_exc())
        raise sent from None


def _with_traceback(error: Any) -> BaseException | None:
    """The error if it has a traceback as a note."""
    return error if isinstance(error, BaseException) and hasattr(error, "__notes__") else None


def _kill(processes: Sequence[Any]) -> None:
    for process in processes:
        if process.is_alive():
            process.kill()


@contextmanager
def _without_main() -> Iterator[None]:
    """Context in which new processes do not run the caller's script again.

    They have no need to: cloudpickle sends what is defined in it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
