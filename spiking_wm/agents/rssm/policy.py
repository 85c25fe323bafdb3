"""The acting half: encoder, recurrent state and actor."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.rssm.behaviour import Actor, clip_code
from spiking_wm.agents.rssm.network import Latent
from spiking_wm.agents.rssm.observations import Observations
from spiking_wm.agents.rssm.options import Options
from spiking_wm.agents.rssm.world_model import WorldModel
from spiking_wm.core import contract
from spiking_wm.core.actions import Actions
from spiking_wm.core.contract import Weights, memory_of
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, unflatten

State = tuple[Latent, Tensor]
"""State of a policy: of the model after the last observation, and the last action's code ``[1, A]``."""

_HEADS = ("decoder", "reward", "continues")


def acting_part(model: WorldModel) -> Weights:
    """Weights of a model without its heads, which decisions do not need."""
    return {name: value for name, value in model.state_dict().items() if not name.startswith(_HEADS)}


def state_to_tensors(state: State) -> Weights:
    """A policy's state as named tensors, copied."""
    latent, code = state
    return {name: value.clone() for name, value in (latent._asdict() | {"code": code}).items()}


def state_from_tensors(tensors: Mapping[str, Tensor]) -> State:
    """Inverse of `state_to_tensors`."""
    return Latent(*(tensors[name].clone() for name in Latent._fields)), tensors["code"].clone()


class RSSMPolicy(contract.Policy):
    """Encoder, recurrent state and actor; the state goes on from decision to decision.

    Raises:
        UserError: if the agent does not serve these spaces.
    """

    def __init__(self, options: Options, spaces: Spaces):
        super().__init__(options, spaces)
        self._observations, self._actions = Observations(spaces), Actions(spaces, "spiking_wm")
        with torch.random.fork_rng():  # initial weights are drawn, and replaced by `load`
            self._model = WorldModel(options, self._observations, self._actions.width)
            self._actor = Actor(self._actions.width, self._actions.discrete, options)
        self._min_deviation = options.actor.min_deviation
        self._repeat_probability = options.action_repeat_probability
        self._random = True
        self._to_join: dict[str, State] = {}  # by `memory_of`

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take released weights, and the state of the running episode if it is among them."""
        parts = unflatten(weights)
        memories = {name: part for name, part in parts.items() if name.startswith(memory_of(0))}
        self._to_join |= {name: state_from_tensors(memory) for name, memory in memories.items()}
        self._model.load_state_dict(parts["model"], strict=False)  # without heads
        self._actor.load_state_dict(parts["actor"])
        self._random = bool(weights["random"])

    def weights(self) -> Weights:
        """Weights in the form that `load` takes."""
        weights = flatten({"model": acting_part(self._model), "actor": self._actor.state_dict()})
        return weights | {"random": torch.tensor(self._random)}

    def initial_state(self, episode: int = 0) -> State:
        """State at the start of an episode: at rest, no action yet."""
        no_action = torch.zeros(1, self._actions.width)
        return self._model.rssm.initial(1, like=no_action), no_action

    def state_to_join(self, copy: int = 0) -> State:
        """The state that was released with the weights, else the initial one."""
        return self._to_join.get(memory_of(copy)) or self.initial_state()

    @torch.no_grad()
    def act(
        self, observation: np.ndarray, state: State, rng: np.random.Generator | None
    ) -> tuple[np.ndarray, State]:
        """Choose an action.

        Args:
            observation: of the observation space.
            state: as `initial_state` or the previous call returned it.
            rng: source of exploration; ``None``: the greedy action, with the most probable latent. During the
                warm-up, actions are random.

        Returns:
            The action, inside the action space, and the next state.
        """
        latent, last = state
        rssm, seen = self._model.rssm, self._observations(observation)[None]
        uniform = None if rng is None else torch.from_numpy(rng.random((1, rssm.width), np.float32))
        latent = rssm.see(latent, self._model.encoder(seen), last, uniform)
        if rng is None:
            code = self._actor.greedy(latent.features())
        elif self._random:
            # there is no action to repeat in the first step
            repeat = rng.random() < self._repeat_probability and bool(last.any())
            code = last if repeat else torch.from_numpy(self._actions.random(rng))[None]
        else:
            shape = (1, self._actions.width)
            drawn = rng.gumbel(size=shape) if self._actions.discrete else rng.normal(size=shape)
            noise = torch.from_numpy(drawn.astype(np.float32))
            code = clip_code(self._actor.draw(latent.features(), noise, self._min_deviation))
        return self._actions.action(code[0].numpy()), (latent, code)
