"""The policy: processes the tokens of one step at a time (streaming)."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.network import Cache, DecisionTransformer
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.agents.spiking_dt.stream import EventDrivenTransformer
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.contract import Weights, memory_of
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import unflatten
from spiking_wm.neurons import probe

# prefixes of tensor names in version 0.1, and the current ones
_FORMER = {
    "memory/asked": "memory/return_to_go",
    "replay/asked": "replay/return_to_go",
    "optimisers/imitating/": "optimisers/imitation/",
    "optimisers/practising/": "optimisers/online/",
}


def with_current_names(tensors: Mapping[str, Tensor]) -> Weights:
    """Tensors of a bundle or snapshot of any version, by current names."""
    renamed = {}
    for name, tensor in tensors.items():
        former = next((former for former in _FORMER if name.startswith(former)), None)
        renamed[_FORMER[former] + name.removeprefix(former) if former else name] = tensor
    return renamed


class Memory(NamedTuple):
    """State of the policy within an episode."""

    cache: Cache
    return_to_go: Tensor  # [1], in the environment's units
    code: Tensor  # of the last action, [A]
    step: int

    def as_weights(self, copy: int) -> Weights:
        """Tensors by the names with which they are released, together with weights.

        Args:
            copy: of the environment.
        """
        kept = self.cache._asdict() | {
            "return_to_go": self.return_to_go,
            "code": self.code,
            "step": torch.tensor(self.step),
        }
        return {f"{memory_of(copy)}/{name}": value.clone() for name, value in kept.items()}

    @staticmethod
    def of_weights(kept: Mapping[str, Tensor]) -> "Memory":
        """Inverse of `as_weights`, for names without the prefix that tells the copy."""
        cache = Cache(*(kept[name].clone() for name in Cache._fields))
        return Memory(cache, kept["return_to_go"].clone(), kept["code"].clone(), int(kept["step"]))


class DecisionPolicy(contract.Policy):
    """Acts conditioned on a return-to-go, from which received rewards are subtracted."""

    options: Options

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._actions = Actions(spaces, "spiking_dt")
        with torch.random.fork_rng():  # weights are drawn, and then loaded
            self._decider = Decider(options, spaces).requires_grad_(False)
        self._to_join: dict[str, Memory] = {}  # by `memory_of`

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Load released weights, and the state in the running episode if it is released with them."""
        weights = with_current_names(weights)
        memories = {name: weights.pop(name) for name in [*weights] if name.startswith(memory_of(0))}
        self._to_join |= {name: Memory.of_weights(kept) for name, kept in unflatten(memories).items()}
        self._decider.load_state_dict(weights)
        network = self._decider.network
        self._streaming: EventDrivenTransformer | DecisionTransformer = (
            EventDrivenTransformer(network) if self.options.spiking else network
        )

    def weights(self) -> Weights:
        """Copies of the weights, as input of `load`."""
        return {name: value.clone() for name, value in self._decider.state_dict().items()}

    def initial_state(self, episode: int = 0, target: float | None = None) -> Memory:
        """State at the start of an episode.

        Args:
            episode: its number; makes no difference.
            target: return-to-go; ``None``: the option ``target_return``.
        """
        return_to_go = torch.tensor([self.options.target_return if target is None else target])
        cache, code = self._decider.network.empty_cache(), torch.zeros(self._actions.width)
        return Memory(cache, return_to_go, code, 0)

    def state_to_join(self, copy: int = 0) -> Memory:
        """The state released with the weights, else the initial state."""
        return self._to_join.get(memory_of(copy)) or self.initial_state()

    def rewarded(self, state: Memory, reward: float) -> Memory:
        """The state with the reward subtracted from the return-to-go."""
        return state._replace(return_to_go=state.return_to_go - reward)

    @torch.inference_mode()
    def act(
        self, observation: np.ndarray, state: Memory, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, Memory]:
        """The most probable action (with ``rng``: an action drawn from the policy), and the next state."""
        seen = torch.as_tensor(observation)
        tokens, steps = self._decider.tokens(state.return_to_go, seen, state.code, state.step)
        features, cache = self._streaming.stream(tokens, steps, state.cache)
        if probe.heard():  # the fused network does not expose neurons: also run the unfused one
            self._decider.network.stream(tokens, steps, state.cache)
        noise = None
        if rng is not None:
            draw = rng.gumbel if self._actions.discrete else rng.normal
            noise = torch.from_numpy(draw(size=self._actions.width).astype(np.float32))
        action = self._actions.action(self._decider.choose(features, noise).numpy())
        code = torch.from_numpy(self._actions.code(action))  # of the action that is taken, after rounding
        return action, Memory(cache, state.return_to_go, code, state.step + 1)
