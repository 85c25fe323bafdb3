"""What users call from Python."""

import signal
import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest
import torch

import spiking_wm
from spiking_wm.core.storage import load, pack
from spiking_wm.envs.make import make_env, source_of
from spiking_wm.runs import in_process
from spiking_wm.training.learner import Learner
from test.conftest import ENV, TINY
from test.own_agent import Reach, make_reach

SMALL = {"actor_hidden": [16], "critic_hidden": [16], "progress": False}
NEVER = {"evaluation": {"every": 0}}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "run"
    options = {name: value for name, value in TINY.items() if name != "steps"}
    return spiking_wm.train("popsan_dream", ENV, steps=120, seed=1, run=path, **options, **SMALL)


def test_importing_is_fast_and_loads_neither_torch_nor_ros():
    command = "import sys, spiking_wm; print([m for m in ('torch', 'rclpy', 'mujoco') if m in sys.modules])"
    began = time.monotonic()
    assert subprocess.check_output([sys.executable, "-c", command], text=True).strip() == "[]"
    assert dir(spiking_wm) == sorted([*spiking_wm.__all__, "__version__"])  # and nothing that it is made of
    assert time.monotonic() - began < 15  # 0.1 s here; what is loaded decides, and is checked above


def test_train_evaluate_dream_and_resume(run):
    assert [evaluation.step for evaluation in run.evaluations] == [0, 60, 120]
    assert run.evaluations[-1].mean == np.mean(run.evaluations[-1].returns)
    figures = spiking_wm.evaluate(run, episodes=3)
    assert len(figures.returns) == len(figures.lengths) == 3
    assert figures == spiking_wm.evaluate(spiking_wm.load_policy(run), episodes=3)
    assert figures.mean == np.mean(figures.returns) == np.mean(figures.lengths) - 1  # nothing for falling
    dreams = len(run.table("dreams"))
    spiking_wm.dream(run, rollouts=32, progress=False)
    assert [int(row["rollouts"]) for row in run.table("dreams")[dreams:]] == [32]
    resumed = spiking_wm.resume(run.path, steps=130, progress=False)
    assert resumed.path == run.path and run.evaluations[-1].step == 130
    with pytest.raises(spiking_wm.UserError, match="has done its 130 steps"):
        spiking_wm.resume(run, progress=False)
    assert len(run.plot().axes) == 1


def test_it_is_the_same_code_that_trains_without_it(run, tmp_path):
    from spiking_wm.core.presets import resolve
    from spiking_wm.runs.folder import Run

    given = TINY | {"seed": 1, "actor_hidden": [16], "critic_hidden": [16]}
    other = Run.create(tmp_path / "run", resolve("popsan_dream", ENV, given), ENV)
    learner = in_process.train(other)
    one, _ = load(other.newest() / "agent.safetensors")
    again = spiking_wm.train("popsan_dream", ENV, run=tmp_path / "again", **given, progress=False)
    two, _ = load(again.newest() / "agent.safetensors")
    assert learner.step == 120
    assert one.keys() == two.keys() and all((one[name] == two[name]).all() for name in one)


def test_a_loaded_policy_acts_and_its_state_is_its_own(run):
    player, env = spiking_wm.load_policy(run), spiking_wm.make(ENV)
    observation, _ = env.reset(seed=0)
    player.reset()
    first = player.act(observation)
    assert env.action_space.contains(first)
    np.testing.assert_array_equal(first, spiking_wm.load_policy(run.newest()).act(observation))
    bundle = sorted(run.policies.glob("*.safetensors"))[-1]
    assert spiking_wm.load_policy(bundle).env == ENV
    with pytest.raises(spiking_wm.UserError, match="shape"):
        player.act(np.zeros(3))


@pytest.mark.parametrize("env", [Reach, make_reach, "test.own_agent:make_reach", "test.own_agent:Reach-v7"])
def test_environments_by_function_and_by_module(env, tmp_path):
    run = spiking_wm.train(
        "popsan", env, steps=60, run=tmp_path / "run", warmup=20, evaluate_every=30, **SMALL
    )
    assert [evaluation.step for evaluation in run.evaluations] == [0, 30, 60]
    assert spiking_wm.evaluate(run, episodes=1, env=env).lengths == (Reach.length,)


def test_an_environment_that_there_is_only_one_of_is_trained_in_and_not_evaluated_in(tmp_path):
    only = Reach()
    run = spiking_wm.train("popsan", only, steps=60, run=tmp_path / "run", warmup=20, **SMALL)
    assert run.evaluations == [] and not only.closed  # it is the caller's
    assert run.config.origins["evaluation.every"] == "a single environment"
    with pytest.raises(spiking_wm.UserError, match="second environment"):
        spiking_wm.train("popsan", Reach(), steps=60, run=tmp_path / "other", evaluate_every=10, **SMALL)
    made = gym.make(ENV)  # Gymnasium can make another one like it
    run = spiking_wm.train("popsan", made, steps=40, run=tmp_path / "third", evaluate_every=40, **SMALL)
    assert len(run.evaluations) == 2


@pytest.mark.parametrize(
    ("algorithm", "env", "options", "told"),
    [
        ("popsan_draem", ENV, {}, "did you mean 'popsan_dream'"),
        (5, ENV, {}, "unknown algorithm '5'"),
        ("popsan", "InvertedPendulum-v55", {}, "did you mean 'InvertedPendulum-v5'"),
        ("popsan", "no_such_module:Env-v0", {}, "no module 'no_such_module'"),
        ("popsan", "test.own_agent:Other-v0", {}, "registers no environment 'Other-v0'"),
        ("popsan", "test.own_agent:Reach.no", {}, "registers no environment 'Reach.no'"),
        ("popsan", ":Env", {}, "cannot be imported"),
        ("popsan", "json:dumps", {}, "cannot be made: TypeError"),
        ("popsan", "os:getcwd", {}, "makes no Gymnasium environment but str"),
        ("popsan", None, {}, "env is NoneType: give an id"),
        ("popsan", gym.make_vec("CartPole-v1", 2), {}, "not a vectorised one"),
        ("popsan", lambda: 1 / 0, {}, "cannot be made: ZeroDivisionError"),
        ("popsan", gym.Env, NEVER, "Env has observations None"),
        ("popsan", ENV, {"crtic_lr": 1e-3}, "did you mean 'critic.lr'"),
        ("popsan", ENV, {"critic": {"lr": 1e-3}, "critic_lr": 1e-4}, "'critic_lr' are the same option"),
        ("popsan", ENV, {"critic": {"lr": 2}}, "critic.lr:=2.0 is outside 0..1"),
        ("popsan", ENV, {"critic": {"hidden": "many"}}, "is not a list of whole numbers"),
        ("popsan", "CartPole-v1", NEVER, "continuous actions"),
    ],
)
def test_what_cannot_run_is_refused_by_one_line_and_leaves_nothing(tmp_path, algorithm, env, options, told):
    with pytest.raises(spiking_wm.UserError, match=told) as refused:
        spiking_wm.train(algorithm, env, steps=10, run=tmp_path / "run", progress=False, **options)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


def test_a_run_is_not_overwritten(run, tmp_path):
    with pytest.raises(spiking_wm.UserError, match=r"is a run already.* or spiking_wm.resume\("):
        spiking_wm.train("popsan_dream", ENV, run=run.path)
    (tmp_path / "begins").mkdir()  # in another process, this moment
    (tmp_path / "begins" / "config.yaml").touch()
    with pytest.raises(spiking_wm.UserError, match="choose another folder$"):
        spiking_wm.train("popsan_dream", ENV, run=tmp_path / "begins")
    assert (tmp_path / "begins" / "config.yaml").exists()


def test_what_lies_in_a_folder_stays_there_and_is_no_place_for_a_run(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for path in (tmp_path, tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "run", tmp_path / "\0", 5):
        with pytest.raises(spiking_wm.UserError, match="choose|give its folder"):
            spiking_wm.train("popsan", "CartPole-v1", run=path, progress=False)  # serves no discrete actions
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_runs_are_where_they_were_made_wherever_the_working_directory_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = {"steps": 12, "warmup": 20, "progress": False, **NEVER}
    one, two = (spiking_wm.train("popsan", Reach, **options) for _ in range(2))  # within one second
    named = spiking_wm.train("popsan", Reach, run="with space/lauf ü", **options)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert one.path != two.path and one.path.parent == two.path.parent == tmp_path / "runs"
    for run in (one, two, named):
        assert len(run.table("episodes")) == 1 and spiking_wm.load_policy(run).env == run.config.env
    assert spiking_wm.Run(str(named.path)).newest() == named.newest()


def test_a_changed_environment_counts_as_another_one(tmp_path):
    short = gym.make(ENV, max_episode_steps=3)
    options = {"steps": 12, "warmup": 20, "run": tmp_path / "run", "evaluate_every": 12, **SMALL}
    run = spiking_wm.train("popsan", short, **options)
    assert run.config.env == f"{ENV} (changed)"
    assert spiking_wm.evaluate(run, episodes=1, env=short).lengths == (3,)
    for call in (lambda: spiking_wm.evaluate(run), lambda: spiking_wm.resume(run, steps=20)):
        with pytest.raises(spiking_wm.UserError, match="give env="):
            call()
    assert spiking_wm.resume(run, steps=15, env=short, progress=False).config.options["steps"] == 15
    assert source_of(gym.make(ENV, render_mode="rgb_array")).name == ENV
    wrapped = type("Wrapper", (gym.Wrapper,), {})(gym.make(ENV))  # how to make another one nobody knows
    assert source_of(wrapped).single and make_env(wrapped) is wrapped


def test_a_resume_that_cannot_begin_leaves_the_run_as_it_was(run):
    before = {path.name: path.read_bytes() for path in run.path.glob("*.yaml")}
    for env, told in (("Nope-v0", "unknown env"), (lambda: 1 / 0, "cannot be made"), (Reach, "was made for")):
        with pytest.raises(spiking_wm.UserError, match=told):
            spiking_wm.resume(run, steps=999, env=env, progress=False)
    assert {path.name: path.read_bytes() for path in run.path.glob("*.yaml")} == before


REFUSED = "no whole number|no time|is no run|no checkpoint|not a run"


def test_numbers_that_mean_nothing_and_runs_that_are_none_are_refused(run):
    nothing = [lambda n=n: spiking_wm.evaluate(run, episodes=n) for n in (0, -1, 1.5, "3", None, True)]
    nothing += [lambda n=n: spiking_wm.dream(run, rollouts=n) for n in (0, -1, 1.5, "x")]
    nothing += [lambda n=n: spiking_wm.dream(run, updates=n) for n in (0, "x")]
    nothing += [lambda n=n: spiking_wm.dream(run, seconds=n) for n in (0, -1, float("nan"), "x")]
    nothing += [lambda: spiking_wm.evaluate(run, seed=-1)]
    calls = (spiking_wm.load_policy, spiking_wm.evaluate, spiking_wm.resume, spiking_wm.dream)
    nothing += [lambda call=call, it=it: call(it) for call in calls for it in (None, 5, b"run", "no/such")]
    for call in nothing:
        with pytest.raises(spiking_wm.UserError, match=REFUSED):
            call()


class Wrong(Reach):
    """Returns what is asked for instead of what it should."""

    def __init__(self, how):
        super().__init__()
        self.how = how

    def reset(self, **given):
        observation, info = super().reset(**given)
        return {"no tuple": 5, "text": ("x", info)}.get(self.how, (observation, info))

    def step(self, action):
        observation, reward, *rest = super().step(action)
        reward = {"none": None, "nan": np.nan, "list": [reward]}.get(self.how, reward)
        return (observation, reward, *rest[: -1 if self.how == "four" else None])


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("no tuple", r"reset\(\) of Wrong"),
        ("text", "no array of numbers"),
        ("none", r"step\(\) of Wrong"),
        ("list", r"step\(\) of Wrong"),
        ("four", r"step\(\) of Wrong"),
        ("nan", "the reward of step 0 is nan"),
    ],
)
def test_environments_that_return_something_else_are_told_what(tmp_path, how, told):
    with pytest.raises(spiking_wm.UserError, match=told):
        spiking_wm.train("popsan", lambda: Wrong(how), steps=9, run=tmp_path / "run", **NEVER, **SMALL)


class Interrupts(Reach):
    """Sends signals to this process while it takes its 25th step."""

    signals = ()
    taken = 0

    def step(self, action):
        self.taken += 1
        for number in self.signals if self.taken == 25 else ():
            signal.raise_signal(number)
        return super().step(action)


def interrupting(*signals):
    env = Interrupts()
    env.signals = signals
    return env


@pytest.fixture
def heeding_ctrl_c():
    """A shell that starts this in the background has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_ends_training_cleanly(tmp_path, capsys, heeding_ctrl_c):
    options = {"steps": 500, "warmup": 500, **SMALL}
    run = spiking_wm.train("popsan", interrupting(signal.SIGINT), run=tmp_path / "one", **options)
    assert "resume(" in capsys.readouterr().out and run.newest().name.startswith("step_0000000025")
    resumed = spiking_wm.resume(run, env=interrupting(), steps=30, progress=False)
    assert resumed.newest().name.startswith("step_0000000030")
    with pytest.raises(KeyboardInterrupt):  # who cannot wait sends two
        env = interrupting(signal.SIGINT, signal.SIGINT)
        spiking_wm.train("popsan", env, run=tmp_path / "two", **options)
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append(True))
    try:  # the checkpoint comes first, then the end of the process, or what its owner would have instead
        run = spiking_wm.train("popsan", interrupting(signal.SIGTERM), run=tmp_path / "three", **options)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert came and run.newest().name.startswith("step_0000000025")


def test_an_interrupt_ends_a_dream_and_what_it_learned_is_saved(run, monkeypatch):
    work = Learner.work

    def interrupted(learner):
        if learner.progress.rollouts >= 32:
            signal.raise_signal(signal.SIGINT)
        return work(learner)

    before = run.newest()
    monkeypatch.setattr(Learner, "work", interrupted)
    spiking_wm.dream(run, seconds=600, progress=False)
    assert 32 <= int(run.table("dreams")[-1]["rollouts"]) < 10_000
    assert run.newest() != before


def test_the_callers_torch_keeps_its_threads(run):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        spiking_wm.dream(run, rollouts=16, progress=False)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_notebook_shows_the_figure(run):
    assert run.plot()._repr_png_().startswith(b"\x89PNG")


def test_what_is_no_bundle_is_refused(run, tmp_path):
    whole = (run.newest() / "policy.safetensors").read_bytes()
    for name, content in (("cut", whole[:-9]), ("head", whole[:20]), ("empty", b""), ("text", b"x" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(spiking_wm.UserError, match="damaged or not ours"):
            spiking_wm.load_policy(tmp_path / name)
    for facts in ({}, {"agent": "popsan", "version": 1, "options": {}}, {"spaces": "{}"}):
        (tmp_path / "other").write_bytes(pack({"a": np.zeros(1)}, facts))
        with pytest.raises(spiking_wm.UserError, match="policy bundle"):
            spiking_wm.load_policy(tmp_path / "other")
    with pytest.raises(spiking_wm.UserError, match="policy bundle"):
        spiking_wm.load_policy(run.newest() / "agent.safetensors")
