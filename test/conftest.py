import os
import signal
import sys
from functools import cache

import pytest
from hypothesis import settings

from spiking_wm.core.errors import UserError

settings.register_profile("no_clock", deadline=None, max_examples=30)
settings.load_profile("no_clock")

# Under nohup these are ignored, and would be in all commands that tests start.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# A domain of this test run's own: nothing else on this machine can answer its nodes.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 99)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

ENV = "InvertedPendulum-v5"
# a run so small that it takes seconds, with learning, dreams, evaluations and checkpoints in it
TINY = {
    "steps": 120,
    "learn_after": 40,
    "warmup": 40,
    "policy_every": 10,
    "dream_every": 50,
    "dream_after": 60,
    "dream_rollouts": 16,
    "dream_batch": 16,
    "evaluate_every": 60,
    "evaluation_episodes": 2,
    "checkpoint_every": 60,
    "batch": 16,
    "model_batch": 16,
    "model_first_updates": 2,
    "stop_when_solved": "false",
}

FIRST = "model_first_updates"  # PopSAN alone has it


def tiny_rsnn(tiny: dict) -> dict:
    """The same for the recurrent networks, whose policy remembers."""
    shared = {name: value for name, value in tiny.items() if not name.endswith("batch") and name != FIRST}
    return shared | {"neurons": 40, "horizon": 5, "updates_per_step": 0.1, "warmup": 0, "value_first": 0}


def tiny_latent(tiny: dict) -> dict:
    """The same for latent world models, which learn from sequences."""
    shared = {
        name: value for name, value in tiny.items() if name not in ("dream_batch", "model_batch", FIRST)
    }
    small = {"batch": 4, "length": 8, "horizon": 3, "starts": 8, "updates_per_step": 0.1}
    return shared | small | {"evaluation_episodes": 1}  # those of the DeepMind Control Suite are long


@cache
def env_for(algorithm: str) -> str:
    """An environment that the algorithm serves: with continuous actions if it can."""
    from spiking_wm.core.presets import resolve
    from spiking_wm.core.registry import agent_class
    from spiking_wm.training.session import Session

    setup = resolve(algorithm, ENV, {})
    try:
        agent_class(setup.agent)(setup.agent_options, Session(ENV, 0, 1).spaces, 0)
    except UserError:
        return "CartPole-v1"
    return ENV


def tiny_dqn(tiny: dict) -> dict:
    """The same for deep Q-networks."""
    shared = {name: value for name, value in tiny.items() if name not in ("model_batch", FIRST)}
    return shared | {"hidden": 16, "replay": 1000, "calibration": 32, "updates_per_step": 0.5}


def tiny_dt(tiny: dict) -> dict:
    """The same for decision transformers, without demonstrations."""
    shared = {name: value for name, value in tiny.items() if name not in ("model_batch", FIRST)}
    return shared | {
        "width": 16,
        "heads": 2,
        "context": 5,
        "dataset": "",
        "rollout": 20,
        "horizon": 3,
        "model_updates": 2,
    }


# options of a run as small, by algorithm
SMALL = {
    "popsan_dream": dict,
    "rsnn_dream": tiny_rsnn,
    "spiking_wm": tiny_latent,
    "dsqn_dream": tiny_dqn,
    "converted_sqn": tiny_dqn,
    "spiking_dt_dream": tiny_dt,
}


def pytest_runtest_logreport(report):
    """Name what has failed at once, not after half an hour."""
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:  # whose output is nowhere
        print(f"\nFAILED {report.nodeid}", flush=True)


def pytest_runtest_setup(item):
    """The DeepMind Control suite has no wheels for Python 3.13 and newer."""
    if "dm_control" in item.nodeid:
        pytest.importorskip("dm_control")


@pytest.fixture(autouse=True)
def all_numbers():
    """Whoever computed in this process before took the smallest numbers for 0; hypothesis wants them."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def tiny() -> dict:
    return dict(TINY)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run on the rover, hardly trained, with a world model."""
    from spiking_wm.core.presets import resolve
    from spiking_wm.runs.folder import Run
    from spiking_wm.runs.in_process import train

    path = tmp_path_factory.mktemp("rover") / "run"
    given = TINY | {"evaluate_every": 0, "dream_every": 0, "actor_hidden": "[16]", "critic_hidden": "[16]"}
    run = Run.create(path, resolve("popsan_dream", "Rover-v0", given), "Rover-v0")
    train(run)
    return path
