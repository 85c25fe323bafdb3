import os
import subprocess
import sys
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.develop import develop
from setuptools.command.install import install

NAME = "spiking_wm_ros"


def data(folder: str, pattern: str = "*") -> list[tuple[str, list[str]]]:
    """Files of a folder and its folders, each to the same place under the package's share."""
    folders = [p for p in (Path(folder), *Path(folder).rglob("*")) if p.is_dir() and p.name != "__pycache__"]
    found = [(f"share/{NAME}/{f}", [str(p) for p in f.glob(pattern) if p.is_file()]) for f in folders]
    return [(target, files) for target, files in found if files]


def build_interfaces() -> None:
    """Build ``interfaces/`` into the workspace that colcon builds this package in; without colcon, nothing.

    colcon looks for no packages inside a package, so it does not find them by itself.
    """
    path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    overrides = [folder for folder in path if Path(folder).name == "prefix_override"]
    if not overrides:
        return
    prefix = Path(sys.prefix)  # as overridden by colcon: where this package is installed
    build = Path(overrides[0]).parent / "interfaces"
    command = [sys.executable, "-m", "colcon", "--log-base", os.devnull, "build"]
    command += ["--base-paths", "interfaces", "--build-base", str(build)]
    if prefix.name == NAME:
        command += ["--install-base", str(prefix.parent)]
    else:
        command += ["--install-base", str(prefix), "--merge-install"]
    command += ["--cmake-args", "-DBUILD_TESTING=OFF", f"-DPython3_EXECUTABLE={sys.executable}"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in path if p not in overrides)}
    subprocess.run(command, check=True, cwd=Path(__file__).resolve().parent, env=environment)


class Install(install):
    """``colcon build``."""

    def run(self):
        super().run()
        build_interfaces()


class Develop(develop):
    """``colcon build --symlink-install``."""

    def run(self):
        super().run()
        build_interfaces()


# what the library needs; `requirements/python.txt` pins what it is tested with
CORE = [
    "torch>=2.6,<2.14",  # newer ones have no CPU build on PyPI that is small
    "numpy>=1.26",
    "numba>=0.60",
    "scipy>=1.11",
    "gymnasium>=1.1",
    "mujoco>=3.2,<4",
    "imageio>=2.34",  # Gymnasium's MuJoCo environments import it
    "safetensors>=0.4",
    "PyYAML>=6",
    "rich>=13",
    "matplotlib>=3.8",
]
# see spiking_wm/core/extras.py, by which a missing one is named
EXTRAS = {
    "atari": ["ale-py>=0.10", "opencv-python-headless>=4.9"],
    "minatar": ["minatar>=1.0.15"],
    "dm-control": ["dm-control>=1.0.20; python_version < '3.13'"],  # its labmaze has no wheels for newer ones
    "demos": ["minari[hdf5]>=0.5", "stable-baselines3>=2.4"],
    "data": ["h5py>=3.10", "scikit-learn>=1.4"],
    "conversion": ["spikingjelly>=0.0.0.0.14"],
    "chips": ["nir>=1.0", "nirtorch>=2.0"],
    "viewer": ["nicegui>=3", "pillow>=10"],
    "bags": ["mcap>=1.2", "mcap-ros2-support>=0.6"],
    "tensorboard": ["tensorboard>=2.16"],
    "cli": ["typer>=0.12"],
    "comparison": ["rliable>=1.2", "pandas>=2,<3"],  # rliable needs arch 7, which needs pandas 2
}
EXTRAS["all"] = sorted({requirement for extra in EXTRAS.values() for requirement in extra})

setup(
    name=NAME,
    version="0.2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["spiking_wm", "spiking_wm.*", NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml", "LICENSE"]),
        *data("launch", "*.launch.py"),
        *data("config", "*.yaml"),
        *data("config", "*.json"),
        *data("sim", "*.xml"),
    ],
    package_data={"spiking_wm": ["py.typed"], NAME: ["nodes/localhost.xml"]},
    install_requires=CORE,
    extras_require=EXTRAS,
    cmdclass={"install": Install, "develop": Develop},
    zip_safe=False,
    maintainer="spiking_wm_ros developers",
    maintainer_email="maintainers@spiking-wm.invalid",
    description="Robots whose policy and world model are spiking neural networks, and that dream.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            f"bridge = {NAME}.nodes.bridge:main",
            f"policy = {NAME}.nodes.policy:main",
            f"dreamer = {NAME}.nodes.dreamer:main",
            f"manager = {NAME}.nodes.manager:main",
            f"robot = {NAME}.nodes.robot:main",
            f"gate = {NAME}.nodes.gate:main",
            f"rover_driver = {NAME}.nodes.rover_driver:main",
            f"scheduler = {NAME}.nodes.scheduler:main",
            f"viewer = {NAME}.nodes.viewer:main",
            f"recorder = {NAME}.nodes.recorder:main",
        ]
    },
)
