"""What a published preset comes to is pinned: new defaults and environments' tuning must not reach it."""

import json
from pathlib import Path

import pytest

from spiking_wm.core.presets import algorithms, is_published, resolve
from spiking_wm.runs.config import options_of

RECORDED = Path(__file__).parent / "golden" / "published.json"
PUBLISHED = [name for name in algorithms() if is_published(name)]
ENVS = ("Any-v0", "InvertedPendulum-v5", "HalfCheetah-v5", "PongRam-v0", "dm_control/walker-walk-v0")


def resolved(algorithm: str, env: str = "Any-v0") -> dict:
    return json.loads(json.dumps(options_of(resolve(algorithm, env, {}))))


def test_there_are_as_many_as_recorded():
    assert json.loads(RECORDED.read_text()).keys() == set(PUBLISHED)


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize("algorithm", PUBLISHED)
def test_values_are_those_recorded_in_every_environment(algorithm, env):
    recorded = json.loads(RECORDED.read_text())[algorithm]
    assert resolved(algorithm, env) == recorded  # pin what changed in the preset's file


if __name__ == "__main__":
    RECORDED.write_text(json.dumps({name: resolved(name) for name in PUBLISHED}, indent=1) + "\n")
