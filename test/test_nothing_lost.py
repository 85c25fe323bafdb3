"""Nothing that was learned is lost: damaged files, kills, failures of the learner, runs that start again."""

import multiprocessing
import os
import random
import signal
import time

import numpy as np
import pytest
import torch
from safetensors.torch import save as save_plain

import spiking_wm
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import CheckpointFolder, check_checkpoint, newest_checkpoint, write_atomically
from spiking_wm.core.presets import resolve
from spiking_wm.core.storage import load, load_facts, pack
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import dream, train
from spiking_wm.runs.policy_bundle import bundle_facts, load_bundle
from spiking_wm.runs.tables import Tables
from spiking_wm.training.learner import Learner
from spiking_wm.training.session import Session
from spiking_wm_ros.cli.in_process import train_from_bag
from spiking_wm_ros.graph.specification import resolve_graph
from test.conftest import ENV, TINY

FILES = ("agent.safetensors", "policy.safetensors", "episode.safetensors")
SHORT = TINY | {"steps": 60, "checkpoint_every": 40, "evaluate_every": 0, "dream_every": 0}


def start(path, options=SHORT, algorithm="popsan_dream"):
    return Run.create(path, resolve(algorithm, ENV, options), ENV)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run with two checkpoints, which tests copy."""
    path = tmp_path_factory.mktemp("finished") / "run"
    train(start(path))
    assert len(Run(path).checkpoints.all()) == 2
    return path


@pytest.fixture
def run(finished, tmp_path):
    from shutil import copytree

    copytree(finished, tmp_path / "run")
    return Run(tmp_path / "run")


# --- damaged files ---


def flip(content: bytes, position: int, bit: int) -> bytes:
    return b"".join((content[:position], bytes([content[position] ^ 1 << bit]), content[position + 1 :]))


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_never_accepted(finished, tmp_path, name):
    whole = (Run(finished).newest() / name).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    rng, file = random.Random(name), tmp_path / name
    for place in range(100):  # half of them in the header, where most ways to read a file wrongly are
        position = rng.randrange(header if place % 2 else len(whole))
        file.write_bytes(flip(whole, position, rng.randrange(8)))
        for reader in (load, load_facts):
            with pytest.raises(UserError, match="damaged or not ours"):
                reader(file)
    for length in (0, 4, 100, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(UserError, match="damaged or not ours"):
            load(file)
    file.write_bytes(whole)
    load(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_tensors_that_are_not_finite_are_neither_written_nor_read(tmp_path, value):
    weights, file = {"actor": torch.tensor([1.0, value])}, tmp_path / "x.safetensors"
    with pytest.raises(UserError, match="actor holds NaN or infinity: learning diverged"):
        pack(weights, {})
    file.write_bytes(save_plain(weights, {"facts": "{}"}))  # as version 0.1 wrote it
    for reader in (load, load_facts):
        with pytest.raises(UserError, match="x.safetensors is damaged .actor holds NaN or infinity"):
            reader(file)


def test_altered_facts_are_refused(run):
    file = run.newest() / "agent.safetensors"
    content = file.read_bytes()
    assert content.count(b'\\"step\\": 60') == 1
    file.write_bytes(content.replace(b'\\"step\\": 60', b'\\"step\\": 10'))
    with pytest.raises(UserError, match="its checksum is another one"):
        load_facts(file)


def test_equal_input_gives_equal_bytes():
    one, two = (pack({"a": np.arange(5), "b": np.ones(3)}, {"x": 1, "y": "z"}) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("name", FILES)
def test_the_newest_good_checkpoint_is_taken_and_the_bad_one_is_named(run, name, capsys):
    older, newer = run.checkpoints.all()
    whole = (newer / name).read_bytes()
    (newer / name).write_bytes(flip(whole, len(whole) // 2, 3))
    assert newest_checkpoint(run.path) == older
    told = capsys.readouterr().err
    assert told.startswith(f"warning: {newer / name} is damaged") and f"{older} is taken" in told
    for graph, given in (("train", "resume"), ("evaluate", "checkpoint"), ("deploy", "policy")):
        with pytest.raises(UserError, match="is damaged"):  # where it is asked for by name
            resolve_graph(graph, {given: str(newer)})
    assert spiking_wm.evaluate(run.path, episodes=1).returns
    learner = train(start(run.path), resolve_graph_checkpoint(run.path))
    assert (learner.step, learner.finished) == (60, True)
    check_checkpoint(run.newest())


def resolve_graph_checkpoint(path):
    """The checkpoint that the train graph goes on from."""
    resolved = resolve_graph("train", {"resume": str(path)})
    return next(newest for newest in Run(path).checkpoints.all() if str(newest) in str(resolved.nodes))


def test_if_all_are_damaged_it_says_so(run):
    for checkpoint in run.checkpoints.all():
        (checkpoint / "policy.safetensors").unlink()
    with pytest.raises(UserError, match="all checkpoints of .* are damaged"):
        resolve_graph("train", {"resume": str(run.path)})


def test_a_damaged_bundle_is_refused_before_a_node_starts(trained, tmp_path):
    whole = (Run(trained).newest() / "policy.safetensors").read_bytes()
    file = tmp_path / "policy.safetensors"
    file.write_bytes(whole)
    given = {"robot": "rover", "policy": str(file)}
    resolve_graph("deploy", given)
    file.write_bytes(flip(whole, len(whole) - 5, 0))
    for reader in (
        lambda: resolve_graph("deploy", given),
        lambda: load_bundle(file),
        lambda: bundle_facts(file),
    ):
        with pytest.raises(UserError, match="policy.safetensors is damaged"):
            reader()


# --- kills ---


@pytest.mark.slow
def test_after_a_hundred_kills_while_it_saves_the_newest_checkpoint_loads(finished, tmp_path):
    files = {name: (Run(finished).newest() / name).read_bytes() for name in FILES}
    folder, rng = CheckpointFolder(tmp_path / "checkpoints"), random.Random(0)
    steps = 0

    def save_without_end(first: int) -> None:
        tables = Tables(tmp_path)
        for step in range(first, first + 10**6):
            folder.save(step, files)
            write_atomically(tmp_path / "policy.safetensors", files["policy.safetensors"])
            tables.keep("episodes", {"step": step, "episode": step, "return": 1.0, "length": 5})
            tables.write("episodes")

    for _ in range(100):
        child = multiprocessing.get_context("fork").Process(target=save_without_end, args=(steps,))
        child.start()
        while not folder.all():
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        newest = newest_checkpoint(tmp_path)
        load(newest / "agent.safetensors")
        assert newest == folder.all()[-1]
        steps = int(newest.name.split("_")[1]) + 1
    folder.save(steps, files)
    assert len(list(folder.path.iterdir())) == 2  # nothing of unfinished ones is left
    load(tmp_path / "policy.safetensors")
    recorded = [int(row["step"]) for row in Tables(tmp_path).rows("episodes")]
    assert len(recorded) > 10 and recorded == sorted(recorded)


def test_a_row_that_a_crash_cut_off_is_forgotten(run):
    rows, file = run.table("episodes"), run.path / "episodes.csv"
    file.write_bytes(file.read_bytes() + b"70,9")
    assert run.table("episodes") == rows
    Run(run.path).append("episodes", {"step": 70, "episode": 9, "return": 1.0, "length": 3})
    assert [row["step"] for row in run.table("episodes")][-1] == "70" and len(run.table("episodes")) == len(
        rows
    ) + 1


# --- failures ---


class Broken(RuntimeError):
    pass


def fails_at(monkeypatch, step: int, error: BaseException) -> None:
    """Let the learner fail in an update."""
    whole = Learner._work

    def work(self):
        if self.step == step:
            raise error
        return whole(self)

    monkeypatch.setattr(Learner, "_work", work)


@pytest.mark.parametrize("error", [Broken("of a\nmatrix"), MemoryError(), AssertionError(), SystemExit(3)])
def test_a_learner_that_fails_saves_once_under_a_name_of_its_own(tmp_path, monkeypatch, error):
    run = start(tmp_path)
    fails_at(monkeypatch, 45, error)
    with pytest.raises(UserError) as raised:
        train(run)
    told = str(raised.value)
    (failed,) = run.checkpoints.failed()
    assert failed.name == "failed_0000000045_0000" and "\n" not in told
    assert (
        type(error).__name__ in told and str(failed) in told and "goes on from step_0000000040_0000" in told
    )
    assert "Traceback" in (run.path / "log.txt").read_text() and f"{run.path / 'log.txt'}" in told
    assert run.newest().name == "step_0000000040_0000"
    assert load_facts(failed / "agent.safetensors")["learner"]["step"] == 45
    monkeypatch.undo()
    learner = train(start(run.path), newest_checkpoint(failed))  # resumed where that is asked for
    assert learner.step == 60 and run.newest().name.startswith("step_0000000060")


def test_a_policy_that_is_not_finite_ends_training_with_the_checkpoint_from_before(tmp_path, monkeypatch):
    run, whole = start(tmp_path), Learner._work

    def diverge(self):
        if self.step == 45:
            with torch.no_grad():
                next(self.agent.td3.actor.parameters()).fill_(float("nan"))
        return whole(self)

    monkeypatch.setattr(Learner, "_work", diverge)
    with pytest.raises(UserError, match="NaN or infinity: learning diverged.*goes on from step_0000000040"):
        train(run)
    check_checkpoint(run.newest())
    assert not run.checkpoints.failed()


@pytest.mark.parametrize("error", [Broken("motor 3 is hot"), UserError("the motor is hot"), SystemExit()])
def test_whatever_the_environment_raises_what_was_learned_is_saved(tmp_path, monkeypatch, error):
    run, whole = start(tmp_path), Session.finish

    def finish(self, version):
        if self.training_step == 47:
            raise error
        return whole(self, version)

    monkeypatch.setattr(Session, "finish", finish)
    with pytest.raises(UserError) as raised:
        train(run)
    told = str(raised.value)
    assert "\n" not in told and f"what was learned is in {run.newest()}" in told
    assert str(error) in told and run.newest().name.startswith("step_0000000047")
    assert "Traceback" in (run.path / "log.txt").read_text()
    facts = load_facts(run.newest() / "agent.safetensors")
    assert facts["learner"]["step"] == 47 and not run.checkpoints.failed()
    monkeypatch.undo()
    train(run, run.newest())
    whole_run = start(tmp_path / "whole")
    train(whole_run)
    one, two = (load(r.newest() / "agent.safetensors")[0] for r in (run, whole_run))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_a_hard_interrupt_saves_too(tmp_path, monkeypatch):
    run = start(tmp_path)
    fails_at(monkeypatch, 45, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert run.checkpoints.failed() and run.newest().name == "step_0000000040_0000"


def test_a_dream_that_fails_says_so(run, monkeypatch):
    from spiking_wm.core.contract import Budget

    def work(self):
        raise Broken("asleep")

    monkeypatch.setattr(Learner, "_work", work)
    with pytest.raises(UserError, match="Broken: asleep .traceback in .*learner's state is in .*failed_"):
        dream(run, Budget(rollouts=5))
    check_checkpoint(run.checkpoints.failed()[0])


# --- runs that start again ---


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again_by_the_same_command(tmp_path):
    given = {k: str(v) for k, v in SHORT.items()} | {"run": str(tmp_path), "checkpoint_every": "0"}
    resolve_graph("train", given)

    def begin() -> None:
        train(
            start(tmp_path, SHORT | {"steps": 10**6, "checkpoint_every": 0}),
            stopped=lambda: gone.wait(0.01) and False,
        )

    gone = multiprocessing.get_context("fork").Event()
    child = multiprocessing.get_context("fork").Process(target=begin)
    child.start()
    while len(Run(tmp_path).table("episodes")) < 2:
        assert child.is_alive()
        time.sleep(0.01)
    with pytest.raises(UserError, match="is a run already"):  # it learns in it
        resolve_graph("train", given)
    child.kill()
    child.join()
    assert (tmp_path / "policies").exists() and not Run(tmp_path).checkpoints.all()
    resolve_graph("train", given)
    run = spiking_wm.train("popsan_dream", ENV, run=tmp_path, progress=False, **SHORT)
    assert [int(row["episode"]) for row in run.table("episodes")][0] == 0
    steps = [int(row["step"]) for row in run.table("episodes")]
    assert steps == sorted(steps) and steps[-1] <= 60
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    with pytest.raises(UserError, match="is a run already.*resume:="):
        resolve_graph("train", given)


def test_a_finished_run_that_is_to_resume_names_its_report(run):
    with pytest.raises(
        UserError, match=rf"give a larger steps:=, or read its report, .*{run.path.name}/report.html"
    ):
        resolve_graph("train", {"resume": str(run.path)})
    with pytest.raises(UserError, match="give more steps, or read its report, .*report.html"):
        spiking_wm.resume(run.path, progress=False)


@pytest.mark.parametrize(
    ("name", "other"), [("algorithm", "popsan"), ("env", "HalfCheetah-v5"), ("run", "/tmp/elsewhere")]
)
def test_a_run_is_resumed_only_as_what_it_is(run, name, other):
    own = {"algorithm": "popsan_dream", "env": ENV, "run": str(run.path)}
    given = {"resume": str(run.path), "steps": "90"}
    resolve_graph("train", given | {name: own[name]})
    with pytest.raises(UserError, match=rf"{name}:={other} is not that of the run to resume .{name}:="):
        resolve_graph("train", given | {name: other})


@pytest.mark.parametrize("graph", ["train", "dream", "evaluate"])
def test_other_sizes_are_refused_before_nodes_start(run, graph):
    given = {"resume": str(run.path), "steps": "90"} if graph == "train" else {"checkpoint": str(run.path)}
    resolve_graph(graph, given | {"actor.averaging": "0.5"})
    with pytest.raises(UserError, match="with other options or sizes|does not fit its options"):
        resolve_graph(graph, given | {"actor.hidden": "[7]"})
    assert Run(run.path).config.options["actor.hidden"] != [7]


def test_runs_of_several_copies_are_no_place_for_recordings(tmp_path):
    given = SHORT | {"envs": 2, "env_processes": False}
    run = start(tmp_path / "run", given, "popsan_dream")
    train(run)
    (tmp_path / "bag.mcap").touch()
    with pytest.raises(UserError, match="has envs:=2"):
        resolve_graph("dream", {"checkpoint": str(run.path), "bag": str(tmp_path)})
    with pytest.raises(UserError, match="has envs:=2"):
        train_from_bag(str(tmp_path), {"envs": "2", "run": str(tmp_path / "new")})
    assert not (tmp_path / "new").exists()


def test_the_default_algorithm_and_environment_are_another_one_too(tmp_path):
    options = {"steps": 30, "warmup": 20, "learn_after": 20, "evaluate_every": 0}
    path = tmp_path / "cheetah"
    train(Run.create(path, resolve("popsan", "HalfCheetah-v5", options), "HalfCheetah-v5"))
    for given in ({"env": ENV}, {"algorithm": "popsan_dream"}):
        with pytest.raises(UserError, match="is not that of the run to resume"):
            resolve_graph("train", {"resume": str(path), "steps": "40"} | given)
