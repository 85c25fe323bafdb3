"""Two recurrent spiking networks, actor and model, that learn online by local plasticity.

After Capone & Paolucci, "Towards biologically plausible dreaming and planning in recurrent spiking
networks". Of experience, only a few states are stored, from which dreams start.
"""

import time
from collections.abc import Generator, Mapping

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.rsnn.actor_and_model import ActorAndModel
from spiking_wm.agents.rsnn.open_loop import OpenLoopPrediction
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.agents.rsnn.policy import RSNNPolicy, released
from spiking_wm.core import contract
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.spaces import Spaces


class Agent(contract.Agent):
    """The model learns in every step; the actor collects credit awake, in plans and in dreams."""

    options_class = Options
    policy_class = RSNNPolicy

    def __init__(self, options: Options, spaces: Spaces, seed: int):
        super().__init__(options, spaces, seed)
        self.networks = networks = ActorAndModel(options, spaces, [seed])
        self._open_loop = OpenLoopPrediction(networks, networks.model) if networks.model else None

    def policy_weights(self) -> Weights:
        """The agent network, and the scaling of its inputs."""
        arrays = released(self.networks.actor, self.networks.inputs)
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def policy_state(self) -> Weights:
        """The activity of the agent network; exact if policies are released as often as it learns."""
        activity = vars(self.networks.awake.activity)
        return {f"activity/{name}": torch.from_numpy(array.copy()) for name, array in activity.items()}

    def observe(self, transition: Transition) -> None:
        """Process one step: the model learns from it, the actor collects credit."""
        t, reward = transition, np.full(1, transition.reward, np.float32)
        self.networks.see(t.observation[None])
        self.networks.choose(np.asarray(t.action)[None])
        if self._open_loop:
            self._open_loop.step(t.action, t.next_observation)
        self.networks.follow(t.next_observation[None], reward, t.terminated, t.truncated)
        if self._open_loop and t.done:
            self._open_loop.stop()
        elif self._open_loop:
            self._open_loop.start(t.next_observation)

    def learn(self) -> Metrics:
        """One update of the actor with the gradient credited awake since the last one."""
        self.networks.learn()
        return self.model_error()

    @property
    def can_dream(self) -> bool:
        """True if there is a model and the policy learns already."""
        return self.networks.can_dream

    def dream(self, budget: Budget) -> Generator[DreamProgress, None, None]:
        """Dreams, with one update for every `dream.batch` of them."""
        started, rollouts, updates = time.monotonic(), 0, 0
        batch = self.options.dream.batch
        while budget.lasts(rollouts, updates, time.monotonic() - started):
            left = batch if budget.rollouts is None else budget.rollouts - rollouts
            metrics = self.networks.dream(left)
            rollouts, updates = rollouts + min(left, batch), updates + 1
            yield DreamProgress(rollouts, updates, metrics)

    def model_error(self) -> Metrics:
        """Running squared error of one-step predictions, relative to the error of predicting no change.

        Each prediction is made before the model learns from its step.
        """
        if not self.networks.model:
            return {}
        return {"model_error_1_step": float(self.networks.model.relative_error()[0])}

    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """The last segment that the model predicted open-loop; empty before the first one."""
        return self._open_loop.last() if self._open_loop else {}

    def snapshot(self) -> Weights:
        """All weights, traces, states of neurons, stored starts of dreams and counters."""
        return self.networks.snapshot()

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        self.networks.restore(snapshot)
        if self._open_loop:
            self._open_loop.stop()
