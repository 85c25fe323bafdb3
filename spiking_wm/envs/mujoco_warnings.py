"""Suppress MuJoCo warnings about models of Gymnasium and dm_control, which users cannot change."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# in both half-cheetah models; MuJoCo 3.17 still supports the attribute
_KNOWN = "compiler attribute 'settotalmass' is deprecated"


@contextmanager
def without_known_warnings() -> Iterator[None]:
    """Context that suppresses the warning about ``settotalmass``; others are printed as usual.

    Does nothing if MuJoCo is not loaded, because loading it takes 30 MB.
    """
    if "mujoco" not in sys.modules:
        yield
        return
    import mujoco

    before = mujoco.get_mju_user_warning()

    def warn(message: str) -> None:
        if not message.startswith(_KNOWN):
            _pass_on(message, before)

    mujoco.set_mju_user_warning(warn)
    try:
        yield
    finally:
        if mujoco.get_mju_user_warning() is warn:  # dm_control sets its own handler when it is imported
            mujoco.set_mju_user_warning(before)


def _pass_on(message: str, handler: Callable[[Any], Any] | None) -> None:
    if handler is None:  # MuJoCo's default
        import mujoco

        print(f"WARNING: {message}\n", file=sys.stderr)
        mujoco.mju_writeLog("WARNING", message)
    else:
        handler(message.encode() if hasattr(handler, "argtypes") else message)  # dm_control's uses ctypes
