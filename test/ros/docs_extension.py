"""The modules of ``docs/_ext``, which generate the reference."""

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))
endpoints = importlib.import_module("endpoints")
reference = importlib.import_module("reference")
