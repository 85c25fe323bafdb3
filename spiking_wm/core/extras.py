"""Packages that not everybody needs: a missing one is told with the extra that brings it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from spiking_wm.core.errors import UserError

# extra by the top-level module that it brings; see setup.py
EXTRAS = {
    "ale_py": "atari",
    "cv2": "atari",
    "minatar": "minatar",
    "dm_control": "dm-control",
    "minari": "demos",
    "stable_baselines3": "demos",
    "h5py": "data",
    "sklearn": "data",
    "spikingjelly": "conversion",
    "nir": "chips",
    "nirtorch": "chips",
    "nicegui": "viewer",
    "PIL": "viewer",
    "tensorboard": "tensorboard",
    "mcap": "bags",
    "mcap_ros2": "bags",
    "rliable": "comparison",
}
# newest Python that an extra has wheels for, where newer ones work otherwise
NEWEST_PYTHON = {"dm-control": (3, 12)}


@contextmanager
def missing_extra() -> Iterator[None]:
    """Within it, a missing optional package is one line that names the extra to install.

    Raises:
        UserError: for a package of `EXTRAS` that cannot be found.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        extra, python = EXTRAS[module], sys.version_info[:2]
        newest = NEWEST_PYTHON.get(extra, python)
        if python > newest:
            raise UserError(
                f"{module} is not installed, and has no wheels for Python {python[0]}.{python[1]}: use Python"
                f" {newest[0]}.{newest[1]}"
            ) from None
        raise UserError(f"{module} is not installed: pip install 'spiking_wm_ros[{extra}]'") from None
