"""Every tutorial is run as it is written: its files are written, its Python and its commands executed."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).resolve().parents[2]
TUTORIALS = sorted(p for p in (ROOT / "docs" / "tutorials").glob("*.md") if p.stem != "index")
LONG = "read-a-report", "from-python"  # other tests hold most of what these do
_BLOCK = re.compile(r"^```(.*?)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_CAPTION = re.compile(r"\A:caption: (\S+)\n\n", re.MULTILINE)
_ENDED_BY_TIMEOUT = 124


class Block(NamedTuple):
    """A fenced block: its language, its text, and the file that it is to be, if any."""

    language: str
    text: str
    file: str


def blocks(page: Path) -> Iterator[Block]:
    for head, text in _BLOCK.findall(page.read_text()):
        if caption := _CAPTION.match(text):
            yield Block(head.split()[-1], text[caption.end() :], caption[1])
        else:
            yield Block(head, text, "")


def run_command(line: str, folder: Path) -> None:
    # own time limit: a graph that does not end must not outlive the test
    limit = ["timeout", "--kill-after=10", "280"]
    done = subprocess.run([*limit, "bash", "-c", line], cwd=folder, capture_output=True, text=True)
    fine = (0, _ENDED_BY_TIMEOUT) if line.startswith("timeout ") else (0,)
    assert done.returncode in fine, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.long if page.stem in LONG else ()) for page in TUTORIALS],
    ids=lambda page: page.stem,
)
def test_a_tutorial_works_as_it_is_written(page, tmp_path, monkeypatch):
    (tmp_path / "swm").symlink_to(ROOT / "swm")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    scope: dict = {"__name__": page.stem}
    executed = 0
    for block in blocks(page):
        if block.file:
            Path(block.file).write_text(block.text)
        elif block.language == "python":
            exec(compile(block.text, str(page), "exec"), scope)
        elif block.language == "sh":
            for line in block.text.strip().splitlines():
                run_command(line, tmp_path)
        else:
            continue
        executed += 1
    assert executed >= 3
