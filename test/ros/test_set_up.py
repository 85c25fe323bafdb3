"""Set-up by `./swm`, in clones whose environments borrow their packages from this one: made in seconds."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KIND = f".venv-jazzy-{sys.version_info.major}.{sys.version_info.minor}"
WHEEL = "borrowed-1-py3-none-any.whl"


def bare_clone(folder: Path) -> Path:
    """As much of a fresh clone as set-up looks at before it begins."""
    clone = folder / "clone"
    clone.mkdir()
    for name in ("requirements", "interfaces"):
        shutil.copytree(ROOT / name, clone / name)
    shutil.copy(ROOT / "swm", clone)
    return clone


def borrowing_clone(folder: Path) -> Path:
    """A clone that requires one package, which makes this environment importable, without interfaces."""
    clone = bare_clone(folder)
    shutil.rmtree(clone / "interfaces" / "spiking_wm_msgs")
    (clone / "interfaces" / "README").write_text("none")
    for file in (clone / "requirements").glob("*.txt"):
        file.write_text("")
    site = sysconfig.get_path("purelib")
    with zipfile.ZipFile(clone / WHEEL, "w") as wheel:
        wheel.writestr("borrowed.pth", f"import site; site.addsitedir({site!r})\n")
        wheel.writestr("borrowed-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: borrowed\nVersion: 1\n")
        wheel.writestr(
            "borrowed-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("borrowed-1.dist-info/RECORD", "")
    (clone / "requirements" / "ros.txt").write_text(str(clone / WHEEL))
    return clone


def swm(clone: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if k != "SWM_ACTIVE"}
    return subprocess.run(
        [str(clone / "swm"), *arguments], capture_output=True, text=True, env=clean | environment, timeout=200
    )


def environments(clone: Path) -> set[str]:
    return {path.name for path in clone.glob(".venv-*")}


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("python3", "python3 is missing"),
        ("cmake", "cmake is missing: apt install cmake"),
        ("g++", "a C++ compiler is missing: apt install g++"),
        ("make", "make is missing: apt install make"),
    ],
)
def test_a_missing_tool_is_named_before_anything_is_made(tmp_path, missing, message):
    clone, tools = bare_clone(tmp_path), tmp_path / "tools"
    tools.mkdir()
    names = "bash env readlink dirname cd sha256sum cat find sort xargs awk df cut flock mkdir rm grep sed"
    for name in (*names.split(), "python3", "cmake", "g++", "make"):
        if name != missing and (found := shutil.which(name)):
            (tools / name).symlink_to(found)
    clean = {k: v for k, v in os.environ.items() if k in ("HOME", "LANG", "PYENV_ROOT", "PYENV_VERSION")}
    ended = subprocess.run(
        [str(clone / "swm"), "train"], capture_output=True, text=True, env=clean | {"PATH": str(tools)}
    )
    assert ended.returncode == 2 and message in ended.stderr, ended.stderr
    assert not environments(clone)


def test_a_full_disk_is_named_before_anything_is_made(tmp_path):
    """`df` alone is stood in for: no test can fill the disk of the machine that it runs on."""
    clone = bare_clone(tmp_path)
    df = tmp_path / "df"
    df.write_text("#!/bin/sh\necho Filesystem 1024-blocks Used Available\necho disk 9 9 2048000 9% /\n")
    df.chmod(0o755)
    ended = swm(clone, "train", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert ended.returncode == 2 and "only 2000 MB of disk are free" in ended.stderr
    assert not environments(clone)


@pytest.mark.parametrize("version", ["3.10.13", "3.15.0"])
def test_a_python_that_cannot_work_is_refused_and_another_one_can_be_named(tmp_path, version):
    """The version alone is stood in for: machines have other ones."""
    clone, other = bare_clone(tmp_path), tmp_path / "other"
    other.write_text(f"#!/bin/sh\necho Python {version}\n")
    other.chmod(0o755)
    ended = swm(clone, "train", SWM_PYTHON=str(other))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"is {version}; 3.11 to 3.14 work: name one by SWM_PYTHON" in ended.stderr
    assert not environments(clone)


def test_a_python_without_the_sourced_ros_is_refused(tmp_path):
    clone = bare_clone(tmp_path)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    bare = str(tmp_path / "bare" / "bin" / "python")
    sourced = {"ROS_DISTRO": "jazzy", "AMENT_PREFIX_PATH": "/opt/ros/jazzy", "PYTHONPATH": ""}
    ended = swm(clone, "train", SWM_PYTHON=bare, **sourced)
    assert ended.returncode == 2 and "cannot import rclpy of ROS jazzy: name its Python" in ended.stderr
    assert not environments(clone)


def test_an_interrupted_set_up_is_done_again(tmp_path):
    """Without its mark of completion an environment is not used: set-up starts (and is stopped here)."""
    clone = bare_clone(tmp_path)
    # no index to install from: set-up fails at its first package
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    for _ in range(2):
        ended = swm(clone, "setup", **offline)
        assert ended.returncode != 0
        assert "setting up" in ended.stdout and "half-made" not in ended.stdout
        assert "python packages" not in ended.stdout  # the first failure ends it
        (made,) = clone.glob(f"{KIND}-*")
        half = made / "bin" / "python"
        half.unlink()
        half.write_text("#!/bin/sh\necho half-made\n")
        half.chmod(0o755)
    assert not (made / ".ready").exists() and not (clone / ".venv").exists()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        ("sys.modules['rclpy'] = None", "Python finds no rclpy: source a ROS 2 first"),
        ("sys.path.insert(0, '{old}')", "rclpy in {old}/rclpy is too old, 7.1.5 or newer is needed"),
        ("sys.modules['spiking_wm_msgs'] = None", "spiking_wm_msgs is not found: colcon build"),
    ],
)
def test_a_node_says_in_one_line_what_its_ros_lacks(tmp_path, prepare, message):
    (tmp_path / "rclpy").mkdir()
    (tmp_path / "rclpy" / "__init__.py").touch()
    code = f"import sys; {prepare.format(old=tmp_path)}; import spiking_wm_ros.nodes.policy"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 2 and ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("error: " + message.format(old=tmp_path))


@pytest.mark.slow
def test_a_new_environment_leaves_what_runs_in_the_old_one(tmp_path):
    clone = borrowing_clone(tmp_path)
    assert swm(clone, "setup").returncode == 0
    (first,) = environments(clone)
    assert first.startswith(KIND) and os.readlink(clone / ".venv") == first
    unused = clone / f"{KIND}-01234567"
    unused.mkdir()
    other_kind = clone / ".venv-jazzy-full-3.12-01234567"
    other_kind.mkdir()

    command = [str(clone / "swm"), "shell", "cat"]
    clean = {k: v for k, v in os.environ.items() if k != "SWM_ACTIVE"}
    with subprocess.Popen(command, env=clean, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        running.stdin.write(b"runs\n")
        running.stdin.flush()
        assert running.stdout.readline() == b"runs\n"
        with (clone / "requirements" / "python.txt").open("a") as file:
            file.write("# another state\n")
        ended = swm(clone, "setup")
        assert ended.returncode == 0 and f"{clone / first} is kept" in ended.stdout, ended.stderr
        (second,) = environments(clone) - {first, other_kind.name}  # the unused one is gone
        assert os.readlink(clone / ".venv") == second and (clone / first / "bin" / "python").exists()
        running.stdin.close()
        assert running.wait(10) == 0

    # other interfaces: another workspace in the same environment, and the former one stays
    (clone / "interfaces" / "README").write_text("still none")
    ended = swm(clone, "setup")
    assert "interfaces" in ended.stdout and "setting up" not in ended.stdout
    assert len([*(clone / second).glob("ws-*/.ready")]) == 2


@pytest.mark.slow
def test_the_environment_of_an_earlier_version_is_left_alone(tmp_path):
    clone = borrowing_clone(tmp_path)
    (clone / ".venv").mkdir()
    (clone / ".venv" / "kept").touch()
    assert swm(clone, "setup").returncode == 0
    assert (clone / ".venv" / "kept").exists() and not (clone / ".venv").is_symlink()
