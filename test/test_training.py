"""Whole runs in one process: learning, going on after a stop, and checkpoints of the wrong kind."""

import errno
import os

import pytest
import torch

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.runs.pictures import draw
from spiking_wm.training.session import Session
from spiking_wm_ros.graph.specification import resolve_graph
from test.conftest import ENV, SMALL, env_for
from test.states import assert_same_state, final_state


def start(path, options, algorithm="popsan_dream", env=ENV):
    return Run.create(path, resolve(algorithm, env, options), env)


def test_a_run_leaves_everything_behind(tmp_path, tiny):
    run = start(tmp_path, tiny)
    learner = train(run)
    assert (learner.step, learner.updates, learner.dreams) == (120, 80, 1)
    assert [int(row["step"]) for row in run.table("evaluations")] == [0, 60, 120]
    assert run.table("episodes") and run.table("dreams")
    assert {path.name for path in draw(tmp_path)} == {"curve.png"}  # too short for held-out stretches
    for name in ("config.yaml", "versions.json", "tensorboard", "checkpoints", "policies"):
        assert (tmp_path / name).exists(), name


@pytest.mark.parametrize("first", [60, 77])  # at and between checkpoints, policies and episodes
@pytest.mark.parametrize("algorithm", SMALL)
def test_run_n_and_resume_n_equals_run_2n(tmp_path, tiny, algorithm, first):
    tiny, env = SMALL[algorithm](tiny), env_for(algorithm)
    whole = start(tmp_path / "whole", tiny, algorithm, env)
    train(whole)
    halves = start(tmp_path / "halves", tiny | {"steps": first}, algorithm, env)
    train(halves)
    checkpoint = halves.newest()
    train(start(tmp_path / "halves", tiny, algorithm, env), checkpoint)
    one, two = final_state(whole), final_state(halves)
    two[1]["evaluated_at"] = one[1]["evaluated_at"]
    assert_same_state(one, two)
    seconds = [float(row["seconds"]) for row in halves.table("evaluations")]
    assert seconds == sorted(seconds) and len(seconds) > 2  # also over the break
    assert [r["episode"] for r in halves.table("episodes")] == [r["episode"] for r in whole.table("episodes")]


# before the first policy is released, in an evaluation, between updates, later
@pytest.mark.parametrize("asked", [0, 7, 150, 301])
def test_a_run_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path, tiny, asked):
    whole = start(tmp_path / "whole", tiny, "popsan")
    train(whole)
    stopped, told = start(tmp_path / "stopped", tiny, "popsan"), iter([False] * asked)
    assert not train(stopped, stopped=lambda: next(told, True)).finished
    train(start(tmp_path / "stopped", tiny, "popsan"), stopped.newest())
    assert_same_state(final_state(whole), final_state(stopped))
    assert [r["returns"] for r in stopped.table("evaluations")] == [
        r["returns"] for r in whole.table("evaluations")
    ]


def test_a_run_that_is_stopped_in_a_dream_wakes_saves_and_goes_on(tmp_path, tiny, monkeypatch):
    tiny, dreamed = tiny | {"dream_rollouts": 100_000}, []
    monkeypatch.setattr(LearningRun, "dreamed", lambda self, step, progress: dreamed.append(step))
    run = start(tmp_path, tiny)
    stopped = train(run, stopped=lambda: len(dreamed) >= 4)
    assert not stopped.finished and (stopped.phase, stopped.dreams) == ("awake", 1)
    (dream,) = run.table("dreams")
    assert 0 < int(dream["rollouts"]) <= 2 * tiny["dream_batch"]
    learner = train(start(tmp_path, tiny | {"dream_rollouts": 16}), run.newest())
    assert learner.finished and (learner.step, learner.dreams) == (120, 1)  # asleep once, at step 100


def test_a_run_that_is_done_is_gone_on_with_only_for_more_steps(tmp_path, tiny):
    train(start(tmp_path, tiny))
    with pytest.raises(UserError, match="has done its 120 steps: give a larger steps:="):
        resolve_graph("train", {"resume": str(tmp_path)})
    assert resolve_graph("train", {"resume": str(tmp_path), "steps": "121"}).steps == 121


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("algorithm", ["dsqn", "spiking_wm"])
def test_a_device_that_is_not_here_is_refused_and_its_run_is_free_again(tmp_path, algorithm):
    given = {"algorithm": algorithm, "env": "CartPole-v1", "device": "cuda", "run": str(tmp_path)}
    for _ in range(2):
        resolve_graph("train", given)
        with pytest.raises(UserError, match="set device:=cpu"):
            train(start(tmp_path, {"device": "cuda"}, algorithm, "CartPole-v1"))


def test_rows_that_a_checkpoint_does_not_know_are_dropped(tmp_path, tiny):
    run = start(tmp_path, tiny)
    train(run)
    run.append("episodes", {"step": 500, "episode": 99, "return": 1.0, "length": 2})
    before = [row for row in run.table("episodes") if row["episode"] != "99"]
    dreams = run.table("dreams")
    run.append("dreams", dreams[-1] | {"number": len(dreams) + 1})  # another one in the same step
    run.forget_after(120, 120, len(dreams))
    assert run.table("episodes") == before and run.table("dreams") == dreams


def test_a_checkpoint_of_other_sizes_algorithm_or_environment_is_refused(tmp_path, tiny):
    train(start(tmp_path / "a", tiny))
    checkpoint = Run(tmp_path / "a").newest()
    spaces = Session(ENV, 0, 10).spaces
    for name, options, algorithm in (
        ("sizes", {"actor_hidden": "[32]"}, "popsan_dream"),
        ("model", {"model_hidden": "32"}, "popsan_dream"),
        ("algorithm", {}, "popsan_dream_published"),
    ):
        with pytest.raises(UserError, match="was made by algorithm:=popsan_dream"):
            LearningRun(start(tmp_path / name, tiny | options, algorithm), spaces, checkpoint)
    other = Session("HalfCheetah-v5", 0, 10).spaces
    with pytest.raises(UserError, match="choose the env"):
        LearningRun(start(tmp_path / "env", tiny, env="HalfCheetah-v5"), other, checkpoint)


def test_a_truncated_checkpoint_is_refused(tmp_path, tiny):
    train(start(tmp_path, tiny))
    checkpoint = Run(tmp_path).newest()
    file = checkpoint / "agent.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(UserError, match="damaged"):
        train(Run(tmp_path), checkpoint)


def test_a_full_disk_while_saving_is_a_warning_and_the_older_checkpoint_stays(
    tmp_path, tiny, monkeypatch, capsys
):
    run = start(tmp_path, tiny)
    fsync, real = os.fsync, os.fsync

    def full_for_checkpoints(descriptor):
        if "agent" in os.readlink(f"/proc/self/fd/{descriptor}") and len(run.checkpoints.all()) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_for_checkpoints)
    with pytest.raises(UserError, match="not saved in .*the checkpoint .No space left.*step_0000000060"):
        train(run)
    assert fsync is real
    assert [p.name[:15] for p in run.checkpoints.all()] == ["step_0000000060"]
    assert "No space left on device" in capsys.readouterr().out


@pytest.mark.slow
def test_the_world_model_beats_no_change_on_held_out_data(tmp_path):
    options = {
        "steps": 900,
        "learn_after": 300,
        "warmup": 600,
        "model_every": 1,
        "evaluate_every": 0,
        "dream_every": 900,
        "dream_rollouts": 8,
        "checkpoint_every": 0,
    }
    run = start(tmp_path, options)
    train(run)
    (row,) = run.table("dreams")
    assert float(row["model_error_1_step"]) < 0.3
    assert float(row["model_error_5_step"]) < 1.0


@pytest.mark.slow
def test_recurrent_networks_learn_to_balance_by_continuous_actions(tmp_path):
    run = start(tmp_path, {"steps": "3000", "seed": "2"}, "rsnn")
    train(run)
    returns = [float(row["mean"]) for row in run.table("evaluations")]
    assert max(returns) > 2.5 * returns[0], returns
