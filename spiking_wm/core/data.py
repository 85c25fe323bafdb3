"""Data files that come with the package: presets, robots, simulation models."""

from functools import cache
from pathlib import Path

from spiking_wm.core.errors import UserError


@cache
def data_folder(name: str) -> Path:
    """Path of a data folder (``config``, ``sim``) in the source tree or the installed package.

    Raises:
        UserError: if the folder is missing.
    """
    for parent in Path(__file__).resolve().parents:
        share = parent / "share" / "spiking_wm_ros"
        for folder in (parent, share):
            if (folder / "package.xml").is_file() and (folder / name).is_dir():
                return folder / name
    raise UserError(f"the package's folder '{name}' is missing: install it again")
