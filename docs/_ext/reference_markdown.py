"""Parts of Markdown that the generated reference is made of."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A Markdown table; ``|`` in cells is escaped."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in row) + " |" for row in lines) + "\n"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def code(value: Any) -> str:
    """A value as code."""
    text = "''" if value == "" else str(list(value) if isinstance(value, tuple) else value)
    return f"`{text.lower() if isinstance(value, bool) else text}`"


def page(title: str, *parts: str) -> str:
    """A page; empty parts are left out."""
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"


def prose(docstring: str | None) -> str:
    """A docstring as Markdown."""
    return "\n".join(line.strip() for line in (docstring or "").splitlines()).replace("``", "`").strip()


def first_line(path: Path) -> str:
    """First paragraph of a module's docstring."""
    said = ast.get_docstring(ast.parse(path.read_text())) or ""
    return prose(said.partition("\n\n")[0])
