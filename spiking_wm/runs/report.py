"""Report of a run: one self-contained HTML file."""

import base64
import html
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import gymnasium as gym
import numpy as np
from matplotlib.figure import Figure

from spiking_wm.chips.backends.recorder import InputRecorder
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint, write_atomically
from spiking_wm.core.game_loop import close
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs import figures
from spiking_wm.runs.folder import Run
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.training.evaluation import episode_return

# evaluations around a dream: episodes per policy, first seed, largest number of steps
_GAMES, _FIRST_GAME, _LONGEST = 3, 6_000_011, 1000
_PATIENCE = 30.0  # seconds after which no further dream phase is evaluated
_REASONS = 200  # number of phase changes shown
_DECISIONS = 300  # number of decisions for the spike counts
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222 }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem; border-bottom: 1px solid #ddd }
table { border-collapse: collapse } td, th { padding: .15rem .8rem .15rem 0; text-align: left }
code { background: #f4f4f4; padding: .1rem .3rem } img { max-width: 100% }
.note { color: #777 } details { margin-top: 1rem }
"""


AroundDream = tuple[int, Path, Path]  # number of a dream phase, bundles from before and after it
Item = TypeVar("Item")


class Section(NamedTuple):
    """A section of the report."""

    title: str
    body: str  # HTML


def report(
    run: Run, progress: Callable[[Sequence[AroundDream]], Iterable[AroundDream]] = lambda pairs: pairs
) -> Path:
    """Write ``report.html`` into a run's folder. Evaluates policies from before and after dream phases.

    Args:
        run: the run's folder.
        progress: receives the dream phases to evaluate and yields them in turn; may show a progress bar.

    Returns:
        Path of the file.

    Raises:
        UserError: if the folder is not a run.
    """
    config = run.config
    sections = [
        *_summary(run),
        *_learning(run),
        *_phases(run),
        *_model(run),
        *_dreams(run, progress),
        *_spikes(run),
        *_options(run),
    ]
    title = html.escape(f"{config.algorithm} in {config.env}, seed {config.options['seed']}")
    body = "".join(f"<h2>{section.title}</h2>\n{section.body}\n" for section in sections)
    text = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
    file = run.path / "report.html"
    write_atomically(file, f"{text}<h1>{title}</h1>\n{body}</html>\n".encode())
    return file


# --- sections ---


def _summary(run: Run) -> Iterator[Section]:
    try:
        versions = json.loads((run.path / "versions.json").read_text())
    except (FileNotFoundError, ValueError):  # deleted or damaged
        versions = {}
    command = versions.pop("command", "not kept")
    evaluations, episodes, dreams = (run.table(name) for name in ("evaluations", "episodes", "dreams"))
    rows = [("command", f"<code>{html.escape(command)}</code>")]
    if episodes:
        rows.append(("training", f"{episodes[-1]['step']} steps in {len(episodes)} complete episodes"))
    if evaluations:
        last, best = evaluations[-1], max(evaluations, key=lambda row: float(row["mean"]))
        rows.append(
            ("last evaluation", f"{_evaluation(last)}, {float(last['seconds']):.0f} s after the start")
        )
        rows.append(("best evaluation", _evaluation(best)))
    if dreams:
        updates = sum(int(row["updates"]) for row in dreams)
        rows.append(("dreams", f"{len(dreams)} phases with {updates} updates"))
    rows.append(("versions", html.escape(", ".join(f"{name} {value}" for name, value in versions.items()))))
    yield Section("Run", _table([], rows))


def _evaluation(row: dict[str, str]) -> str:
    of = f"{len(row['returns'].split())} greedy episodes"
    return f"{float(row['mean']):.4g} ± {float(row['std']):.2g} ({of}) at step {row['step']}"


def _learning(run: Run) -> Iterator[Section]:
    if run.table("episodes") or run.table("evaluations"):
        yield Section("Learning curve", _picture(figures.learning(run)))


def _phases(run: Run) -> Iterator[Section]:
    dreams = [row for row in run.table("dreams") if row.get("began")]
    body = _reasons(run)
    if dreams:
        asleep = sum(float(row["seconds"]) for row in dreams)
        told = f"<p>{len(dreams)} dream phases, {asleep:.0f} s in total.</p>"
        body = _picture(figures.phases(run, dreams)) + told + body
    if body:
        yield Section("Phases over time", body)


def _reasons(run: Run) -> str:
    """The last phase changes and their reasons."""
    told = run.table("phases")
    names = ("seconds", "step", "phase", "reason")
    rows = [tuple(html.escape(row[name]) for name in names) for row in told[-_REASONS:]]
    summary = f"<summary>phase changes and their reasons (last {len(rows)} of {len(told)})</summary>"
    return f"<details>{summary}{_table(list(names), rows)}</details>" if told else ""


def _model(run: Run) -> Iterator[Section]:
    dreams = [row for row in run.table("dreams") if row["model_error_1_step"]]
    if dreams:
        body = _picture(figures.model_error(dreams))
        note = "On held-out data, divided by the error of predicting no change."
        yield Section("Error of the world model", f"{body}<p class=note>{note}</p>")
    segment = run.dream_against_reality()
    if segment:
        yield Section("Dream against reality", _picture(figures.segment(segment)))


def _dreams(
    run: Run, progress: Callable[[Sequence[AroundDream]], Iterable[AroundDream]]
) -> Iterator[Section]:
    pairs = run.around_dreams()
    if not pairs:
        return
    try:
        env = _env_of(run)
    except UserError as error:  # of an environment that its name is not enough for
        note = f"<p class=note>Not evaluated: {html.escape(str(error))}</p>"
        yield Section("What dreams changed", note)
        return
    spaces = Spaces.of(env)

    def returns(bundle: Path) -> float:
        policy = make_policy(load_bundle(bundle), spaces)
        return float(np.mean([episode_return(policy, env, _FIRST_GAME + k, _LONGEST) for k in range(_GAMES)]))

    judged, began = [], time.monotonic()
    for number, before, after in progress(_far_apart_first(pairs)):
        judged.append((number, returns(before), returns(after)))
        if time.monotonic() - began > _PATIENCE:
            break
    close(env)
    judged.sort()
    better = sum(after > before for _, before, after in judged)
    mean = np.mean([after - before for _, before, after in judged])
    rows = [
        (str(n), f"{before:.4g}", f"{after:.4g}", f"{after - before:+.3g}") for n, before, after in judged
    ]
    told = f"<p>Better after {better} of {len(judged)} dreams; mean change {mean:+.3g}.</p>"
    note = f"Greedy returns: {_GAMES} episodes each, same seeds, at most {_LONGEST} steps."
    table = _table(["dream", "before", "after", "change"], rows)
    body = f"{told}<p class=note>{note}</p><details><summary>all</summary>{table}</details>"
    yield Section("What dreams changed", _picture(figures.around_dreams(judged)) + body)


def _env_of(run: Run) -> gym.Env:
    if run.config.options.get("env_alone"):
        raise UserError("the environment is made by training only (env_alone:=true)")
    return run.config.make_env()


def _far_apart_first(pairs: Sequence[Item]) -> list[Item]:
    """Reorder so that the first few items are spread over the whole sequence."""
    order = [0]
    while len(order) < len(pairs):
        order.append(max(range(len(pairs)), key=lambda k: min(abs(k - chosen) for chosen in order)))
    return [pairs[k] for k in order]


def _spikes(run: Run) -> Iterator[Section]:
    from spiking_wm.chips.operations import PER_OPERATION, PER_UPDATE, count

    try:
        checkpoint = newest_checkpoint(run.path)
        env = _env_of(run)
        policy = make_policy(load_bundle(checkpoint / "policy.safetensors"), Spaces.of(env))
        network = policy.chip_network()
    except UserError as error:
        yield Section("Spikes", f"<p class=note>Not counted: {html.escape(str(error))}</p>")
        return
    recorder = policy.network_runner = InputRecorder()
    seed = _FIRST_GAME
    while len(recorder.inputs) < _DECISIONS:
        episode_return(policy, env, seed, _DECISIONS)
        seed += 1
    close(env)
    costs = count(network, np.stack(recorder.inputs[:_DECISIONS], 1))
    rows = [
        (
            str(k),
            str(cost.neurons),
            f"{cost.spikes / cost.neurons / network.ticks:.3f}",
            f"{cost.synaptic_operations:.0f}",
            f"{cost.energy:.0f}",
        )
        for k, cost in enumerate(costs)
    ]
    total = sum(cost.energy for cost in costs)
    table = _table(["layer", "neurons", "rate, spikes per tick", "synaptic operations", "energy, nJ"], rows)
    note = (
        f"A decision of {network.ticks} ticks, mean of {_DECISIONS} in greedy episodes. Energy is an"
        f" estimate: {PER_OPERATION} pJ a synaptic operation, {PER_UPDATE:g} pJ a neuron update (Loihi,"
        f" Davies et al. 2018); {total:.0f} nJ in all."
    )
    yield Section("Spikes and energy of the policy", f"{table}<p class=note>{note}</p>")


def _options(run: Run) -> Iterator[Section]:
    rows = [(html.escape(name), html.escape(str(value))) for name, value in run.config.options.items()]
    yield Section("Options", f"<details><summary>{len(rows)}</summary>{_table([], rows)}</details>")


# --- HTML ---


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    lines = ([line(head, "th")] if head else []) + [line(row, "td") for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _picture(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return f'<img alt="" src="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}">'
