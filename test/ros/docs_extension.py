"""The modules of ``docs/_ext``, which generate the reference, and what they read."""

import importlib
import sys
from pathlib import Path

from spiking_wm_ros.graph import endpoints as endpoints

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))
reference = importlib.import_module("reference")
reference_ros = importlib.import_module("reference_ros")
