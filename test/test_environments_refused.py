"""Environments that are refused, or fail while they are learned in."""

import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces as gym_spaces

import spiking_wm
from spiking_wm.agents import TAKES, check_spaces
from spiking_wm.core.errors import UserError
from spiking_wm.core.presets import resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.core.spaces import Spaces
from test import environments
from test.test_environments import ROOT, id_of, newest_loads, train

pytestmark = [  # of Gymnasium, about what is wrong here
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
FAILS_BEFORE = {
    "NoRange": "whose value 1 has no range",
    "Unbounded": "finite low and high",
    "NoActions": "which hold nothing",
    "NothingSeen": "which hold nothing",
    "TooManyNumbers": "of 1000000000 values",
    "ManyChoices": "not observations of shape (5,) (float32) and actions 6 combinations of MultiDiscrete",
    "TooManyChoices": "have 10000 combinations, at most 1024",
    "TupleAction": "wrap it to take Box, Discrete, MultiDiscrete or MultiBinary",
    "ChannelsFirst": "popsan takes vectors",
    "SpacesFail": "RuntimeError: not connected",
    "NegativePeriod": "dt -0.02, which gives no control period",
    "PeriodFails": "a dt that fails: RuntimeError: no clock",
    "TextPictures": "render_fps 'fast'",
    "NeedsArgument": "'length'",
    "OutsideNumber": "observation is -1, outside Discrete(7)",
    "Alone": "port busy; it is the second one, for evaluations: env_alone:=true does without",
}


@pytest.mark.parametrize("case", FAILS_BEFORE)
def test_what_does_not_fit_is_refused_before_anything_is_learned(tmp_path, case):
    with pytest.raises(UserError) as refused:
        train(case, tmp_path / "run")
    assert FAILS_BEFORE[case] in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


FAILS_LATE = {
    "NanReward": "the reward of step 64 is nan in CaseNanReward-v0",
    "InfiniteReward": "the reward of step 64 is inf in CaseInfiniteReward-v0",
    "NoneReward": "step() of CaseNoneReward-v0 must return",
    "TextReward": "the reward is '1.0' (step 64)",
    "WideReward": "step() of CaseWideReward-v0",
    "StepRaises": "step() of CaseStepRaises-v0 fails: RuntimeError: motor 3 is hot",
    "Exits": "step() of CaseExits-v0 fails: SystemExit",
    "ResetRaises": "reset() of CaseResetRaises-v0 fails: OSError: port gone",
    "NoInfo": "step() of CaseNoInfo-v0",
    "NoFlag": "terminated is None (step 64)",
}


@pytest.mark.parametrize("case", FAILS_LATE)
def test_an_environment_that_fails_leaves_one_line_a_traceback_and_a_checkpoint(tmp_path, case):
    with pytest.raises(UserError) as failed:
        train(case, tmp_path / "run", evaluation_every=0)
    assert FAILS_LATE[case] in str(failed.value) and "\n" not in str(failed.value)
    assert newest_loads(tmp_path / "run") == {"StepRaises": 65, "Exits": 65, "ResetRaises": 49}.get(case, 64)
    if "fails" in FAILS_LATE[case]:
        assert "test/environments.py" in (tmp_path / "run" / "log.txt").read_text()


def test_four_values_of_a_step_are_told_what_is_missing(tmp_path):
    with pytest.raises(UserError, match=r"step\(\) of CaseOldApi-v0.* \(observation, reward, terminated"):
        train("OldApi", tmp_path / "run")


def test_an_environment_that_cannot_be_closed_fails_after_everything_is_saved(tmp_path):
    with pytest.raises(
        UserError, match=r"close\(\) of CaseCloseRaises-v0 fails: RuntimeError: port is stuck"
    ):
        train("CloseRaises", tmp_path / "run")
    assert newest_loads(tmp_path / "run") == 100
    with pytest.raises(UserError, match="motor 3 is hot"):  # not what comes after it
        spiking_wm.evaluate(tmp_path / "run", episodes=1, env=environments.NothingWorks)


FAR_KERNELS = [
    f"network.{name}:=[{value}]" for name, value in (("channels", 4), ("kernels", 12), ("strides", 1))
]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["env:=CartPole-v1"], "popsan takes vectors and bounded continuous actions"),
        ([f"env:={id_of('Unbounded')}"], "finite low and high"),
        ([f"env:={id_of('NeedsArgument')}"], "give its arguments as env_kwargs:='{name: value}'"),
        ([f"env:={id_of('NeedsArgument')}", "env_kwargs:=[2]"], "env_kwargs:=[2] is no mapping"),
        ([f"env:={id_of('Case')}", "env_alone:=true", "evaluation.every:=5"], "evaluation.every:=0"),
        (["--in-process", f"env:={id_of('Unbounded')}"], "finite low and high"),
        (
            ["algorithm:=dsqn", "env:=minatar/Breakout-v0", *FAR_KERNELS],
            "pictures of 10 x 10 are too small for network.kernels:=[12]",
        ),
    ],
)
def test_it_is_refused_in_one_line_before_nodes_start(tmp_path, arguments, told):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-W", "ignore", "-m", "spiking_wm_ros.cli", "train", "algorithm:=popsan"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [*command, *arguments, f"run:={tmp_path / 'run'}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 2 and told in done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 6  # s; 2 to 3 where quiet


BOX, DISCRETE = gym_spaces.Box(-1, 1, (2,), np.float32), gym_spaces.Discrete(3)
SEEN = {
    "vector": gym_spaces.Box(-1, 1, (4,), np.float32),
    "matrix": gym_spaces.Box(-1, 1, (4, 4), np.float32),
    "grey picture": gym_spaces.Box(0, 255, (64, 64), np.uint8),
    "picture": gym_spaces.Box(0, 255, (64, 64, 3), np.uint8),
    "float picture": gym_spaces.Box(0, 1, (64, 64, 3), np.float32),
}
DONE = {
    "box": BOX,
    "discrete": DISCRETE,
    "matrix": gym_spaces.Box(-1, 1, (2, 2), np.float32),
    "unbounded": gym_spaces.Box(-np.inf, 1, (2,), np.float32),
}
ALGORITHM = {
    "dqn": "dsqn",
    "popsan": "popsan",
    "rsnn": "rsnn",
    "rssm": "spiking_wm",
    "spiking_dt": "spiking_dt",
}


@pytest.mark.parametrize("agent", TAKES)
def test_what_an_agent_is_said_to_take_is_what_it_takes(agent):
    options = {"dataset": ""} if agent == "spiking_dt" else {}
    setup = resolve(ALGORITHM[agent], "CartPole-v1", options)
    assert setup.agent == agent
    for seen, observation in SEEN.items():
        for done, action in DONE.items():
            spaces = Spaces(observation, action, 0.02)
            try:
                made = agent_class(agent)
                if agent == "rsnn":  # its policy leaves the check to the agent
                    made(setup.agent_options, spaces, 0)
                else:
                    made.policy_class(setup.agent_options, spaces)
                takes = True
            except UserError:
                takes = False
            assert TAKES[agent].fit(spaces) is takes, (seen, done)
            if not takes:
                with pytest.raises(UserError, match="takes"):
                    check_spaces(agent, spaces)
