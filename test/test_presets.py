"""Presets: what they extend, tuning for environments, precedence, and where each value comes from."""

import pytest
import yaml

from spiking_wm.core import presets
from spiking_wm.core.data import data_folder
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import known
from spiking_wm.core.presets import GIVEN, algorithms, resolve
from spiking_wm.core.registry import options_class
from spiking_wm.core.schedule import Schedule
from spiking_wm.runs.config import RunConfig, options_of

ENV = "space/Game-v0"  # an id alone tunes presets; no such environment is needed


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write presets and tuning of this test's own; ours are not there."""
    (tmp_path / "algorithms").mkdir()
    (tmp_path / "envs").mkdir()
    monkeypatch.setattr(presets, "data_folder", lambda name: tmp_path)

    def write(**files):
        for name, said in files.items():
            folder, _, stem = name.partition("__")
            (tmp_path / folder / f"{stem.replace('__', '-')}.yaml").write_text(yaml.safe_dump(said))

    write(
        algorithms__base={"agent": "popsan", "batch": 11, "critic": {"lr": 0.1}, "actor": {"lr": 0.1}},
        algorithms__child={"extends": "base", "batch": 22, "critic": {"lr": 0.2}},
        algorithms__grandchild={"extends": "child", "batch": 33},
        algorithms__printed={"extends": "base", "published": True, "batch": 44},
        algorithms__of_printed={"extends": "printed", "warmup": 5},
        envs__space={"all": {"batch": 1, "steps": 100, "discount": 0.5}, "child": {"critic.lr": 0.3}},
    )
    (tmp_path / "envs" / "space-Game-v0.yaml").write_text(
        yaml.safe_dump({"all": {"steps": 200}, "base": {"actor_lr": 0.4}, "grandchild": {"warmup": 7}})
    )
    return write


def test_later_layers_win_and_every_value_tells_where_it_comes_from(config):
    setup = resolve("grandchild", ENV, {"discount": 0.9})
    o = setup.agent_options
    assert (setup.algorithm, setup.agent) == ("grandchild", "popsan")
    assert (o.batch, o.critic.lr, o.actor.lr, o.warmup, o.discount) == (33, 0.3, 0.4, 7, 0.9)
    assert setup.schedule.steps == 200
    assert setup.origins == {
        "batch": "grandchild",
        "critic.lr": "child in space",
        "actor.lr": "base in space-Game-v0",
        "warmup": "grandchild in space-Game-v0",
        "steps": "all in space-Game-v0",
        "discount": GIVEN,
    }


def test_a_preset_goes_before_the_tuning_for_all_and_behind_its_own(config):
    assert resolve("base", ENV, {}).agent_options.batch == 11  # `all` says 1
    assert resolve("child", ENV, {}).agent_options.critic.lr == 0.3  # `child in space` says so
    assert resolve("child", "Other-v0", {}).agent_options.critic.lr == 0.2


def test_what_is_published_and_what_extends_it_takes_no_tuning(config):
    for algorithm in ("printed", "of_printed"):
        tuned, plain = resolve(algorithm, ENV, {}), resolve(algorithm, "Other-v0", {})
        assert tuned == plain and tuned.agent_options.batch == 44
    assert resolve("printed", ENV, {"batch": 55}).agent_options.batch == 55  # the user may


def test_names_nested_dotted_flat_and_former_are_the_same(config):
    given = ({"actor": {"ticks": 3}}, {"actor.ticks": 3}, {"actor_ticks": 3}, {"ticks": "3"})
    assert len({resolve("base", ENV, one).agent_options for one in given}) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"actor": {"ticks": 3}, "actor_ticks": 4},
        {"actor.ticks": 3, "ticks": 3},
        {"actor": {"ticks": 3}, "actor.ticks": 4},
        {"evaluate_every": 0, "evaluation": {"every": 5}},
    ],
)
def test_an_option_under_two_names_is_refused_at_the_start_and_in_a_resume(config, given):
    with pytest.raises(UserError, match="same option|comes twice"):
        resolve("base", ENV, given)
    setup = resolve("base", ENV, {})
    with pytest.raises(UserError, match="same option|comes twice"):
        RunConfig("base", ENV, options_of(setup), setup.origins).resolve(given)


def test_a_resumed_run_keeps_options_and_origins_but_for_those_given(config):
    before = resolve("child", ENV, {"batch": 9})
    after = RunConfig("child", ENV, options_of(before), before.origins).resolve({"critic_lr": 0.7})
    assert after.agent_options.batch == 9 and after.agent_options.critic.lr == 0.7
    assert after.origins == {**before.origins, "critic.lr": GIVEN}


@pytest.mark.parametrize(
    ("preset", "told"),
    [
        ({"extends": "other"}, "unknown algorithm 'other'"),
        ({"extends": "wrong"}, "extends itself"),
        ({"extends": "round"}, "extends itself"),
        ({"batch": 3}, "neither 'agent:' nor what it 'extends:'"),
        (
            {"extends": "base", "bach": 3},
            "unknown parameter 'bach' in the preset 'wrong'; did you mean 'batch'",
        ),
        ({"extends": "base", "batch": 0}, "batch:=0 is outside"),
        ({"extends": "base", "critic": {"lr": 1}, "critic_lr": 1}, "same option in the preset 'wrong'"),
        ({"agent": "nobody"}, "no agent 'nobody'"),
        ([1, 2], "must hold 'name: value' lines"),
    ],
)
def test_wrong_presets_are_refused_by_one_line(config, preset, told):
    config(algorithms__wrong=preset, algorithms__round={"extends": "wrong"})
    with pytest.raises(UserError, match=told) as refused:
        resolve("wrong", ENV, {})
    assert "\n" not in str(refused.value)


def test_tuning_that_stands_in_no_section_is_refused(config):
    config(envs__space={"batch": 3})
    with pytest.raises(UserError, match="put it into the section 'all:'"):
        resolve("base", ENV, {})


@pytest.mark.parametrize("algorithm", [5, None, ["popsan"], "", "../popsan", "Popsann"])
def test_what_is_no_algorithm_is_refused(algorithm):
    with pytest.raises(UserError, match="unknown algorithm"):
        resolve(algorithm, ENV, {})


# --- ours ---


@pytest.mark.parametrize("algorithm", algorithms())
def test_no_option_of_an_agent_has_a_name_of_the_schedule(algorithm):
    assert not known(options_class(presets.agent_of(algorithm))).keys() & known(Schedule).keys()


def test_sections_of_our_tuning_are_of_presets_that_there_are_and_resolve():
    for file in sorted((data_folder("config") / "envs").glob("*.yaml")):
        sections = set(yaml.safe_load(file.read_text()))
        assert sections <= {"all", *algorithms()}, file
        env = (
            file.stem.replace("-", "/", 1) if file.stem.startswith(("dm_control-", "minatar-")) else file.stem
        )
        for algorithm in sections - {"all"}:
            assert f"{algorithm} in {file.stem}" in resolve(algorithm, env, {}).origins.values(), file


@pytest.mark.parametrize("algorithm", [name for name in algorithms() if "published" in name])
def test_our_published_presets_are_the_same_everywhere(algorithm):
    envs = ("Nowhere-v0", "CartPole-v1", "InvertedPendulum-v5", "dm_control/walker-walk-v0", "atari/Pong-v0")
    assert len({str(options_of(resolve(algorithm, env, {}))) for env in envs}) == 1
