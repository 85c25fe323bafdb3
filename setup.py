from pathlib import Path

from setuptools import find_packages, setup

NAME = "spiking_wm_ros"


def data(folder: str, pattern: str = "*") -> list[tuple[str, list[str]]]:
    """Files of a folder and its folders, each to the same place under the package's share."""
    folders = [p for p in (Path(folder), *Path(folder).rglob("*")) if p.is_dir() and p.name != "__pycache__"]
    found = [(f"share/{NAME}/{f}", [str(p) for p in f.glob(pattern) if p.is_file()]) for f in folders]
    return [(target, files) for target, files in found if files]


setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(include=["spiking_wm", "spiking_wm.*", NAME, f"{NAME}.*"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml", "LICENSE"]),
        *data("launch", "*.launch.py"),
        *data("config", "*.yaml"),
        *data("config", "*.json"),
        *data("sim", "*.xml"),
    ],
    install_requires=["setuptools"],
    extras_require={"test": ["pytest"]},
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
