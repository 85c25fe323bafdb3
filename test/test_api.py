"""What users call from Python."""

import subprocess
import sys
import time

import gymnasium as gym
import numpy as np
import pytest

import spiking_wm
from spiking_wm.core import registry
from spiking_wm.core.storage import load
from spiking_wm.runs import in_process
from spiking_wm.testing import AgentConformance
from test.conftest import ENV, TINY
from test.own_agent import Guesser, Reach, make_reach

SMALL = {"actor_hidden": [16], "critic_hidden": [16], "progress": False}
NEVER = {"evaluation": {"every": 0}}


@pytest.fixture
def guesser(monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    spiking_wm.register_agent("guesser", Guesser, Guesser.preset)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("api") / "run"
    options = {name: value for name, value in TINY.items() if name != "steps"}
    return spiking_wm.train("popsan_dream", ENV, steps=120, seed=1, run=path, **options, **SMALL)


def test_importing_is_fast_and_loads_neither_torch_nor_ros():
    command = "import sys, spiking_wm; print([m for m in ('torch', 'rclpy', 'mujoco') if m in sys.modules])"
    began = time.monotonic()
    assert subprocess.check_output([sys.executable, "-c", command], text=True).strip() == "[]"
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
        ("popsan", "InvertedPendulum-v55", {}, "did you mean 'InvertedPendulum-v5'"),
        ("popsan", "no_such_module:Env-v0", {}, "no module 'no_such_module'"),
        ("popsan", "test.own_agent:Other-v0", {}, "registers no environment 'Other-v0'"),
        ("popsan", ENV, {"crtic_lr": 1e-3}, "did you mean 'critic.lr'"),
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


def test_a_run_is_not_overwritten(run):
    with pytest.raises(spiking_wm.UserError, match="is a run already"):
        spiking_wm.train("popsan_dream", ENV, run=run.path)


# --- algorithms of other packages ---


def test_a_registered_agent_is_an_algorithm_like_all_others(guesser, tmp_path):
    run = spiking_wm.train(
        "guesser", "CartPole-v1", steps=50, run=tmp_path / "run", lr=0.5, evaluate_every=25, progress=False
    )
    assert run.config.options["lr"] == 0.5 and run.config.origins["learn_after"] == "guesser"
    assert len(run.evaluations) == 3
    with pytest.raises(spiking_wm.UserError, match="no world model"):
        spiking_wm.dream(run, progress=False)


def test_names_that_are_taken_or_cannot_be_are_refused(guesser):
    for name in ("popsan", "Spiking-Q", ""):
        with pytest.raises(spiking_wm.UserError):
            spiking_wm.register_agent(name, Guesser)
    with pytest.raises(spiking_wm.UserError, match="options_class"):
        spiking_wm.register_agent("other", type("Other", (), {}))


def test_an_entry_point_brings_an_agent(monkeypatch, tmp_path):
    package = tmp_path / "other-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[spiking_wm.agents]\nof_others = test.own_agent:Guesser\n")
    command = (
        "import spiking_wm; from spiking_wm.core.presets import algorithms;"
        " assert 'of_others' in algorithms();"
        " run = spiking_wm.train('of_others', 'CartPole-v1', steps=20, run='run', evaluate_every=0,"
        " progress=False); print(run.config.algorithm)"
    )
    paths = f"{tmp_path}:{spiking_wm.__file__.rsplit('/', 2)[0]}"
    told = subprocess.check_output(
        [sys.executable, "-c", command], env={"PYTHONPATH": paths, "PATH": ""}, cwd=tmp_path, text=True
    )
    assert told.strip() == "of_others"


class TestGuesser(AgentConformance):
    """The conformance suite serves agents of other packages."""

    algorithm, env, options = "guesser", "CartPole-v1", {"lr": 0.2}

    @pytest.fixture(autouse=True)
    def registered(self, guesser):
        """Known while these tests run."""
