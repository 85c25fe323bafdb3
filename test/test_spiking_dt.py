"""Decision transformers that learn by demonstrations."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import stable_baselines3
import torch

from spiking_wm.agents.spiking_dt.agent import Agent
from spiking_wm.agents.spiking_dt.experience import draw_demonstrated, without_tails
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import override
from spiking_wm.core.presets import resolve
from spiking_wm.datasets import demonstrations as data_sets
from spiking_wm.envs import demonstrations
from spiking_wm.envs.make import make_env
from spiking_wm.runs.config import options_of
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from test.small_decider import CART, PENDULUM, SMALL, random_episode, spaces_of, taught

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """Demonstrations by an expert that hardly learned, where Minari keeps them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(tmp_path_factory.mktemp("minari")))
        for name in ("_EVALUATIONS", "_JUDGED"):
            patch.setattr(demonstrations, name, 2)
        recipe = demonstrations.Recipe("PPO", 512, {"n_steps": 128}, (8,), 2, 0.5)
        patch.setattr(demonstrations, "recipe_of", lambda env: recipe)
        told = []
        for _ in range(2):  # the second time they are replaced
            names = demonstrations.collect(CART, 0, 3, lambda *progress: told.append(progress))
        yield names, told


# --- demonstrations ---


def test_demonstrations_are_minari_data_sets(collected):
    names, told = collected
    assert names == [f"{CART}/{kind}-v0" for kind in ("expert", "medium", "random", "mixed")]
    loaded = {name: data_sets.load(name) for name in names}
    assert [len(loaded[name]) for name in names] == [3, 3, 3, 9]
    for d in loaded[names[3]]:
        assert d.observation.dtype == np.float32 and d.observation.shape == (len(d.reward), 4)
        np.testing.assert_array_equal(d.observation[1:], d.next_observation[:-1])
        assert d.terminated[-1] and not d.terminated[:-1].any()
    assert {what for what, *_ in told} == {"expert learns", "expert", "medium", "random"}
    assert ("expert learns", 512, 512) in told and ("random", 3, 3) in told


def test_an_episode_that_was_kept_can_be_played_again(collected):
    import minari

    found = minari.load_dataset(f"{CART}/expert-v0")
    episode, facts = found[0], next(iter(found.storage.get_episode_metadata([0])))
    env = make_env(CART)
    observation, _ = env.reset(seed=int(facts["seed"]))
    for k, action in enumerate(episode.actions):
        np.testing.assert_array_equal(observation, episode.observations[k])
        observation, *_ = env.step(int(action))


def test_learns_from_them_before_the_first_step_and_goes_on(collected, tmp_path):
    given = {
        "network": {"width": 16, "heads": 2},
        "imitation.updates": 30,
        "steps": 60,
        "evaluation": {"every": 30, "episodes": 2},
        "online.rollout": 20,
        "updates_per_step": 0.1,
    }
    run, told = Run.create(tmp_path / "run", resolve("spiking_dt", CART, given), CART), []
    learner = train(run, on_update=lambda updates, of: told.append((updates, of)))
    assert told[29] == (30, 30) and learner.updates == 30 + 6
    assert [int(row["step"]) for row in run.table("evaluations")] == [0, 30, 60]
    stopped, asked = Run.create(tmp_path / "stopped", resolve("spiking_dt", CART, given), CART), []
    train(stopped, on_update=lambda updates, of: asked.append(updates), stopped=lambda: len(asked) == 10)
    again = Run.create(tmp_path / "stopped", resolve("spiking_dt", CART, given), CART)
    gone_on = train(again, stopped.newest()).agent.policy_weights()
    for name, value in learner.agent.policy_weights().items():
        torch.testing.assert_close(gone_on[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("drawn", [True, False])
def test_actions_are_drawn_where_a_recipe_says_so(drawn):
    model = stable_baselines3.PPO(
        "MlpPolicy", make_env(PENDULUM), n_steps=8, batch_size=8, seed=0, device="cpu"
    )
    act = demonstrations._acting(model, demonstrations.Recipe("PPO", 8, {}, drawn=drawn))
    seen = np.zeros((1, 4), np.float32)
    assert len({act(seen).item() for _ in range(5)}) == (5 if drawn else 1)


def test_every_recipe_can_be_used():
    for path in (ROOT / "config/demos").glob("*.yaml"):
        recipe = demonstrations.recipe_of(path.stem)
        assert recipe.steps > 0 and 0 < recipe.medium < 1
        options = resolve("spiking_dt", path.stem, {}).agent_options
        assert options.dataset == f"{path.stem}/mixed-v0" and options.target_return


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["env:=Nowhere-v0"], "unknown environment"),
        (["env:=Ant-v5"], "no recipe for experts"),
        (["episodes:=none"], "whole number"),
        (["epsiodes:=3"], "did you mean 'episodes'"),
    ],
)
def test_wrong_arguments_of_demos_are_told(arguments, said):
    command = [sys.executable, "-m", "spiking_wm_ros.cli", "demos", *arguments]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode and said in run.stdout + run.stderr and "Traceback" not in run.stderr


def test_a_data_set_that_is_not_there_is_told(collected):
    with pytest.raises(
        UserError, match=r"no data set 'no/such-v0'.*CartPole-v1/mixed-v0.*swm demos env:=no;"
    ):
        data_sets.load("no/such-v0")


def test_a_data_set_of_another_environment_is_refused(collected):
    options = override(SMALL, {"dataset": f"{CART}/mixed-v0"})
    with pytest.raises(UserError, match="another dataset"):
        Agent(options, spaces_of("Acrobot-v1"), 0)
    with pytest.raises(UserError, match="another dataset"):
        Agent(options, spaces_of(PENDULUM), 0)


def test_sizes_and_spaces_that_cannot_be_are_refused():
    with pytest.raises(UserError, match="no multiple of network.heads"):
        Agent(override(SMALL, {"network.heads": 3}), spaces_of(CART), 0)
    with pytest.raises(UserError, match="sees vectors"):
        Agent(SMALL, spaces_of("minatar/Breakout-v0"), 0)


# --- what is learned ---


@pytest.mark.parametrize("spiking", [True, False])
def test_acts_for_the_return_to_go(spiking, monkeypatch):
    """Half of the episodes push left and are paid, half push right and are not."""
    rng, episodes = np.random.default_rng(0), []
    for k in range(20):
        side = k % 2
        episodes.append(random_episode(12, rng, np.full(12, side), np.full(12, float(1 - side))))
    changes = {"spiking": spiking, "return_scale": 12.0, "network.see_actions": False}
    agent = taught(episodes, monkeypatch, changes)
    losses = [agent.learn()["imitation_loss"] for _ in range(150)]
    assert np.mean(losses[-20:]) < 0.3 * losses[0]
    policy = agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    observation = rng.normal(size=4).astype(np.float32)
    for target, side in ((12.0, 0), (0.0, 1)):
        state, actions = policy.initial_state(target=target), []
        for _ in range(8):
            action, state = policy.act(observation, state, None)
            state = policy.rewarded(state, float(1 - action))
            actions.append(int(action))
        assert actions == [side] * 8


def test_segments_lie_within_episodes_and_are_filled_up(monkeypatch):
    rng = np.random.default_rng(0)
    agent = taught([random_episode(length, rng) for length in (3, 9, 1, 20)], monkeypatch)
    s = draw_demonstrated(agent.replay, torch.arange(33), 400, 5, torch.Generator().manual_seed(0))
    left, step, valid = s.trajectory.return_to_go, s.trajectory.step, s.valid > 0
    assert set(valid.sum(1).tolist()) == {1, 2, 3, 4, 5}
    length = (left + step)[valid]  # what is still to come, and what has come
    assert set(length.tolist()) == {3.0, 9.0, 1.0, 20.0}
    assert ((left + step == (left + step)[:, :1]) | ~valid).all()
    assert (torch.diff(step, dim=1)[valid[:, 1:]] == 1).all()


def test_the_tails_of_truncated_episodes_are_left_out(monkeypatch):
    rng = np.random.default_rng(0)
    episodes = [random_episode(length, rng) for length in (6, 9, 3)]
    for cut in (1, 2):
        episodes[cut] = episodes[cut]._replace(terminated=np.zeros(len(episodes[cut].reward), bool))
    agent = taught(episodes, monkeypatch, {"imitation.truncation_tail": 4})
    kept = without_tails(agent.replay, 18, 4)
    assert kept.tolist() == [*range(6), *range(6, 11)]
    assert without_tails(agent.replay, 18, 0).tolist() == [*range(18)]
    assert float(agent.decider.highest) == 9
    agent.learn()
    with pytest.raises(UserError, match="truncation_tail:=20"):
        taught(episodes[1:], monkeypatch, {"imitation.truncation_tail": 20})


def test_the_return_to_go_is_cut_at_the_highest_demonstrated_one(monkeypatch):
    agent = taught([random_episode(12, np.random.default_rng(0))], monkeypatch)
    assert float(agent.decider.highest) == 12
    policy = agent.policy_class(agent.options, agent.spaces)
    policy.load(agent.policy_weights())
    seen = np.ones(4, np.float32)
    features = [
        policy.act(seen, policy.initial_state(target=target), None)[1].cache.keys for target in (12.0, 500.0)
    ]
    assert torch.equal(*features)


def test_past_actions_are_seen_or_not(monkeypatch):
    episodes, seen = [random_episode(12, np.random.default_rng(0))], np.ones(4, np.float32)
    for see in (True, False):
        agent = taught(episodes, monkeypatch, {"network.see_actions": see})
        policy = agent.policy_class(agent.options, agent.spaces)
        policy.load(agent.policy_weights())
        _, state = policy.act(seen, policy.initial_state(target=3.0), None)
        other = state._replace(code=1 - state.code)
        one, two = (policy.act(seen, s, None)[1].cache.keys for s in (state, other))
        assert torch.equal(one, two) is not see


def test_local_plasticity_changes_the_head_alone(monkeypatch):
    rng = np.random.default_rng(0)
    episodes = [random_episode(12, rng) for _ in range(4)]
    with_it, without = (taught(episodes, monkeypatch, {"imitation.local_head": rate}) for rate in (0.5, 0.0))
    for agent in (with_it, without):
        agent.learn()
    differ = {
        name
        for name, value in with_it.decider.state_dict().items()
        if not torch.equal(value, without.decider.state_dict()[name])
    }
    assert differ == {"network.head.weight"}


@pytest.mark.parametrize("reward", [1.0, -1.0])
def test_local_plasticity_teaches_what_was_done_also_where_rewards_are_losses(monkeypatch, reward):
    rng = np.random.default_rng(0)
    episodes = [
        e._replace(action=np.ones_like(e.action), reward=np.full_like(e.reward, reward))
        for e in (random_episode(12, rng) for _ in range(4))
    ]
    agent = taught(episodes, monkeypatch, {"imitation": {"local_head": 0.5, "lr": 1e-12}})
    losses = [agent.learn()["imitation_loss"] for _ in range(20)]
    assert losses[-1] < 0.1 * losses[0]


def test_a_run_does_not_go_on_with_other_demonstrations_of_the_same_name(monkeypatch):
    rng = np.random.default_rng(0)
    episodes = [random_episode(12, rng) for _ in range(4)]
    kept = taught(episodes, monkeypatch).snapshot()
    same, other = taught(episodes, monkeypatch), taught(episodes[::-1], monkeypatch)
    same.restore(kept)
    with pytest.raises(UserError, match="not what this run began with"):
        other.restore(kept)


def test_demonstrations_that_cannot_all_be_kept_replace_none(collected, monkeypatch):
    import minari

    names, _ = collected
    before, create, full = [data_sets.load(name) for name in names], minari.create_dataset_from_buffers, []

    def until_the_disk_is_full(name, *given, **facts):
        full.append(name)
        if len(full) == 3:
            raise OSError("no space left on device")
        return create(name, *given, **facts)

    monkeypatch.setattr(minari, "create_dataset_from_buffers", until_the_disk_is_full)
    with pytest.raises(OSError, match="no space"):
        demonstrations.collect(CART, 1, 2, lambda *progress: None)
    assert [data_sets.digest(data_sets.load(name)) for name in names] == [*map(data_sets.digest, before)]
    assert len(minari.list_local_datasets()) == 4


def test_the_experiment_keeps_what_it_judged_and_refuses_it_with_other_options(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    spec = importlib.util.spec_from_file_location("spiking_dt", ROOT / "experiments/spiking_dt.py")
    experiment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(experiment)
    monkeypatch.setattr(experiment, "load", lambda name: [])
    options = options_of(experiment.setup_of("CartPole-v1", "ticks_2", 1, 300)) | {"demonstrations": 0}
    found = {"row": {"return": 7.0}, "sweep": [], "options": options}
    kept = tmp_path / "CartPole-v1_ticks_2_s1_u300.json"
    kept.write_text(json.dumps(found))
    assert experiment.judged("CartPole-v1", "ticks_2", 1, 300, tmp_path) == found
    kept.write_text(json.dumps(found | {"options": options | {"network.ticks": 3}}))
    with pytest.raises(UserError, match="begun with another network.ticks: delete it"):
        experiment.judged("CartPole-v1", "ticks_2", 1, 300, tmp_path)
