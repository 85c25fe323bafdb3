"""Run folders, bundles and option names of version 0.1.0 (commit 5dc7fdc) still load."""

import shutil
from pathlib import Path

import pytest

import spiking_wm
from spiking_wm.core.options import canonical, override
from spiking_wm.core.presets import resolve
from spiking_wm.core.registry import agent_class, options_class
from spiking_wm.core.schedule import Schedule
from spiking_wm.core.storage import load, pack
from spiking_wm.runs.config import options_of
from spiking_wm.runs.folder import Run
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.runs.resuming import spaces_of

RUNS = Path(__file__).parent / "runs_0_1_0"
WITH_CHECKPOINTS = ["dsqn", "popsan_dream", "rsnn_dream", "spiking_dt"]


@pytest.mark.parametrize("name", [*WITH_CHECKPOINTS, "spiking_wm"])
def test_every_option_has_the_value_it_had(name):
    config = Run(RUNS / name).config
    setup = config.resolve()
    now, of_agent = options_of(setup), options_class(setup.agent)
    for old, value in config.options.items():
        found = canonical(of_agent, old) or canonical(Schedule, old)
        assert now[found] == value, (old, found)


def test_options_that_did_not_exist_have_their_defaults_whatever_presets_say_now():
    now = options_of(Run(RUNS / "popsan_dream").config.resolve())
    assert options_of(resolve("popsan_dream", "InvertedPendulum-v5", {}))["critic.kind"] == "batch_renorm"
    assert now["critic.kind"] == "plain" and now["actor.averaging"] == 1


@pytest.mark.parametrize("name", WITH_CHECKPOINTS)
def test_they_go_on_and_their_policies_act(name, tmp_path):
    path = tmp_path / name
    shutil.copytree(RUNS / name, path)
    evaluations = len(Run(path).evaluations)
    assert len(spiking_wm.evaluate(path, episodes=1).returns) == 1
    run = spiking_wm.resume(path, steps=100, progress=False)
    assert len(run.evaluations) > evaluations
    tensors, _ = load(run.newest() / "agent.safetensors")
    before, _ = load(Run(RUNS / name).newest() / "agent.safetensors")
    assert len(tensors) >= len(before)


def test_bundles_of_agents_that_are_called_otherwise_now_load(tmp_path):
    spaces = spaces_of(Run(RUNS / "popsan_dream").newest())
    options = Run(RUNS / "spiking_wm").config.options
    old = {name: value for name, value in options.items() if canonical(options_class("rssm"), name)}
    agent = agent_class("rssm")(override(options_class("rssm")(), old), spaces, 0)
    facts = {"agent": "spiking_wm", "options": old, "spaces": spaces.to_json(), "version": 3}
    file = tmp_path / "policy.safetensors"
    file.write_bytes(pack(agent.policy_weights(), facts))
    assert make_policy(load_bundle(file), spaces).options == agent.options
