"""Configuration of Sphinx; `./swm docs` builds ``docs/_build/html``."""

import logging
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

logging.getLogger("OpenGL").setLevel(logging.WARNING)  # it tells of an accelerator that is not needed

project = "spiking_wm_ros"
author = "spiking_wm_ros developers"
project_copyright = author
version = release = "0.2.0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
    "reference",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "reference/generated/presets-*.md"]  # these are included by other pages

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 4
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "spiking_wm_ros"
html_show_copyright = False
