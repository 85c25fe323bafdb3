"""The acting half: streams, a step's tokens at a time."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.network import Cache
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.agents.spiking_dt.stream import EventDrivenTransformer
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.contract import Weights
from spiking_wm.core.spaces import Spaces
from spiking_wm.neurons import probe


class Memory(NamedTuple):
    """What is remembered of an episode."""

    cache: Cache
    asked: Tensor  # return still asked for, [1]
    code: Tensor  # of the last action, [A]
    step: int

    def as_weights(self) -> Weights:
        """As released with weights."""
        kept = self.cache._asdict() | {
            "asked": self.asked,
            "code": self.code,
            "step": torch.tensor(self.step),
        }
        return {f"memory/{name}": value.clone() for name, value in kept.items()}

    @staticmethod
    def of_weights(kept: Mapping[str, Tensor]) -> "Memory":
        """Undo `as_weights`, of what is below ``memory/``."""
        cache = Cache(*(kept[name].clone() for name in Cache._fields))
        return Memory(cache, kept["asked"].clone(), kept["code"].clone(), int(kept["step"]))


class DecisionPolicy(contract.Policy):
    """Acts as it is asked to; what is asked for falls by what has come."""

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._actions = Actions(spaces, "spiking_dt")
        with torch.random.fork_rng():  # weights are drawn, and then loaded
            self._decider = Decider(options, spaces).requires_grad_(False)
        self._to_join = self.initial_state()

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights, and what is remembered of an episode if that is released with them."""
        weights = dict(weights)
        prefix = "memory/"
        memory = {
            name.removeprefix(prefix): weights.pop(name) for name in [*weights] if name.startswith(prefix)
        }
        if memory:
            self._to_join = Memory.of_weights(memory)
        self._decider.load_state_dict(weights)
        network = self._decider.network
        self._streaming = EventDrivenTransformer(network) if self.options.spiking else network

    def weights(self) -> Weights:
        """Those that `load` takes."""
        return {name: value.clone() for name, value in self._decider.state_dict().items()}

    def initial_state(self, episode: int = 0, target: float | None = None) -> Memory:
        """All is still asked for: ``target_return``, if nothing else is said."""
        asked = torch.tensor([self.options.target_return if target is None else target])
        return Memory(self._decider.network.nothing_seen(), asked, torch.zeros(self._actions.width), 0)

    def state_to_join(self) -> Memory:
        """What was released with the weights, else a start."""
        return self._to_join

    def rewarded(self, state: Memory, reward: float) -> Memory:
        """So much less is asked for."""
        return state._replace(asked=state.asked - reward)

    @torch.inference_mode()
    def act(self, observation: np.ndarray, state: Memory, rng: np.random.Generator | None) -> tuple:
        """The most probable action; drawn from the policy with ``rng``."""
        seen = torch.as_tensor(observation)
        tokens, steps = self._decider.tokens(state.asked, seen, state.code, state.step)
        features, cache = self._streaming.stream(tokens, steps, state.cache)
        if probe.heard():  # what acts is fused, this is the same neuron by neuron
            self._decider.network.stream(tokens, steps, state.cache)
        noise = None
        if rng is not None:
            draw = rng.gumbel if self._actions.discrete else rng.normal
            noise = torch.from_numpy(draw(size=self._actions.width).astype(np.float32))
        action = self._actions.action(self._decider.choose(features, noise).numpy())
        code = torch.from_numpy(self._actions.code(action))  # of what is done, rounded as that is
        return action, Memory(cache, state.asked, code, state.step + 1)
