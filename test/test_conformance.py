"""What every algorithm must do; those of this package are found by name."""

import pytest

from spiking_wm.core.options import canonical, values
from spiking_wm.core.presets import algorithms, resolve
from spiking_wm.testing import AgentConformance
from test.conftest import TINY, env_for

SMALL = TINY | {
    "dataset": "",
    "rollout": 20,
    "neurons": 40,
    "horizon": 5,
    "value_first": 0,
    "size": "tiny",
    "length": 10,
    "starts": 8,
}


@pytest.mark.parametrize("algorithm", algorithms())
class TestConformance(AgentConformance):
    @pytest.fixture(autouse=True)
    def choose(self, algorithm):
        self.algorithm, self.env = algorithm, env_for(algorithm)
        options = resolve(algorithm, self.env, {}).agent_options
        self.options = {name: value for name, value in SMALL.items() if canonical(type(options), name)}
        # without a baseline of values nothing depends on what would have come
        baselines = [value for name, value in values(options).items() if name.split(".")[-1] == "baseline"]
        self.bootstraps = all(baselines)
