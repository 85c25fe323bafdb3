"""The experiment of Q-networks: what it trains, judges and writes."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import NetworkOptions
from spiking_wm.core.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "experiments"))
import dsqn_vs_dqn  # noqa: E402

pytestmark = pytest.mark.slow

ENV = "minatar/Freeway-v0"
TINY = NetworkOptions(ticks=8, channels=(4,), kernels=(3,), strides=(1,), hidden=8)
SMALL = {
    "learn_after": 100,
    "warmup": 100,
    "evaluate_every": 200,
    "evaluation_episodes": 1,
    "network_hidden": 8,
}


@pytest.fixture
def small(monkeypatch):
    """Games so few and short that it takes seconds."""
    for name, value in {"EPISODES": 2, "LONGEST": 50, "STATES": 60, "CALIBRATED": 40}.items():
        monkeypatch.setattr(dsqn_vs_dqn, name, value)
    resolve = dsqn_vs_dqn.resolve
    monkeypatch.setattr(dsqn_vs_dqn, "resolve", lambda a, env, given: resolve(a, env, SMALL | given))


def table(path: Path) -> list[dict]:
    return list(csv.DictReader(path.open()))


@pytest.mark.long
def test_trains_judges_and_draws_and_is_not_begun_anew(small, monkeypatch, tmp_path):
    monkeypatch.setattr(dsqn_vs_dqn, "ROOT", tmp_path)
    given = [f"env:={ENV}", "steps:=200", "seeds:=1", f"results:={tmp_path / 'found'}"]
    monkeypatch.setattr(sys, "argv", ["dsqn_vs_dqn", *given])
    dsqn_vs_dqn.main()
    stem = "dsqn_vs_dqn_minatar-Freeway-v0"
    found = {path.name.removeprefix(stem): path for path in (tmp_path / "found").iterdir()}
    assert set(found) == {".csv", "_costs.csv", "_noise.csv", "_conversion.csv", ".png"}
    assert {(r["algorithm"], r["seed"], r["step"]) for r in table(found[".csv"])} == {
        (a, s, step) for a in ("dqn", "dsqn", "converted_sqn") for s in "0" for step in ("0", "200")
    }
    judged = {"dqn", "dqn_converted", "dsqn", "rounded_dqn", "converted_sqn"}
    assert {r["algorithm"] for r in table(found["_costs.csv"])} == judged
    agreement = {(r["algorithm"], r["ticks"]): float(r["agreement"]) for r in table(found["_conversion.csv"])}
    assert all(0 <= share <= 1 for share in agreement.values())
    assert agreement["converted_sqn", "64"] > 0.95 and len(agreement) == 6
    before = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("runs/*/*/episodes.csv"))]
    dsqn_vs_dqn.main()
    assert before == [path.stat().st_mtime_ns for path in sorted(tmp_path.glob("runs/*/*/episodes.csv"))]
    fewer = [argument.replace("200", "100") for argument in given]
    monkeypatch.setattr(sys, "argv", ["dsqn_vs_dqn", *fewer])  # the network has learned for longer
    with pytest.raises(UserError, match="has 200 steps already"):
        dsqn_vs_dqn.main()
    monkeypatch.setattr(sys, "argv", ["dsqn_vs_dqn", *given])
    monkeypatch.setitem(SMALL, "network_hidden", 16)  # runs of other options are not taken for these
    with pytest.raises(UserError, match="was begun with another network\\.hidden"):
        dsqn_vs_dqn.main()


def test_what_was_stopped_before_its_first_checkpoint_is_begun_anew(small, monkeypatch, tmp_path):
    path = tmp_path / "minatar-Freeway-v0_dqn_s0"
    (path / "checkpoints").mkdir(parents=True)
    (path / "evaluations.csv").write_text("step,policy_version,mean,std,seconds,returns\n0,1,9.0,0,1,\n")
    with dsqn_vs_dqn.Progress() as progress:
        run = dsqn_vs_dqn.trained("dqn", ENV, 0, 200, tmp_path, progress)
    assert [row["step"] for row in dsqn_vs_dqn.curve(run, "dqn", 0)] == [0, 200]


def test_what_has_no_pictures_is_refused(small, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["dsqn_vs_dqn", "env:=CartPole-v1"])
    with pytest.raises(UserError, match="shows no pictures"):
        dsqn_vs_dqn.main()


def test_conversions_are_judged_by_states_that_they_do_not_go_by(small):
    torch.manual_seed(0)
    network = QNetwork((10, 10, 7), 3, TINY, spiking=False)
    states = dsqn_vs_dqn.states_of(network, ENV)
    assert states.shape == (100, 10, 10, 7) and states.dtype == torch.uint8
    assert torch.equal(states, dsqn_vs_dqn.states_of(network, ENV))
    assert len(states.flatten(1).unique(dim=0)) > 50


def test_noise_is_seen(small, monkeypatch):
    shown = []

    class Network(QNetwork):
        def forward(self, observation):
            shown.append(observation)
            return super().forward(observation)

    network = Network((10, 10, 7), 3, TINY)
    for noise in (0.0, 0.2):
        dsqn_vs_dqn.mean_return(network, ENV, noise)
    clean, noisy = shown[0], shown[len(shown) // 2]
    assert set(clean.unique().tolist()) == {0.0, 255.0}
    assert 20 < float(noisy[noisy < 200].std()) < 60 and 0 <= float(noisy.min()) <= float(noisy.max()) <= 255


def test_a_wrong_argument_is_told():
    run = subprocess.run(
        [sys.executable, ROOT / "experiments/dsqn_vs_dqn.py", "sedes:=2"], capture_output=True, text=True
    )
    assert run.returncode == 1 and "sedes" in run.stderr and "Traceback" not in run.stderr
