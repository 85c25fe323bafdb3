"""Environments of every kind: what they return is learned from as it is, or refused in one line."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces as gym_spaces

import spiking_wm
from spiking_wm.core.actions import Actions
from spiking_wm.core.errors import UserError
from spiking_wm.core.files import newest_checkpoint
from spiking_wm.core.flat_spaces import actions, observations
from spiking_wm.core.game_loop import LONGEST, begin, limit_of, play, take_step
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.storage import load
from spiking_wm.envs.camera import Camera
from spiking_wm.envs.make import make_env
from spiking_wm.runs.report import report
from spiking_wm.training.episodes import RunningEpisode
from spiking_wm.training.evaluation import evaluate
from spiking_wm.training.session import Session
from test import environments
from test.environments import Alone, Case, Forgetful, ManyChoices, NoLimit, ReusedBuffer

ROOT = Path(__file__).resolve().parents[1]
SHORT = {
    "steps": 100,
    "learn_after": 20,
    "checkpoint_every": 30,
    "evaluation_every": 100,
    "evaluation_episodes": 1,
    "progress": False,
}
POPSAN = SHORT | {"actor_hidden": [16], "critic_hidden": [16], "warmup": 20, "batch": 16}
DSQN = SHORT | {"hidden": 16, "replay": 1000, "batch": 16}
pytestmark = [  # of Gymnasium, about what is wrong here
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def id_of(case: str) -> str:
    return f"test.environments:Case{case}-v0"


def train(case: str, path: Path, algorithm: str = "popsan", **given) -> spiking_wm.Run:
    options = {"popsan": POPSAN, "dsqn": DSQN}[algorithm]
    return spiking_wm.train(algorithm, id_of(case), run=path, **options | given)


def newest_loads(run: Path) -> int:
    """Load the newest checkpoint of a run; returns its step."""
    checkpoint = newest_checkpoint(run)
    spiking_wm.load_policy(checkpoint)
    return load(checkpoint / "agent.safetensors")[1]["learner"]["step"]


# --- what is served ---


@pytest.mark.parametrize(
    ("case", "algorithm"),
    [
        ("ArrayReward", "popsan"),
        ("DoubleBounds", "popsan"),
        ("WholeActions", "popsan"),
        ("NamedValues", "popsan"),
        ("Pairs", "popsan"),
        ("Numbered", "popsan"),
        ("Bytes", "popsan"),
        ("PeriodMethod", "popsan"),
        ("DrawsBadly", "popsan"),
        ("ManyChoices", "dsqn"),
        ("Switches", "dsqn"),
    ],
)
def test_it_is_served(tmp_path, case, algorithm):
    run = train(case, tmp_path / "run", algorithm)
    assert [evaluation.step for evaluation in run.evaluations] == [0, 100]
    assert newest_loads(run.path) == 100
    assert len(spiking_wm.evaluate(run, episodes=1).lengths) == 1


def test_an_environment_that_reuses_its_array_is_copied_from():
    env, action = ReusedBuffer(), np.zeros(1, np.float32)
    session = Session(lambda: env, 0, 100)
    transitions = [session.apply([session.rest_action()], 1)[0] for _ in range(20)]
    assert not any((t.observation == t.next_observation).all() for t in transitions)
    assert all((a.next_observation == b.observation).all() for a, b in zip(transitions, transitions[1:]))
    observation = begin(env, 0)
    step = take_step(env, observation, action)
    assert not (observation == step.next_observation).any()
    steps = [step for (step,) in play([env], [0], lambda *_: [action])]
    assert not any((step.observation == step.next_observation).all() for step in steps)


def test_a_policy_takes_what_the_environment_gives_and_gives_what_it_takes(tmp_path):
    run = train("ManyChoices", tmp_path / "run", "dsqn", steps=30, evaluation_every=0)
    policy, env = spiking_wm.load_policy(run), spiking_wm.make(id_of("ManyChoices"))
    seen, _ = env.reset(seed=0)
    action = policy.act(seen)
    assert env.action_space.contains(action) and policy.policy.spaces.observation.shape == (5,)
    vector = np.concatenate([np.eye(3)[seen["a"]], seen["b"]])  # keys in sorted order
    policy.reset()
    np.testing.assert_array_equal(policy.act(vector), action)
    with pytest.raises(UserError, match=r"observation\['a'\] is missing"):
        policy.act({"b": seen["b"]})
    with pytest.raises(UserError, match=r"observation\['a'\] is 3, outside Discrete\(3\)"):
        policy.act(seen | {"a": 3})


def test_all_combinations_of_actions_are_served():
    space = actions(ManyChoices.action_space)
    made = [tuple(space.convert(k)) for k in range(space.n)]
    assert sorted(set(made)) == [(a, b) for a in (1, 2, 3) for b in (0, 1)]
    assert all(space.source.contains(space.convert(k)) for k in range(space.n))


def test_pictures_whose_channels_come_first_are_turned():
    spaces = Spaces.of(make_env(id_of("ChannelsFirst")))
    assert spaces.observation.shape == (64, 48, 3)
    picture = np.arange(3 * 64 * 48).reshape(3, 64, 48).astype(np.uint8)
    np.testing.assert_array_equal(spaces.check_observation(picture)[..., 1], picture[1])
    for shape in ((10, 10, 4), (84, 84, 4), (7, 7, 3), (64, 64, 1)):  # ours have them last
        assert observations(gym_spaces.Box(0, 255, shape, np.uint8)).shape == shape


def test_bytes_do_not_wrap():
    vector = Spaces.of(environments.Bytes()).check_observation(np.array([3, 200, 0, 255], np.uint8))
    assert (vector[0] - vector[1], vector.dtype) == (-197, np.float32)
    spaces = Spaces.of(environments.ChannelsFirst())
    with pytest.raises(UserError, match="outside 0 to 255"):
        spaces.check_observation(np.full((3, 64, 48), 256))


def test_float32_actions_are_inside_bounds_of_double_precision():
    for bound in (0.1, np.pi, 1 / 3, 1e-8, 1e30, 1e300):
        space = actions(gym_spaces.Box(-bound, bound, (1,), np.float64))
        assert -bound <= space.low[0] < space.high[0] <= bound
        assert space.high[0] == pytest.approx(min(bound, np.finfo(np.float32).max))
    with pytest.raises(UserError, match="has no range"):
        actions(gym_spaces.Box(0.1, 0.1 + 1e-12, (1,), np.float64))


def test_actions_of_whole_numbers_are_rounded():
    spaces = Spaces.of(environments.WholeActions())
    assert spaces.action.dtype == np.float32 and Actions(spaces, "popsan").code(spaces.action.high) == [1]
    assert Actions(spaces, "popsan").action(np.zeros(1)) == [175]  # 100 + 250 does not fit into a byte
    given = spaces.env_action(np.array([174.6], np.float32))
    assert (given, given.dtype) == ([175], np.uint8)
    assert Spaces.from_json(spaces.to_json()).env_action(np.array([174.6], np.float32)) == [175]


# --- limits, arguments, instances ---


def test_evaluations_without_a_time_limit_are_cut_off_with_a_warning(tmp_path, capsys):
    run = train("NoLimit", tmp_path / "run", evaluation_episodes=2, evaluation_longest=40)
    assert [evaluation.returns for evaluation in run.evaluations] == [(40.0, 40.0)] * 2
    assert capsys.readouterr().out.count("was cut off after 40 steps: register the environment") == 1
    player = spiking_wm.load_policy(run)
    assert evaluate(player.policy, NoLimit(), range(2), longest=30).lengths == (30, 30)
    assert capsys.readouterr().out.count("was cut off after 30 steps") == 1
    assert limit_of(NoLimit()) == LONGEST and limit_of(make_env("CartPole-v1")) == 500
    assert limit_of(make_env("CartPole-v1"), 7) == 7


def test_arguments_reach_the_environment_and_stay_with_the_run(tmp_path):
    run = train("NeedsArgument", tmp_path / "run", env_kwargs={"length": 2})
    assert run.evaluations[-1].mean == 50 and run.config.env_kwargs == {"length": 2}
    assert spiking_wm.evaluate(run, episodes=1).mean == 50
    assert run.config.make_env().unwrapped.length == 2
    again = spiking_wm.resume(run, steps=200, progress=False)
    assert again.evaluations[-1].mean == 50
    assert spiking_wm.make("CartPole-v1", {"max_episode_steps": 3}).spec.max_episode_steps == 3
    with pytest.raises(UserError, match="can hold what JSON can"):
        train("NeedsArgument", tmp_path / "other", env_kwargs={"length": object()})
    with pytest.raises(UserError, match="still to be made"):
        make_env(Case(), {"length": 2})


def test_an_environment_that_must_be_alone_is_made_once(tmp_path):
    made = Alone.made
    options = {name: value for name, value in POPSAN.items() if name != "evaluation_every"}
    run = spiking_wm.train("popsan", id_of("Alone"), run=tmp_path / "run", env_alone=True, **options)
    assert run.evaluations == [] and Alone.made == made + 1 and not Alone.open
    assert run.config.origins["evaluation.every"] == "env_alone"
    report(run)
    assert Alone.made == made + 1
    with pytest.raises(UserError, match="there is only one"):
        spiking_wm.resume(run, steps=200, evaluation_every=100, progress=False)
    assert newest_loads(run.path) == 100


def test_without_evaluations_there_is_one_instance(tmp_path):
    made = Alone.made
    train("Alone", tmp_path / "run", evaluation_every=0)
    assert Alone.made == made + 1
    Session(id_of("Alone"), 0, steps=0, evaluate_every=1).close()  # evaluations only
    assert Alone.made == made + 2 and not Alone.open


def test_environments_of_installed_packages_are_found(tmp_path):
    info = tmp_path / "arms-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: arms\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[gymnasium.envs]\narms = test.environments:register\nbroken = no_such_module:register\n"
    )
    code = "from spiking_wm.envs.make import make_env; print(make_env('CasePairs-v0').spec.id)"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == "CasePairs-v0", done.stderr
    assert "warning: no_such_module:register registers no environments" in done.stdout


# --- resuming, pictures ---


def test_an_episode_that_is_not_repeated_is_told_and_ends(tmp_path, capsys):
    train("Forgetful", tmp_path / "run", steps=40)
    run = spiking_wm.resume(tmp_path / "run", steps=100, progress=False)
    assert capsys.readouterr().out.count("does not repeat its episode") == 1
    assert [int(row["length"]) for row in run.table("episodes")] == [25, 16, 25, 25]
    assert newest_loads(run.path) == 100


def test_an_episode_that_is_repeated_goes_on(tmp_path, capsys):
    for case in ("ReusedBuffer", "NamedValues"):
        train(case, tmp_path / case, steps=40)
        run = spiking_wm.resume(tmp_path / case, steps=100, progress=False)
        assert "does not repeat" not in capsys.readouterr().out
        assert [int(row["length"]) for row in run.table("episodes")] == [25, 25, 25, 25]


def test_a_replay_that_ends_early_is_another_episode():
    class Hasty(Forgetful):
        steps = 3

    told = []
    session = Session(Hasty, 0, 100, warn=told.append)
    session.resume(10, [RunningEpisode(0, -1, [np.zeros(1, np.float32)] * 10, np.zeros(3, np.float32))])
    assert len(told) == 1 and session.training_step == 10
    assert session.apply([session.rest_action()], 1)[0].truncated
    (pending,) = session.pending()
    assert (pending.episode, pending.episode_step, pending.step) == (1, 0, 11)


@pytest.mark.parametrize("case", ["DrawsBadly", "DrawsNothing"])
def test_what_cannot_be_drawn_is_told_once(case):
    camera = Camera(make_env(id_of(case)))
    assert camera.snap() is None and camera.snap() is None
    assert f"Case{case}-v0 cannot be drawn" in camera.failure or f"{case} cannot be drawn" in camera.failure


NO_OPENGL = """
import sys
class Broken:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "OpenGL":
            raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")
sys.meta_path.insert(0, Broken())
from spiking_wm.envs.make import make_env
try:
    make_env("dm_control/cartpole-swingup-pixels-v0")
except ValueError as error:
    print(error)
env = make_env("dm_control/cartpole-swingup-v0")
env.reset(seed=0)
print(env.step(env.action_space.sample())[0].shape)
"""


def test_vectors_of_dm_control_need_no_opengl():
    pytest.importorskip("dm_control")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MUJOCO_GL": "egl"}
    done = subprocess.run([sys.executable, "-c", NO_OPENGL], capture_output=True, text=True, env=environment)
    refused, shape = done.stdout.splitlines()
    assert "pictures need OpenGL, which MUJOCO_GL=egl does not give" in refused and shape == "(5,)"


def test_a_data_set_of_minaris_server_says_what_to_install(monkeypatch):
    pytest.importorskip("minari")
    from spiking_wm.datasets.demonstrations import load as load_demonstrations

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # also where it is installed
    with pytest.raises(UserError, match=r"pip install 'minari\[hf\]'"):
        load_demonstrations("mujoco/hopper/medium-v0")
