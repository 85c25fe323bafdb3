"""Warnings of MuJoCo about models that come with Gymnasium and dm_control, which users cannot change."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# both half-cheetahs; MuJoCo 3.17 still honours the attribute, and masses written out would differ in rounding
_KNOWN = "compiler attribute 'settotalmass' is deprecated"


@contextmanager
def without_known_warnings() -> Iterator[None]:
    """Drop the warning about ``settotalmass`` while models are compiled; others are printed as before.

    Only where MuJoCo is loaded already: loading it takes 30 MB, which Atari has no use for.
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
        if mujoco.get_mju_user_warning() is warn:  # dm_control sets its own when it is imported
            mujoco.set_mju_user_warning(before)


def _pass_on(message: str, handler: Callable[[Any], Any] | None) -> None:
    if handler is None:  # MuJoCo's default
        import mujoco

        print(f"WARNING: {message}\n", file=sys.stderr)
        mujoco.mju_writeLog("WARNING", message)
    else:
        handler(message.encode() if hasattr(handler, "argtypes") else message)  # dm_control's is of ctypes
