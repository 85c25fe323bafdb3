"""Spiking neurons of several kinds and a GRU as memories of long sequences (after Sun et al. 2025).

Run as ``./swm experiment long_sequences``, or in part, as with ``tasks:=recall kinds:=lif,mcn delays:=200``.

* ``recall``: one of four symbols is shown for 5 steps; then comes noise; and in the last 5 steps, ``delay``
  steps after the symbol, a cue. Read out are rates in those last steps.
* ``digits``: the 8 x 8 pictures of scikit-learn, a pixel at a time. Read out are rates in the last 16 steps.

Writes ``long_sequences.csv`` and ``.png`` to ``runs/long_sequences``, or elsewhere with ``results:=``.
"""

import csv
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from _arguments import arguments
from rich.progress import track
from torch import Tensor

from spiking_wm_ros.agents.files import write_atomically
from spiking_wm_ros.errors import UserError
from spiking_wm_ros.process import prepare_to_compute
from spiking_wm_ros.snn.classifier import GRU, SequenceClassifier, accuracy
from spiking_wm_ros.snn.compartments import KINDS

ROOT = Path(__file__).resolve().parents[1]
SYMBOLS, SHOWN, CUED, NOISE = 4, 5, 5, 0.1
NEURONS, BATCH, RATE = 64, 64, 1e-2
TESTED = 1024  # sequences of recall that are not learned from

Draw = Callable[[int], tuple[Tensor, Tensor]]


def recall(delay: int, generator: torch.Generator) -> Draw:
    """Sequences ``[L, B, symbols + 1]`` and labels ``[B]``, as many as are asked for."""

    def draw(count: int) -> tuple[Tensor, Tensor]:
        label = torch.randint(SYMBOLS, (count,), generator=generator)
        sequence = NOISE * torch.randn(SHOWN + delay + CUED, count, SYMBOLS + 1, generator=generator)
        sequence[:SHOWN, torch.arange(count), label] += 1
        sequence[-CUED:, :, SYMBOLS] += 1
        return sequence, label

    return draw


def digits(seed: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Sequences ``[64, B, 1]`` and labels to learn from, and a fifth of all to test with."""
    from sklearn.datasets import load_digits

    pictures, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    sequence = torch.from_numpy(pictures[order] / 16).float().T[..., None].contiguous()
    label, split = torch.from_numpy(labels[order]), len(labels) // 5
    return (sequence[:, split:], label[split:]), (sequence[:, :split], label[:split])


def learn(classifier: SequenceClassifier, draw: Draw, last: int, updates: int, text: str) -> None:
    """Adam, with gradients of norm 1 at most."""
    adam = torch.optim.Adam(classifier.parameters(), RATE, fused=True)
    for _ in track(range(updates), text):
        sequence, label = draw(BATCH)
        loss = torch.nn.functional.cross_entropy(classifier(sequence, last), label)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(classifier.parameters(), 1.0)
        adam.step()


def measure(task: str, kind: str, delay: int, seed: int, updates: int) -> dict:
    """Accuracy on sequences that were not learned from, one row of the table."""
    torch.manual_seed(seed)
    generator, began = torch.Generator().manual_seed(seed), time.perf_counter()
    if task == "recall":
        draw, last, widths = recall(delay, generator), CUED, (SYMBOLS + 1, NEURONS, SYMBOLS)
        tested = recall(delay, torch.Generator().manual_seed(1_000_003 + seed))(TESTED)
    else:
        (sequence, label), tested = digits(seed)
        last, widths = 16, (1, 2 * NEURONS, 10)

        def draw(count: int) -> tuple[Tensor, Tensor]:
            rows = torch.randint(len(label), (count,), generator=generator)
            return sequence[:, rows], label[rows]

    classifier = SequenceClassifier(*widths, kind, memory=2 * len(tested[0]))
    learn(classifier, draw, last, updates, f"{task} {delay or ''} {kind}, seed {seed}")
    row = {"task": task, "delay": delay, "kind": kind, "seed": seed, "updates": updates}
    right = accuracy(classifier, *tested, last)
    return row | {"accuracy": round(right, 4), "seconds": round(time.perf_counter() - began, 1)}


def draw_table(rows: list[dict], target: Path) -> None:
    """Accuracy by delay, and of digits; mean and range over seeds."""
    figure, (by_delay, of_digits) = plt.subplots(1, 2, figsize=(11, 4.5), width_ratios=(2, 1))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        for task, axes in (("recall", by_delay), ("digits", of_digits)):
            found = [row for row in rows if row["kind"] == kind and row["task"] == task]
            delays = sorted({row["delay"] for row in found})
            seeds = [[row["accuracy"] for row in found if row["delay"] == delay] for delay in delays]
            mean = np.array([np.mean(values) for values in seeds])
            spread = [mean - [min(v) for v in seeds], [max(v) for v in seeds] - mean] if seeds else None
            places = delays if task == "recall" else [kind] * len(delays)
            axes.errorbar(places, mean, spread, fmt="o-", capsize=3, label=kind)
    by_delay.axhline(1 / SYMBOLS, color="grey", linestyle=":", label="chance")
    by_delay.set(xlabel="steps between symbol and cue", ylabel="accuracy", title="delayed recall")
    if any(row["delay"] for row in rows):
        by_delay.set_xscale("log")
    of_digits.set(title="sequential digits")
    by_delay.legend()
    figure.tight_layout()
    figure.savefig(target, dpi=120)


def main() -> None:
    """Learn all that is asked for, write table and picture."""
    folder, kinds = ROOT / "runs/long_sequences", [*KINDS, GRU]
    defaults = {"tasks": "recall,digits", "kinds": ",".join(kinds), "delays": "50,200,1000", "seeds": 3}
    given = arguments(defaults | {"updates": 600, "results": folder})
    tasks, chosen = given["tasks"].split(","), given["kinds"].split(",")
    for names, known in ((tasks, ("recall", "digits")), (chosen, kinds)):
        if unknown := set(names) - set(known):
            raise UserError(f"unknown '{min(unknown)}'; known: {', '.join(known)}")
    try:
        delays = [int(delay) for delay in str(given["delays"]).split(",")]
    except ValueError:
        raise UserError(f"delays:={given['delays']} is no list of whole numbers, as 50,200") from None
    prepare_to_compute()
    given["results"].mkdir(parents=True, exist_ok=True)
    rows = []
    for task in tasks:
        for delay in delays if task == "recall" else [0]:
            for kind in chosen:
                for seed in range(given["seeds"]):
                    rows.append(measure(task, kind, delay, seed, given["updates"]))
                    write(rows, given["results"])
                right = [row["accuracy"] for row in rows[-given["seeds"] :]]
                print(f"{task} {delay or ''} {kind}: {np.mean(right):.3f} ({', '.join(map(str, right))})")


def write(rows: list[dict], results: Path) -> None:
    """Table and picture of what there is so far."""
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
