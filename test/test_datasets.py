"""Recordings in a user's folder: the published layout is read, anything else is one clear error."""

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from spiking_wm.core.errors import UserError
from spiking_wm.datasets import demonstrations, shd, speech
from spiking_wm.datasets.labelled import UNLABELLED

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments"))
import long_sequences  # noqa: E402


def write_shd(path: Path, recordings: list[tuple[list, list]], labels: list[int]) -> None:
    with h5py.File(path, "w") as file:
        spikes = file.create_group("spikes")
        for name, dtype, column in (("times", np.float16, 0), ("units", np.int16, 1)):
            data = spikes.create_dataset(name, (len(recordings),), h5py.vlen_dtype(dtype))
            for at, recording in enumerate(recordings):
                data[at] = np.array(recording[column], dtype)
        file["labels"] = np.array(labels, np.uint16)


def write_utterance(path: Path, frames: int, width: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, frames)
    features = 5 + 2 * rng.normal(size=(frames, width)) + 4 * labels[:, None]
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, features=features, labels=labels)
    return features, labels


def test_spikes_are_counted_by_step_and_fibre(tmp_path):
    write_shd(tmp_path / "shd_train.h5", [([0.0, 0.5, 0.5], [0, 9, 5]), ([1.39], [699])], [3, 19])
    sequence, label = loaded = shd.load(tmp_path, "train", steps=14, together=5)
    assert sequence.shape == (14, 2, 140) and label.tolist() == [3, 19] and loaded.classes == 20
    found = {tuple(at): int(sequence[tuple(at)]) for at in sequence.nonzero().tolist()}
    assert found == {(0, 0, 0): 1, (5, 0, 1): 2, (13, 1, 139): 1}
    assert not loaded.of_steps and loaded.rows(torch.tensor([1])).sequence.dtype == torch.float32


def test_utterances_are_cut_into_pieces_whose_end_has_no_label(tmp_path):
    features, labels = write_utterance(tmp_path / "train/a.npz", 25)
    write_utterance(tmp_path / "test/b.npz", 10, seed=1)
    sequence, label = loaded = speech.load(tmp_path, "train", steps=10)
    assert sequence.shape == (10, 3, 3) and loaded.of_steps and loaded.classes == 2
    normal = (features - features.mean(0)) / features.std(0)
    assert np.allclose(sequence[:, 1], normal[10:20], atol=1e-4)
    assert label[:, 1].tolist() == labels[10:20].tolist()
    assert label[5:, 2].tolist() == [UNLABELLED] * 5 and not sequence[5:, 2].any()
    assert abs(float(speech.load(tmp_path, "test", steps=10).sequence.mean())) > 0.01  # by train's mean


def test_what_is_missing_or_damaged_is_named_with_the_layout(tmp_path):
    with pytest.raises(UserError, match=r"shd_test.h5 is missing.*\n.*FOLDER"):
        shd.load(tmp_path, "test")
    (tmp_path / "shd_test.h5").write_bytes(b"nothing")
    with pytest.raises(UserError, match="is not an SHD file"):
        shd.load(tmp_path, "test")
    with pytest.raises(UserError, match=r"no .npz file in .*train.*\nFOLDER"):
        speech.load(tmp_path, "train")
    write_utterance(tmp_path / "train/a.npz", 5)
    write_utterance(tmp_path / "test/a.npz", 5, width=4)
    with pytest.raises(UserError, match="has 4 features, not 3"):
        speech.load(tmp_path, "test")
    np.savez(tmp_path / "train/b.npz", features=np.zeros((4, 3)), labels=np.zeros(3, int))
    with pytest.raises(UserError, match="b.npz has features"):
        speech.load(tmp_path, "train")
    np.savez(tmp_path / "train/b.npz", features=np.full((4, 3), np.nan), labels=np.zeros(4, int))
    with pytest.raises(UserError, match="not finite"):
        speech.load(tmp_path, "train")
    (tmp_path / "train/b.npz").write_bytes(b"PK nothing")
    with pytest.raises(UserError, match="b.npz cannot be read"):
        speech.load(tmp_path, "train")


@pytest.mark.parametrize(
    ("package", "extra", "read"),
    [
        ("h5py", "data", lambda: shd.load(ROOT, "train")),
        ("minari", "demos", lambda: demonstrations.load("CartPole-v1/mixed-v0")),
    ],
)
def test_a_package_that_is_not_installed_is_told_with_its_extra(monkeypatch, package, extra, read):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"{package} is not installed: .*\[{extra}\]"):
        read()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["shd", "timit"])
def test_recordings_are_told_apart(tmp_path, task):
    rng = np.random.default_rng(0)
    for at, part in enumerate(("train", "test")):
        labels = rng.integers(0, 2, 40).tolist()
        spikes = [(np.sort(rng.uniform(0, 1.3, 60)), rng.integers(0, 350, 60) + 350 * k) for k in labels]
        write_shd(tmp_path / f"shd_{part}.h5", spikes, labels)
        for number in range(4):
            write_utterance(tmp_path / part / f"{number}.npz", 450, seed=10 * at + number)
    row = long_sequences.measure(task, "lif", 0, 0, 40, str(tmp_path))
    assert row["accuracy"] > 0.9
