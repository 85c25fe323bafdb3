"""Who listens to neurons hears what they do, and changes nothing."""

import numpy as np
import pytest
import torch
from torch import nn

from spiking_wm.core.presets import resolve
from spiking_wm.core.registry import agent_class
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env
from spiking_wm.neurons import probe
from spiking_wm.neurons.compartments import IntegrateAndFire
from test.conftest import tiny_dqn, tiny_dt, tiny_latent, tiny_rsnn

SPIKING = {  # environment, options, ticks of layers
    "popsan": ("InvertedPendulum-v5", dict, {5}),
    "rsnn": ("InvertedPendulum-v5", tiny_rsnn, {1}),
    "spiking_wm": ("InvertedPendulum-v5", tiny_latent, {8}),
    "spiking_dt": ("CartPole-v1", tiny_dt, {4}),
    "dsqn": ("CartPole-v1", lambda given: tiny_dqn(given) | {"evaluation_epsilon": 0.0}, {4}),
}


@pytest.mark.parametrize("algorithm", SPIKING)
def test_listening_changes_no_decision(algorithm):
    env_id, small, ticks = SPIKING[algorithm]
    env, setup = make_env(env_id), resolve(algorithm, env_id, small({}))
    agent = agent_class(setup.agent)(setup.agent_options, Spaces.of(env), 0)
    policy = agent.policy_class(setup.agent_options, Spaces.of(env))
    weights = agent.policy_weights()
    policy.load(weights | {"random": torch.tensor(False)} if "random" in weights else weights)
    seen, _ = env.reset(seed=0)
    heard, unheard = policy.initial_state(), policy.initial_state()
    for _ in range(5):
        with probe.listen() as trains:
            action, heard = policy.act(seen.astype(np.float32), heard, None)
        same, unheard = policy.act(seen.astype(np.float32), unheard, None)
        np.testing.assert_array_equal(action, same)
        assert len(trains) >= (1 if algorithm in ("rsnn", "dsqn") else 2)
        assert {len(train) for train in trains} == ticks
        assert all(train.dtype == np.uint8 and set(np.unique(train)) <= {0, 1} for train in trains)
        seen = env.step(action if np.ndim(action) else int(action))[0]
    assert not probe.heard()
    env.close()


def test_rates_are_heard_as_the_spikes_that_they_stand_for():
    neurons = IntegrateAndFire(6)
    drive = torch.linspace(-0.2, 1.2, 6)[None, None]
    with probe.listen() as trains:
        rates = neurons.from_rest(drive, 8, averaged=True)
    assert trains[0].shape == (8, 6)
    np.testing.assert_allclose(trains[0].mean(0), rates[0, 0])
    assert isinstance(neurons, nn.Module)
