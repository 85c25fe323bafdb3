"""Checks of arguments that all graphs share, before any node is started."""

import re
import tempfile
from pathlib import Path

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import read_yaml
from spiking_wm_ros.viewer.port import check_number, listening

_NAMESPACE = re.compile(r"([A-Za-z_]\w*(/[A-Za-z_]\w*)*)?", re.ASCII)
_LONGEST_NAMESPACE = 150  # characters; names of topics come after it, and all is at most 255 long
_RATES = (0.001, 10_000)  # Hz


def check_namespace(namespace: str) -> str:
    """A ROS namespace without slashes around it; the global one is empty.

    Raises:
        UserError: if it is none.
    """
    bare = namespace.removeprefix("/").removesuffix("/")
    if not _NAMESPACE.fullmatch(bare) or len(bare) > _LONGEST_NAMESPACE:
        raise UserError(
            f"namespace:={_short(namespace)} is no ROS namespace: give letters, digits and _, with no digit"
            f" at the start of a part, and / between parts, at most {_LONGEST_NAMESPACE} characters"
        )
    return bare


def check_rate(rate_hz: float) -> None:
    """Check a rate of steps; 0 is lock-step.

    Raises:
        UserError: if it is too low or too high.
    """
    low, high = _RATES
    if rate_hz and not low <= rate_hz <= high:
        raise UserError(f"rate_hz:={rate_hz:g} is outside {low:g}..{high:g}; 0 is lock-step")


def check_port(port: int, serves: bool) -> None:
    """Check the viewer's port; if the graph ``serves`` the page, also that the port is free.

    Raises:
        UserError: as `listening`.
    """
    check_number(port)
    if serves:
        listening(port).close()


def check_parameters(file: str) -> None:
    """Check a ROS parameter file, as a node would read it.

    Raises:
        UserError: if it does not exist or cannot be read.
    """
    if not Path(file).is_file():
        raise UserError(f"params_file:={file} does not exist, or is no file")
    import rclpy

    read_yaml(Path(file))
    context = rclpy.Context()
    try:
        context.init(args=["--ros-args", "--params-file", file])
    except RuntimeError as error:  # rclpy's own class of it has no public name
        reason = str(error).partition("Error: ")[2].partition(", at ")[0].strip() or "it cannot be read"
        raise UserError(
            f"params_file:={file} is no ROS parameter file ({reason}): write NODE, ros__parameters and values"
        ) from None
    finally:
        context.try_shutdown()


def check_folder(run: Path) -> None:
    """Check that the folder of a run is there or can be made, and can be written.

    Raises:
        UserError: if it cannot.
    """
    there = next(folder for folder in (run.resolve(), *run.resolve().parents) if folder.exists())
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix=".swm-"):
            pass
    except OSError as error:
        raise UserError(f"run:={run} cannot be written ({error.strerror}): choose another run:=") from None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"
