"""Optional packages: imported only when they are needed, and one line that names the extra if missing."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from spiking_wm.chips.backends.loihi_sim.simulator import Simulator
from spiking_wm.chips.nir import read, write
from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import NEWEST_PYTHON
from spiking_wm.envs.make import make_env
from test.chips import WHOLE, network_of, popsan


def hide(monkeypatch, package: str, *ours: str) -> None:
    """Make a package impossible to import, and forget our modules that have imported it."""
    monkeypatch.setitem(sys.modules, package, None)
    for module in ours:
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize(
    ("package", "module", "env", "extra"),
    [
        ("ale_py", "spiking_wm.envs.atari", "PongRam-v0", "atari"),
        ("ale_py", "spiking_wm.envs.atari_84", "atari/Breakout-v0", "atari"),
        ("cv2", "spiking_wm.envs.atari_84", "atari/Breakout-v0", "atari"),
        ("minatar", "spiking_wm.envs.minatar", "minatar/Breakout-v0", "minatar"),
        ("dm_control", "spiking_wm.envs.dm_control", "dm_control/cartpole-swingup-v0", "dm-control"),
    ],
)
def test_an_environment_without_its_package_names_the_extra(monkeypatch, package, module, env, extra):
    make_env(env).close()  # what hides below is all that is missing
    hide(monkeypatch, package, module)
    with pytest.raises(UserError, match=rf"^{package} is not installed: pip install '.*\[{extra}\]'$"):
        make_env(env)


def test_an_extra_without_wheels_for_this_python_names_one_that_has_them(monkeypatch):
    hide(monkeypatch, "dm_control", "spiking_wm.envs.dm_control")
    monkeypatch.setitem(NEWEST_PYTHON, "dm-control", (3, 10))
    with pytest.raises(UserError, match=r"^dm_control is .* no wheels for Python .*: use Python 3\.10$"):
        make_env("dm_control/cartpole-swingup-v0")


def test_atari_ids_without_ale_py_name_the_extra():
    code = (
        "import sys; sys.modules['ale_py'] = None\n"
        "from spiking_wm.envs.make import make_env\n"
        "try: make_env('atari/Breakout-v0')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UserError ale_py is not installed") and "[atari]" in done.stdout
    assert done.stderr == ""


def test_nothing_optional_is_imported_before_an_environment_is_made():
    code = (
        "import sys, spiking_wm.envs.make, spiking_wm.envs.registration, spiking_wm.chips.nir\n"
        "import spiking_wm.chips.backends.loihi_sim.backend, spiking_wm.agents.dqn.agent\n"
        "names = 'ale_py cv2 minatar dm_control PIL lava nir nirtorch spikingjelly'.split()\n"
        "print(*(name for name in names if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_files_of_networks_without_nir_name_the_extra(monkeypatch, tmp_path):
    network = network_of(popsan())
    write(network, tmp_path / "net.nir")
    hide(monkeypatch, "nir")
    for attempt in (lambda: write(network, tmp_path / "other.nir"), lambda: read(tmp_path / "net.nir")):
        with pytest.raises(UserError, match=r"^nir is not installed: pip install '.*\[chips\]'$"):
            attempt()


def test_the_simulated_loihi_without_lava_says_how_to_install_it(monkeypatch):
    hide(monkeypatch, "lava")
    with pytest.raises(UserError, match=r"^the simulated Loihi needs Lava: pip install --no-deps lava-nc"):
        Simulator(network_of(popsan()), replace(WHOLE))


# --- noise ---


@pytest.mark.parametrize(
    "env", ["HalfCheetah-v5", "dm_control/cheetah-run-v0", "atari/Breakout-v0", "Rover-v0"]
)
def test_a_process_that_makes_an_environment_and_ends_says_nothing(env, tmp_path):
    code = (
        "from spiking_wm.envs.make import make_env\n"
        f"env = make_env({env!r})\n"
        "env.reset(seed=0)\n"
        "env.step(env.action_space.sample())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not [*tmp_path.iterdir()]  # nor MUJOCO_LOG.TXT


def test_other_warnings_of_mujoco_are_printed_while_environments_are_made(tmp_path):
    code = (
        "import mujoco, gymnasium as gym\n"
        "from spiking_wm.envs.make import make_env\n"
        "def unstable():\n"
        "    env = gym.make('InvertedPendulum-v5')\n"
        "    env.unwrapped.data.qvel[0] = float('nan')\n"
        "    mujoco.mj_step(env.unwrapped.model, env.unwrapped.data)\n"
        "    return env\n"
        "make_env(unstable)\n"
        "assert mujoco.get_mju_user_warning() is None"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.startswith("WARNING: Nan, Inf or huge value in QVEL")
    assert "QVEL" in (tmp_path / "MUJOCO_LOG.TXT").read_text()


def test_models_are_the_same_without_the_warning():
    import gymnasium as gym

    given, quiet = gym.make("HalfCheetah-v5").unwrapped.model, make_env("HalfCheetah-v5").unwrapped.model
    assert np.array_equal(given.body_mass, quiet.body_mass) and given.body_mass.sum() == pytest.approx(14)
