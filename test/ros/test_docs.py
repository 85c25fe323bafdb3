"""The documentation builds, its links lead somewhere, and the reference has all that the code declares."""

import ast
import json
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

from spiking_wm.chips.backends.registry import backend_options, backends
from spiking_wm.core.extras import EXTRAS
from spiking_wm.core.options import known
from spiking_wm.core.registry import options_class
from spiking_wm.core.schedule import Schedule
from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.energy.phases import DreamBounds, PhaseOptions
from spiking_wm_ros.graph.specification import GRAPHS
from test.ros.docs_extension import ROOT, endpoints, reference, reference_ros

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if not {"_build", "generated"} & set(page.parts)
    ),
]


# --- the build ---


class Links(HTMLParser):
    """Targets of links and pictures, and ids, of one page."""

    def __init__(self, page: Path):
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text())

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("href", "src") and value and tag != "link":
                self.targets.append(value)
            if name == "id" and value:
                self.ids.add(value)


@pytest.mark.slow
def test_it_builds_without_a_warning_and_every_link_inside_leads_somewhere(tmp_path):
    command = ["sphinx-build", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees")]
    command += ["docs", str(tmp_path / "html")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    pages = {page: Links(page) for page in (tmp_path / "html").rglob("*.html")}
    dead = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlparse(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            in_page = not parts.fragment or file not in pages or unquote(parts.fragment) in pages[file].ids
            if not file.exists() or not in_page:
                dead.append(f"{page.name}: {target}")
    assert len(pages) > 40
    assert not dead


# --- the reference and the nodes ---


@cache
def running_nodes() -> dict[str, dict[str, list]]:
    """What nodes that run declare."""
    command = [sys.executable, "-m", "test.ros.node_declarations"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    told = [line for line in done.stdout.splitlines() if line.startswith("DECLARED ")]
    assert told, done.stderr[-3000:]
    return json.loads(told[0].removeprefix("DECLARED "))


def full_name(name: str, node: str) -> str:
    """A name in the reference as ROS has it in the global namespace."""
    return "/" + name.replace("~", node).lstrip("/")


@pytest.mark.parametrize("node", endpoints.node_classes())
def test_the_reference_has_all_that_a_running_node_declares(node):
    declared, written = running_nodes()[node], endpoints.endpoints(node)
    symbolic = {e.name for e in written} & set(endpoints.SYMBOLS.values())
    assert declared["parameters"] and (declared["publishes"] or declared["serves"])
    for kind in endpoints.KINDS:
        ours = {(full_name(e.name, node), e.type, e.qos) for e in written if e.kind == kind}
        for name, of_type, *profile in declared.get(kind, []):
            if not any(name == of[0] for of in ours):
                assert symbolic, f"the reference lacks that {node} {kind} {name}"
                continue
            assert (name, of_type, *(profile or [""])) in ours
    options = [o for o in endpoints.option_classes(node) if o != "algorithm"]
    if "algorithm" in endpoints.option_classes(node):
        options.append(options_class("popsan"))  # the default's
    assert {name for of_class in options for name in known(of_class)} == set(declared["parameters"])


def test_topics_of_robots_are_the_only_ones_that_have_symbols():
    names = {e.name for node in endpoints.node_classes() for e in endpoints.endpoints(node)}
    assert {name for name in names if name.isupper()} == {"COMMAND", "SENSOR"}
    assert "observation" in names and "~/save_checkpoint" in names


def test_an_expression_that_cannot_be_told_is_refused():
    part = ast.parse("self.unheard_of", mode="eval").body
    with pytest.raises(ValueError, match="cannot tell what 'self.unheard_of' is"):
        endpoints._value(part, {}, "node.py:1")


def test_every_option_preset_and_argument_is_in_the_reference():
    options, presets = reference.options_page(), reference.presets_page()
    for agent in reference.agents():
        assert all(f"| `{name}` |" in options for name in known(options_class(agent)))
    for path in (ROOT / "config" / "algorithms").glob("*.yaml"):
        assert f"## `{path.stem}`" in presets
    for graph in GRAPHS.values():
        assert all(f"| `{a.name}` |" in reference.launch_page() for a in graph.arguments)


# --- the pages ---


def commands() -> list[tuple[Path, str]]:
    """Every line of a shell block of the pages that runs something of ours."""
    found = []
    for page in PAGES:
        for block in re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), re.MULTILINE | re.DOTALL):
            lines = [line.partition(" #")[0].strip() for line in block.splitlines()]
            found += [(page, line) for line in lines if "./swm " in line or "ros2 launch" in line]
    return found


PROGRAMS = {"experiment": "experiments", "bench": "bench"}  # folder of the programs of a verb


@cache
def option_names(former: bool) -> set[str]:
    """All options by their dotted and flat names, and by former ones if wanted."""
    classes = [Schedule, BatteryOptions, PhaseOptions, DreamBounds]
    classes += [options_class(agent) for agent in reference.agents()]
    classes += [backend_options(name) for name in backends()]
    names = {name for of_class in classes for name in known(of_class)}
    names |= {old for of_class in classes for o in known(of_class).values() for old in o.was if former}
    return names | {name.replace(".", "_") for name in names}


def arguments_of(line: str, former: bool) -> set[str]:
    """The names that a command takes."""
    verb, *rest = line[line.index("./swm ") :].split()[1:] if "./swm " in line else line.split()[2:]
    if "ros2 launch" in line or verb in ("launch", "sros2"):
        return {a.name for a in GRAPHS[rest[0].partition(".")[0]].arguments} | option_names(former)
    if verb in GRAPHS:
        own = {a.name for a in GRAPHS[verb].arguments} | ({"bag"} if verb == "train" else set())
        return own | option_names(former)
    source = {verb: f"{folder}/{rest[0]}.py" for verb, folder in PROGRAMS.items()} if rest else {}
    text = (ROOT / source.get(verb, f"spiking_wm_ros/cli/{verb}.py")).read_text()
    return set(re.findall(r'"(\w+)"', text))


@pytest.mark.parametrize(
    ("page", "line"), [pytest.param(p, line, id=f"{p.name}: {line[:60]}") for p, line in commands()]
)
def test_a_command_of_the_pages_uses_arguments_that_exist(page, line):
    names = re.findall(r"([a-z][\w.]*):=", line)
    if names:
        assert set(names) <= arguments_of(line, former="results" in page.parts)


def test_services_and_actions_that_the_pages_name_exist():
    nodes = "|".join(endpoints.node_classes())
    for page in PAGES:
        named = set(re.findall(rf"`/?((?:{nodes})/\w+)`", page.read_text()))
        assert named <= set(reference_ros.services()), page


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_links_from_the_top_lead_to_files(name):
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / name).read_text())
    assert targets and [target for target in targets if not (ROOT / target).exists()] == []


def test_the_list_of_extras_is_whole():
    listed = re.findall(r"^\| `([\w-]+)` \|", (ROOT / "docs/how-to/install.md").read_text(), re.MULTILINE)
    assert set(listed) == {*EXTRAS.values(), "cli", "all"}


def test_the_readme_is_short():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 250
    assert [line for line in lines if len(line) > 100 and not line.startswith("|")] == []
