"""Memory of long sequences in several kinds of spiking neurons and a GRU (after Sun et al. 2025).

Run as ``./swm experiment long_sequences``, or in part, as with ``tasks:=recall kinds:=lif,mcn delays:=200``.

* ``recall``: one of four symbols is shown for 5 steps, followed by noise. A cue is shown in the last 5 steps,
  ``delay`` steps after the symbol; the read-out uses the rates in these steps.
* ``digits``: the 8 x 8 pictures of scikit-learn, one pixel per step; training pictures have added noise. The
  read-out uses the rates in the last 16 steps.
* ``shd``, ``timit``, ``librispeech``: recordings in ``folder:=`` (see `spiking_wm.datasets`). SHD: spoken
  digits as spikes, read out over the whole sequence. The others: speech features with a class per frame.
  These tasks are not part of the default.

All kinds have the same number of neurons (for digits, of recurrent weights), and four ticks per step. Results
are stored in ``runs/long_sequences`` and not computed again. Writes ``long_sequences.csv`` and ``.png`` of
the chosen tasks to that folder, or to ``results:=``.
"""

import csv
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from _kept import found_once
from rich.progress import track
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from spiking_wm.core.errors import UserError
from spiking_wm.core.files import write_atomically
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.datasets import shd, speech
from spiking_wm.datasets.labelled import Labelled
from spiking_wm.neurons.classifier import GRU, SequenceClassifier, accuracy
from spiking_wm.neurons.compartments import KINDS

ROOT = Path(__file__).resolve().parents[1]
SYMBOLS, SHOWN, CUED, NOISE = 4, 5, 5, 0.1
NEURONS, BATCH, RATE = 64, 64, 1e-2
AVERAGED = 100  # number of last updates over which weights are averaged, at most a tenth of all
PIXEL_NOISE = 0.15  # noise on training digits, as augmentation of a small data set
RECORDED = ("shd", "timit", "librispeech")  # tasks that read folder:=
TASKS = ("recall", "digits", *RECORDED)
TESTED = 1024  # number of test sequences of recall

Draw = Callable[[int], tuple[Tensor, Tensor]]


def recall(delay: int, generator: torch.Generator) -> Draw:
    """Function that draws ``count`` sequences ``[L, B, symbols + 1]`` and labels ``[B]``."""

    def draw(count: int) -> tuple[Tensor, Tensor]:
        label = torch.randint(SYMBOLS, (count,), generator=generator)
        sequence = NOISE * torch.randn(SHOWN + delay + CUED, count, SYMBOLS + 1, generator=generator)
        sequence[:SHOWN, torch.arange(count), label] += 1
        sequence[-CUED:, :, SYMBOLS] += 1
        return sequence, label

    return draw


def digits(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training sequences ``[64, B, 1]`` and labels, and test sequences (a fifth of all) and labels."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    sequence = torch.from_numpy(pictures[order] / 16).float().T[..., None].contiguous()
    label, split = torch.from_numpy(labels[order]), len(labels) // 5
    return (sequence[:, split:], label[split:]), (sequence[:, :split], label[:split])


class Task(NamedTuple):
    """A classification task and its training."""

    draw: Draw
    tested: tuple[Tensor, Tensor]  # test sequences and labels
    last: int  # see `SequenceClassifier.forward`
    widths: tuple[int, int, int]  # input, neurons, classes; neurons are those of a GRU if `equal_weights`
    options: dict[str, float]  # further options of `SequenceClassifier`
    settles: bool = True  # finite training set: see `learn`
    equal_weights: bool = False  # equal numbers of recurrent weights, not of neurons

    def classifier(self, kind: str) -> SequenceClassifier:
        """A classifier with a kind of neurons."""
        inputs, neurons, classes = self.widths
        if self.equal_weights and kind != GRU:
            ports = max(KINDS[kind](1).ports - 1, 1)  # with recurrent input (a GRU: 3 gates)
            neurons = int(neurons * (3 / ports) ** 0.5)
        return SequenceClassifier(inputs, neurons, classes, kind, **self.options)


def prepare(task: str, delay: int, seed: int, generator: torch.Generator, folder: str) -> Task:
    """Make a task by name; ``delay`` is for recall, ``folder`` for recordings."""
    if task == "recall":
        tested = recall(delay, torch.Generator().manual_seed(1_000_003 + seed))(TESTED)
        options = {"gate_time": 2 * len(tested[0])}
        return Task(recall(delay, generator), tested, CUED, (SYMBOLS + 1, NEURONS, SYMBOLS), options, False)
    if task == "digits":
        (sequence, label), tested = digits(seed)
        learned, told, last, noise = Labelled(sequence, label), Labelled(*tested), 16, PIXEL_NOISE
        ticks, equal_weights = 4, True
    else:
        load = shd.load if task == "shd" else speech.load
        learned, told = (load(Path(folder), part) for part in ("train", "test"))
        last, noise = 0 if learned.of_steps else len(learned.sequence), 0.0
        ticks, equal_weights = 1, False

    def draw(count: int) -> tuple[Tensor, Tensor]:
        chosen = torch.randint(learned.sequence.shape[1], (count,), generator=generator)
        sequence, label = learned.rows(chosen)
        return sequence + noise * torch.randn(sequence.shape, generator=generator), label

    tested = told.rows(torch.arange(told.sequence.shape[1]))
    # inputs must be forgotten gradually: with gates that keep them completely, these tasks are not learned
    options = {"synapse_time": 64.0, "ticks": ticks}
    widths = (learned.sequence.shape[2], 4 * NEURONS, learned.classes)
    return Task(draw, tested, last, widths, options, equal_weights=equal_weights)


def learn(classifier: SequenceClassifier, task: Task, updates: int, text: str) -> nn.Module:
    """Train with Adam and gradient norms clipped to 1; returns the trained network.

    If the task `settles`, the learning rate decreases along a cosine, and weights are averaged over the last
    updates.
    """
    kept = 1 - 1 / max(1, min(AVERAGED, updates // 10))
    averaged = AveragedModel(classifier, multi_avg_fn=get_ema_multi_avg_fn(kept))
    adam = torch.optim.Adam(classifier.parameters(), RATE, fused=True)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(adam, updates, 0.0 if task.settles else RATE)
    for _ in track(range(updates), text):
        sequence, label = task.draw(BATCH)
        logits = classifier(sequence, task.last)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), label.flatten())
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        adam.step()
        rate.step()
        averaged.update_parameters(classifier)
    return averaged.module if task.settles else classifier


def measured(task: str, kind: str, delay: int, seed: int, updates: int, folder: str, kept: Path) -> dict:
    """A row of the table, loaded if it is stored already.

    Raises:
        UserError: if the stored row was measured with other options.
    """
    file = kept / f"{task}{delay or ''}_{kind}_s{seed}_u{updates}.json"
    options = {"neurons": NEURONS, "batch": BATCH, "rate": RATE, "averaged": AVERAGED}
    options["folder"] = folder if task in RECORDED else ""
    found = found_once(file, options, lambda: {"row": measure(task, kind, delay, seed, updates, folder)})
    return found["row"]


def measure(task: str, kind: str, delay: int, seed: int, updates: int, folder: str) -> dict:
    """Train, and measure the accuracy on test sequences: one row of the table."""
    torch.manual_seed(seed)
    began = time.perf_counter()
    prepared = prepare(task, delay, seed, torch.Generator().manual_seed(seed), folder)
    classifier = prepared.classifier(kind)
    learned = learn(classifier, prepared, updates, f"{task} {delay or ''} {kind}, seed {seed}")
    row = {"task": task, "delay": delay, "kind": kind, "seed": seed, "updates": updates}
    right = accuracy(learned, *prepared.tested, prepared.last)
    return row | {"accuracy": round(right, 4), "seconds": round(time.perf_counter() - began, 1)}


def draw_table(rows: list[dict], target: Path) -> None:
    """Draw accuracy by delay and of other tasks: mean and range over seeds."""
    delays = sorted({row["delay"] for row in rows if row["task"] == "recall"})
    others = [task for task in dict.fromkeys(row["task"] for row in rows) if task != "recall"]
    widths = [7.0] * bool(delays) + [4.0] * bool(others)
    figure, ((*panels,),) = plt.subplots(
        1, len(widths), figsize=(sum(widths), 4.5), width_ratios=widths, squeeze=False
    )
    axes_of = dict.fromkeys(others, panels[-1]) | {"recall": panels[0]}
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for task, axes in axes_of.items():
            found = [row for row in rows if row["kind"] == kind and row["task"] == task]
            places = sorted({row["delay"] for row in found})
            seeds = [[row["accuracy"] for row in found if row["delay"] == delay] for delay in places]
            mean = np.array([np.mean(values) for values in seeds])
            spread = [mean - [min(v) for v in seeds], [max(v) for v in seeds] - mean] if seeds else None
            named = places if task == "recall" else [f"{task}\n{kind}"] * len(places)
            axes.errorbar(named, mean, spread, fmt="o-", capsize=3, label=kind if task == "recall" else None)
    if others:
        panels[-1].set(title=", ".join(others), ylabel="accuracy")
        panels[-1].tick_params("x", labelsize=6)
    if delays:
        panels[0].axhline(1 / SYMBOLS, color="grey", linestyle=":", label="chance")
        panels[0].set(xlabel="steps between symbol and cue", ylabel="accuracy", title="delayed recall")
        panels[0].set_xscale("log")
        panels[0].minorticks_off()
        panels[0].set_xticks(delays, delays)
        panels[0].legend(loc="center left", bbox_to_anchor=(1, 0.5))  # outside the axes, to hide no curve
    figure.tight_layout()
    figure.savefig(target, dpi=120)
    plt.close(figure)


def main() -> None:
    """Run the chosen tasks, write table and picture."""
    kept, kinds = ROOT / "runs/long_sequences", [*KINDS, GRU]
    defaults = {"tasks": "recall,digits", "kinds": ",".join(kinds), "delays": "50,200,1000", "seeds": 3}
    given = arguments(defaults | {"first_seed": 0, "updates": 600, "folder": "", "results": kept})
    tasks, chosen = given["tasks"].split(","), given["kinds"].split(",")
    for names, known in ((tasks, TASKS), (chosen, kinds)):
        if unknown := set(names) - set(known):
            raise UserError(f"unknown '{min(unknown)}'; known: {', '.join(known)}")
    try:
        delays = [int(delay) for delay in str(given["delays"]).split(",")]
    except ValueError:
        raise UserError(f"delays:={given['delays']} is no list of whole numbers, as 50,200") from None
    prepare_to_compute()
    for place in (kept, given["results"]):
        place.mkdir(parents=True, exist_ok=True)
    rows = []
    for task in tasks:
        for delay in delays if task == "recall" else [0]:
            for kind in chosen:
                for seed in range(given["first_seed"], given["first_seed"] + given["seeds"]):
                    rows.append(measured(task, kind, delay, seed, given["updates"], given["folder"], kept))
                    write(rows, given["results"])
                right = [row["accuracy"] for row in rows[-given["seeds"] :]]
                print(f"{task} {delay or ''} {kind}: {np.mean(right):.3f} ({', '.join(map(str, right))})")


def write(rows: list[dict], results: Path) -> None:
    """Write table and picture of the results so far."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*rows[0]], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(results / "long_sequences.csv", text.getvalue().encode())
    draw_table(rows, results / "long_sequences.png")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
