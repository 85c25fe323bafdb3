"""Writes ``docs/reference/generated/`` from the code each time the documentation is built.

Every function ending in ``_page`` gives one page as Markdown; `PAGES` names their files.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reference_library import api_page, environments_page, modules_page, robots_page
from reference_markdown import table
from reference_options import agents, algorithm_rows, options_page, presets_page
from reference_ros import commands_page, launch_page, nodes_page

GENERATED = "reference/generated"
PAGES: dict[str, Callable[[], str]] = {
    "python-api": api_page,
    "options": options_page,
    "presets": presets_page,
    "commands": commands_page,
    "launch-arguments": launch_page,
    "nodes": nodes_page,
    "robots": robots_page,
    "environments": environments_page,
    "modules": modules_page,
}


def write(folder: Path) -> None:
    """Write all pages, and a table of presets for each agent; a file that stays the same is left alone."""
    texts = {name: make() for name, make in PAGES.items()}
    head = ["`algorithm:=`", "extends", "what it is"]
    texts |= {f"presets-{agent}": table(head, algorithm_rows(agent)) for agent in agents()}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / GENERATED))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
