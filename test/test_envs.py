"""Several copies of the environment: in processes, in one, after a stop; rounds, and what is refused."""

import gymnasium as gym
import numpy as np
import pytest

import spiking_wm
from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.core.schedule import DreamSchedule, due
from spiking_wm.envs.copies import CopiesHere
from spiking_wm.envs.copies_in_processes import CopiesInProcesses
from spiking_wm.runs.config import checked
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.runs.learning_run import LearningRun
from spiking_wm.runs.resuming import resume_point
from spiking_wm.training.episodes import RunningEpisode
from spiking_wm.training.learner import Learner
from spiking_wm.training.session import Session
from spiking_wm.training.trainer import take_in
from test.conftest import ENV, SMALL, env_for
from test.environments import Case
from test.own_agent import Reach
from test.states import assert_same_state, final_state

SERVED = [algorithm for algorithm in SMALL if not algorithm.startswith("rsnn")]


def start(path, options, algorithm="popsan_dream", env=ENV):
    return Run.create(path, checked(resolve(algorithm, env, options)), env)


# --- what is learned ---


@pytest.mark.parametrize("algorithm", SERVED)
def test_processes_and_stops_change_nothing(tmp_path, tiny, algorithm):
    """A run in processes equals one in this process that was stopped within a round."""
    options, env = SMALL[algorithm](tiny) | {"envs": 2}, env_for(algorithm)
    whole = start(tmp_path / "whole", options, algorithm, env)
    learner = train(whole)
    stopped = start(tmp_path / "stopped", options | {"env_processes": False, "steps": 77}, algorithm, env)
    assert train(stopped).step == 77
    assert len(resume_point(stopped.newest())["episodes"]) == 2
    again = start(tmp_path / "stopped", options | {"env_processes": False}, algorithm, env)
    train(again, stopped.newest())
    assert_same_state(final_state(whole), final_state(again))
    setup = whole.config.resolve().schedule
    assert learner.updates == int((120 - 40) * setup.updates_per_step)
    assert [int(row["step"]) for row in whole.table("evaluations")] == [0, 60, 120]
    by_step = {row["step"]: row["returns"] for row in again.table("evaluations")}
    assert all(by_step[row["step"]] == row["returns"] for row in whole.table("evaluations"))


def test_every_update_is_made_when_it_is_due(tmp_path, tiny):
    """Also between the steps of a round; policies change between rounds only."""
    seen = []

    class Watching(LearningRun):
        def learned(self, step, updates, metrics):
            seen.append((step, updates))
            super().learned(step, updates, metrics)

    options = tiny | {"envs": 3, "updates_per_step": 0.5, "env_processes": False}
    run = start(tmp_path, options, "popsan")
    session = Session.of(ENV, run.config.resolve().schedule)
    learning, versions = Watching(run, session.spaces), []
    learner = learning.learner
    while learner.work():
        pass
    while session.training_step < 60:
        pending = session.pending()
        if pending[0].evaluation:
            session.apply([session.rest_action()], 0)
            continue
        versions.append((pending[0].step, learner.version, len(pending)))
        for transition in session.apply([session.rest_action()] * len(pending), learner.version):
            learner.observe(transition)
            while learner.work():
                pass
    learning.close()
    assert seen == [(step, step // 2 - 20) for step in range(42, 61, 2)]
    assert {count for *_, count in versions} == {3} and [step for step, *_ in versions] == list(
        range(0, 60, 3)
    )
    # a version of every 10 steps: at the first ends of rounds from there
    assert [step for (step, v, _), (_, w, _) in zip(versions[1:], versions) if v != w] == [12, 21, 30, 42, 51]


def test_copies_step_while_the_learner_learns(tmp_path, tiny, monkeypatch):
    """From the round before, unless a new policy or an evaluation comes first. A stop ends the step, too."""
    started, ahead = 0, {}
    start_copies, observe = CopiesInProcesses.start, Learner.observe

    def starting(copies, actions):
        nonlocal started
        started += 1
        start_copies(copies, actions)

    def observing(learner, transition):
        if not transition.evaluation:
            ahead[transition.step] = started - 1 - transition.step // 2
        observe(learner, transition)

    monkeypatch.setattr(CopiesInProcesses, "start", starting)
    monkeypatch.setattr(Learner, "observe", observing)
    run = start(tmp_path / "run", tiny | {"envs": 2, "policy_every": 10})
    train(run, stopped=lambda: 90 in ahead)
    due = {step for end in range(10, 91, 10) for step in (end - 2, end - 1)}  # in rounds that end a version
    assert ahead == {step: int(step not in due) for step in range(91)}


# --- rounds ---


@pytest.mark.parametrize("envs", [1, 2, 3, 7, 256])
def test_what_is_due_every_so_many_steps_is_due_once_in_that_many(envs):
    for every in (1, 5, 10, 100, 1000):
        times = [step for step in range(3001) if due(step, every, envs)]
        assert all(step % envs == 0 and step % every < envs for step in times)
        expected = {-(-multiple // envs) * envs for multiple in range(every, 3001, every)}
        assert times == sorted(step for step in expected if step <= 3000)
    dreams = DreamSchedule(every=100, after=300)
    at = sorted({-(-multiple // envs) * envs for multiple in range(300, 901, 100)})
    assert [step for step in range(at[-1] + 1) if dreams.due(step, envs)] == at
    assert not due(100, 0, envs)


def played(session: Session, rounds: int) -> list[Transition]:
    """Rounds of actions that follow from the step."""
    seen = []
    for _ in range(rounds):
        actions = [np.float32([np.sin(pending.step)]) for pending in session.pending()]
        seen += session.apply(actions, 1)
    return seen


def same(one: list[Transition], two: list[Transition]) -> bool:
    pairs = [(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True)]
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("processes", [True, False])
def test_copies_take_turns_and_their_episodes_are_counted_together(processes):
    session = Session(ENV, 3, 1000, envs=3, processes=processes)
    seen = played(session, 100)
    assert [t.step for t in seen] == list(range(300))
    by_copy = [[t for t in seen if t.step % 3 == copy] for copy in range(3)]
    for own in by_copy:
        for before, after in zip(own, own[1:]):
            if before.done:
                assert after.episode > before.episode
            else:
                np.testing.assert_array_equal(before.next_observation, after.observation)
                assert after.episode == before.episode
    begun = [t.episode for t in seen if t.episode not in {s.episode for s in seen[: t.step]}]
    assert begun == list(range(len(begun))) and len(begun) > 6
    # an episode is that of its number, in whichever copy
    single = [t for t in played(Session(ENV, 3, 1000), 200) if t.episode in (1, 2)]
    for number in (1, 2):
        first = next(t for t in single if t.episode == number).observation
        np.testing.assert_array_equal(first, next(t for t in seen if t.episode == number).observation)
    session.close()


def test_processes_are_no_different_from_one():
    sessions = [Session(ENV, 3, 91, envs=2, processes=processes) for processes in (True, False)]
    assert [type(s._copies) for s in sessions] == [CopiesInProcesses, CopiesHere]
    one, two = (played(session, 46) for session in sessions)
    assert same(one, two)
    assert len(one) == 91  # the last round has one step only
    for session in sessions:
        session.close()


@pytest.mark.parametrize("env", ["PongPixels-v0", "CartPole-v1", "test.environments:CaseManyChoices-v0"])
def test_kinds_of_spaces_go_through_processes(env):
    seen = []
    for processes in (True, False):
        session = Session(env, 0, 100, envs=2, processes=processes)
        actions = [np.asarray(session.spaces.action.start + k) for k in (0, 1)]
        seen.append([t for _ in range(30) for t in session.apply(actions, 1)])
        session.close()
    assert same(*seen) and len(seen[0]) == 60


def test_the_end_on_request_is_that_of_all_copies():
    session = Session(ENV, 0, 100, envs=2, processes=False)
    session.end_episode(next_seed=7)
    assert [t.truncated for t in played(session, 1)] == [True, True]
    begun = played(session, 1)
    assert [t.seed for t in begun] == [7, 8] and not begun[0].truncated
    alone = Session(ENV, 5, 100)
    alone.end_episode(next_seed=8)
    played(alone, 1)
    np.testing.assert_array_equal(played(alone, 1)[0].observation, begun[1].observation)


def test_environments_that_only_this_process_knows():
    """A class within a function: by itself, in another function, by an id that is registered here, made."""

    class Short(Case):
        steps = 4

    gym.register("OnlyHere-v0", Short)
    for env in (Short, lambda: Short(), "OnlyHere-v0", gym.make("OnlyHere-v0")):
        session = Session(env, 0, 100, envs=2)
        assert [t.step for t in played(session, 5) if t.done] == [6, 7]
        session.close()


def test_a_replay_that_is_not_the_episode_ends_it_in_that_copy_alone():
    told = []
    whole = Session(ENV, 3, 1000, envs=2, processes=False)
    played(whole, 3)
    session = Session(ENV, 3, 1000, envs=2, processes=False, warn=told.append)
    actions = [[np.float32([np.sin(step)]) for step in range(copy, 6, 2)] for copy in (0, 1)]
    seen = [running.observation for running in whole._running]
    episodes = [RunningEpisode(k, -1, actions[k], seen[k] + np.float32(0.1 * k)) for k in (0, 1)]
    session.resume(6, episodes)
    assert len(told) == 1 and "episode 1 ends with the next step" in told[0]
    assert [t.truncated for t in played(session, 1)] == [False, True]
    assert [p.episode for p in session.pending()] == [0, 2]


# --- what is refused ---


@pytest.mark.parametrize(
    "algorithm, options, why",
    [
        ("rsnn_dream", {}, "rsnn_dream learns from one episode at a time"),
        ("popsan", {"env_alone": True}, "env_alone:=true one"),
        ("popsan", {"envs": 257}, "outside 1..256"),
    ],
)
def test_what_cannot_have_copies_is_refused_before_anything_is_made(tmp_path, algorithm, options, why):
    with pytest.raises(UserError, match=why):
        spiking_wm.train(algorithm, ENV, run=tmp_path / "run", progress=False, **{"envs": 2} | options)
    assert not (tmp_path / "run").exists()


def test_one_environment_has_no_copies(tmp_path):
    with pytest.raises(UserError, match="envs:=2 needs 2 environments: give a function that makes them"):
        spiking_wm.train("popsan", Reach(), run=tmp_path / "run", envs=2, progress=False)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_sent_to_other_processes_says_what_to_do(tmp_path):
    held = open(tmp_path / "held", "w")  # noqa: SIM115, cannot be pickled

    def make():
        held.write("made")
        return Reach()

    with pytest.raises(UserError, match="cannot be sent to other processes.*env_processes:=false"):
        Session(make, 0, 10, envs=2)
    session = Session(make, 0, 10, envs=2, processes=False)
    assert len(session.pending()) == 2
    session.close()
    held.close()


def test_a_run_goes_on_with_as_many_copies_as_it_had(tmp_path, tiny):
    run = start(tmp_path / "run", tiny | {"envs": 2, "env_processes": False, "steps": 20}, "popsan")
    train(run)
    with pytest.raises(UserError, match=r"envs:=3 is not that of the run to resume \(envs:=2\)"):
        spiking_wm.resume(run, steps=30, envs=3, progress=False)
    assert spiking_wm.resume(run, steps=30, envs=2, progress=False).config.options["envs"] == 2


def test_recordings_are_of_one_copy_for_one_copy(tmp_path, tiny):
    session = Session(ENV, 0, 100, envs=2, processes=False)
    seen = played(session, 3)
    for envs, why in ((1, "the recording is of several copies.*record with envs:=1"), (2, "has envs:=2")):
        run = start(tmp_path / str(envs), tiny | {"envs": envs}, "popsan")
        learning = LearningRun(run, session.spaces)
        with pytest.raises(UserError, match=why):
            take_in(learning.learner, seen)
        learning.close()


def test_pictures_are_of_the_first_copy():
    for env, kwargs in (("CartPole-v1", {"render_mode": "rgb_array"}), (ENV, {})):
        seen = []
        for processes in (True, False):
            session = Session(env, 0, 100, env_kwargs=kwargs, envs=2, processes=processes)
            session.apply([session.rest_action()] * 2, 0)
            seen.append(session.camera.snap())
            assert not session.camera.failure
            session.close()
        for one, two in zip(*seen):
            np.testing.assert_array_equal(one, two)
