"""Algorithms of other packages: what registers, what is refused, and the suite of the contract."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

import spiking_wm
from spiking_wm.core import registry
from spiking_wm.core.options import option
from spiking_wm.testing import AgentConformance
from test.own_agent import Guesser


@pytest.fixture
def guesser(monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    spiking_wm.register_agent("guesser", Guesser, Guesser.preset)


def test_a_registered_agent_is_an_algorithm_like_all_others(guesser, tmp_path):
    run = spiking_wm.train(
        "guesser", "CartPole-v1", steps=50, run=tmp_path / "run", lr=0.5, evaluate_every=25, progress=False
    )
    assert run.config.options["lr"] == 0.5 and run.config.origins["learn_after"] == "guesser"
    assert len(run.evaluations) == 3
    with pytest.raises(spiking_wm.UserError, match="no world model"):
        spiking_wm.dream(run, progress=False)


def variant(**attributes):
    return type("Variant", (Guesser,), attributes)


@dataclass(frozen=True)
class NoText:
    lr: float = 0.1


@dataclass(frozen=True)
class Clash:
    seed: int = option(1, "of what the schedule seeds")


@pytest.mark.parametrize(
    ("name", "agent", "told"),
    [
        ("popsan", Guesser, "an algorithm 'popsan' already"),
        ("popsan_dream", Guesser, "an algorithm 'popsan_dream' already"),  # a preset of ours
        ("guesser", variant(), "an algorithm 'guesser' already"),
        ("Spiking-Q", Guesser, "lower case"),
        ("", Guesser, "lower case"),
        (5, Guesser, "lower case"),
        ("other", None, "give a subclass of spiking_wm.Agent"),
        ("other", object(), "give a subclass of spiking_wm.Agent"),
        ("other", type("Plain", (), {}), "give a subclass of spiking_wm.Agent"),
        ("other", variant(options_class=None), "lacks the class attribute 'options_class'"),
        ("other", variant(policy_class=int), "lacks the class attribute 'policy_class'"),
        ("other", variant(policy_class=type("P", (spiking_wm.Policy,), {})), "P does not define act, load"),
        ("other", variant(options_class=NoText), "declare every field by"),
        ("other", variant(options_class=int), "declare every field by"),
        ("other", variant(options_class=Clash), "Clash.seed is an option of the schedule"),
    ],
)
def test_names_and_classes_that_cannot_be_are_refused(guesser, name, agent, told):
    with pytest.raises(spiking_wm.UserError, match=told) as refused:
        spiking_wm.register_agent(name, agent)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("preset", "told"),
    [
        ("lr", "give a dictionary"),
        ({"bogus": 1}, "has no parameter 'bogus'"),
        ({"extends": "popsan"}, "has no parameter 'extends'"),
        ({"lr": 5}, "lr:=5.0 is outside"),
        ({"evaluation": {"every": -1}}, "is outside"),
    ],
)
def test_presets_that_cannot_be_are_refused(guesser, preset, told):
    with pytest.raises(spiking_wm.UserError, match=told):
        spiking_wm.register_agent("other", Guesser, preset)


def learn_by_the_global_generator(self):
    self.preference += 0.01 * torch.randn(2)
    return {}


def forget_a_part(self, snapshot):
    self.preference = snapshot["preference"].clone()


def hand_out_what_changes(self):
    return {"preference": self.preference}


def take_all_ends_for_the_same(self, transition):
    self.gain[int(transition.action)] += transition.reward


@pytest.mark.parametrize(
    ("test", "flaw"),
    [
        (
            "learning_changes_the_policy_and_released_weights_are_copies",
            {"policy_weights": hand_out_what_changes},
        ),
        ("goes_on_from_a_snapshot_bit_for_bit", {"restore": forget_a_part}),
        (
            "seeds_decide_everything_and_the_global_generator_nothing",
            {"learn": learn_by_the_global_generator},
        ),
        ("terminated_and_truncated_are_not_the_same", {"observe": take_all_ends_for_the_same}),
    ],
)
def test_an_agent_that_breaks_the_contract_fails_the_suite(guesser, test, flaw):
    suite = TestGuesser()
    getattr(suite, f"test_{test}")()  # fails by the flaw alone
    spiking_wm.register_agent("flawed", variant(**flaw), Guesser.preset)
    suite.algorithm = "flawed"
    with pytest.raises(AssertionError):
        getattr(suite, f"test_{test}")()


def test_an_entry_point_brings_an_agent(monkeypatch, tmp_path):
    package = tmp_path / "other-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    named = {
        "of_others": "test.own_agent:Guesser",
        "popsan_dream": "test.own_agent:Guesser",
        "broken": "broken:X",
    }
    points = [f"{name} = {value}" for name, value in named.items()]
    (package / "entry_points.txt").write_text("\n".join(["[spiking_wm.agents]", *points]))
    (tmp_path / "broken.py").write_text("1 / 0")
    command = (
        "import spiking_wm; from spiking_wm.core.presets import agent_of, algorithms;"
        " assert {'of_others', 'broken'} <= set(algorithms());"
        " run = spiking_wm.train('of_others', 'CartPole-v1', steps=20, run='run', evaluate_every=0,"
        " progress=False); print(run.config.origins['learn_after'], agent_of('popsan_dream'))"
        "\ntry: agent_of('broken')"
        "\nexcept spiking_wm.UserError as error: print(error)"
    )
    paths = f"{tmp_path}:{spiking_wm.__file__.rsplit('/', 2)[0]}"
    told = subprocess.check_output(
        [sys.executable, "-c", command], env={"PYTHONPATH": paths, "PATH": ""}, cwd=tmp_path, text=True
    )
    trained, refused = told.splitlines()
    assert trained == "of_others popsan"  # with its preset; nothing takes the place of ours
    assert refused.startswith(
        "the agent 'broken' cannot be loaded from broken:X (ZeroDivisionError: division"
    )


class TestGuesser(AgentConformance):
    """The conformance suite serves agents of other packages."""

    algorithm, env, options = "guesser", "CartPole-v1", {"lr": 0.2}

    @pytest.fixture(autouse=True)
    def registered(self, guesser):
        """Known while these tests run."""
