"""Long sequences: the task, the classifier, and that dendrites hold what leaky neurons do not."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spiking_wm.core.errors import UserError
from spiking_wm.neurons.classifier import SequenceClassifier, accuracy

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments"))
import long_sequences  # noqa: E402

pytestmark = pytest.mark.slow


def test_recall_shows_a_symbol_then_noise_then_a_cue():
    sequence, label = long_sequences.recall(30, torch.Generator().manual_seed(0))(400)
    assert sequence.shape == (40, 400, 5) and label.float().mean() == pytest.approx(1.5, abs=0.2)
    assert (sequence[:5].mean(0)[:, :4].argmax(1) == label).all()
    assert sequence[5:35].abs().max() < 0.6 and sequence[5:35].mean().abs() < 0.01
    assert sequence[-5:, :, 4].min() > 0.5 > sequence[:-5, :, 4].max()


def test_digits_are_learned_from_and_tested_with_apart():
    (sequence, label), (tested, _) = long_sequences.digits(0)
    assert sequence.shape == (64, 1438, 1) and tested.shape == (64, 359, 1) and len(label) == 1438
    pictures = {tuple(p.tolist()) for p in sequence[..., 0].T}
    assert sum(tuple(p.tolist()) in pictures for p in tested[..., 0].T) == 0


def test_kinds_have_as_many_recurrent_weights_where_those_are_compared():
    task = long_sequences.prepare("digits", 0, 0, torch.Generator().manual_seed(0), "")
    recurrent = {
        kind: sum(p.numel() for n, p in task.classifier(kind).cell.named_parameters() if n.startswith(part))
        for kind, part in (("gru", "of_state"), ("mcn_soft", "of_spikes"), ("lif", "of_spikes"))
    }
    assert all(abs(count / recurrent["gru"] - 1) < 0.01 for count in recurrent.values()), recurrent
    recall = long_sequences.prepare("recall", 10, 0, torch.Generator().manual_seed(0), "")
    assert recall.classifier("gru").linear.in_features == recall.classifier("lif").linear.in_features


@pytest.mark.parametrize(
    "kind, remembers", [("mcn", True), ("mcn_soft", True), ("gru", True), ("lif", False)]
)
def test_what_was_shown_is_remembered(kind, remembers):
    torch.manual_seed(0)
    delay = 60
    task = long_sequences.prepare("recall", delay, 0, torch.Generator().manual_seed(0), "")
    classifier = SequenceClassifier(5, 64, 4, kind, gate_time=2 * delay)
    long_sequences.learn(classifier, task, 220, kind)
    right = accuracy(classifier, *task.draw(512), task.last)
    assert (right > 0.9) if remembers else (right < 0.7)


def test_what_was_measured_is_kept_and_refused_with_other_options(tmp_path, monkeypatch):
    def row() -> dict:
        return long_sequences.measured("recall", "lif", 10, 3, 2, "", tmp_path)

    found = row()
    assert found["seed"] == 3 and 0 <= found["accuracy"] <= 1
    monkeypatch.setattr(long_sequences, "measure", None)
    assert row() == found
    monkeypatch.setattr(long_sequences, "NEURONS", 32)
    with pytest.raises(UserError, match="another neurons: delete it to begin anew"):
        row()


def test_the_experiment_says_what_it_does_not_know():
    command = [sys.executable, str(ROOT / "experiments/long_sequences.py"), "kinds:=lstm"]
    run = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""})
    assert run.returncode == 1 and "unknown 'lstm'; known: lif" in run.stderr
