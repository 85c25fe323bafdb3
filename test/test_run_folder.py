"""A run's folder: who may learn in it, what going back and not going on leave of it, what is recorded."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.runs.recorder import Recorder
from spiking_wm.runs.writes import Writes
from spiking_wm.training.session import Session
from spiking_wm_ros.graph.specification import resolve_graph
from test.conftest import ENV, SMALL, env_for


def start(path, options, algorithm="popsan_dream", env=ENV):
    return Run.create(path, resolve(algorithm, env, options), env)


def test_a_run_that_could_not_go_on_is_as_it_was(tmp_path, tiny):
    train(start(tmp_path, tiny))
    config = (tmp_path / "config.yaml").read_text()
    with pytest.raises(UserError, match="resume it with its original options"):
        train(start(tmp_path, tiny | {"actor_hidden": "[32]", "steps": 240}), Run(tmp_path).newest())
    assert (tmp_path / "config.yaml").read_text() == config
    learner = train(start(tmp_path, tiny | {"steps": 180}), Run(tmp_path).newest())
    assert learner.step == 180 and Run(tmp_path).config.options["steps"] == 180


def test_two_do_not_learn_in_one_folder(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("spiking_wm.runs.folder._PATIENCE", 0.3)
    spaces = Session(ENV, 0, 10).spaces
    one = LearningRun(start(tmp_path, tiny), spaces)
    with pytest.raises(UserError, match="another process learns in"):
        LearningRun(start(tmp_path, tiny | {"seed": 1}), spaces)
    assert Run(tmp_path).config.options["seed"] == 0
    one.close()
    LearningRun(start(tmp_path, tiny), spaces).close()


def test_who_goes_back_to_an_older_checkpoint_gives_up_what_came_after_it(tmp_path, tiny):
    tiny |= {"checkpoint_every": 80}
    train(start(tmp_path, tiny))
    older, newer = Run(tmp_path).checkpoints.all()
    with pytest.raises(UserError, match="is not the newest of its run"):
        resolve_graph("dream", {"checkpoint": str(older)})
    train(start(tmp_path, tiny), older, stopped=iter([False] * 80 + [True] * 9).__next__)
    stopped = Run(tmp_path).newest()
    assert older.name < stopped.name < newer.name  # what stopped earlier is the newest all the same
    assert len(list((tmp_path / "checkpoints").iterdir())) == 2
    assert max(int(row["step"]) for row in Run(tmp_path).table("episodes")) <= 120


def test_a_run_is_not_gone_on_with_for_fewer_steps_than_it_has(tmp_path, tiny):
    train(start(tmp_path, tiny))
    with pytest.raises(UserError, match="has done its 100 steps"):
        resolve_graph("train", {"resume": str(tmp_path), "steps": "100"})


@pytest.mark.parametrize("algorithm", sorted(SMALL.keys() - {"converted_sqn"}))
def test_little_experience_tells_nothing_of_dreams_yet(tmp_path, tiny, algorithm):
    """And can be saved: a viewer asks at any time, and a run may be stopped at any."""
    env = env_for(algorithm)
    learning = LearningRun(
        start(tmp_path, SMALL[algorithm](tiny), algorithm, env), Session(env, 0, 10).spaces
    )
    session = Session(env, 0, 100)
    for _ in range(16):
        agent = learning.learner.agent
        assert all(np.isfinite(x).all() for x in agent.dream_against_reality().values())
        assert all(np.isfinite(x) for x in agent.model_error().values())
        learning.learner.observe(*session.apply([session.spaces.action.sample()], 0))
    assert learning.save()
    learning.close()


def test_losses_that_come_with_some_updates_only_are_recorded_too(tmp_path, tiny):
    recorder = Recorder(start(tmp_path, tiny), Writes(False, lambda: False, print))
    for updates in range(1, 251):  # before the first step, as by demonstrations
        recorder.learned(0, updates, {"imitation_loss": 1.0})
    for step in range(1, 401):
        recorder.learned(step, 250 + step, {"loss": 1.0} | ({"model_loss": 2.0} if step % 12 == 0 else {}))
    recorder.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert len(board.Scalars("imitation_loss")) == 2
    assert len(board.Scalars("loss")) == len(board.Scalars("model_loss")) == 4
