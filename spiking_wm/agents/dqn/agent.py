"""Deep Q-learning with a spiking network (Liu et al. 2022), or with ReLU (Mnih et al. 2015)."""

import copy
import time
from collections.abc import Generator, Iterable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from spiking_wm.agents.dqn.conversion import convert
from spiking_wm.agents.dqn.dynamics import Dynamics
from spiking_wm.agents.dqn.latent_model import LatentModel
from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import Options
from spiking_wm.agents.dqn.policy import QPolicy
from spiking_wm.core import contract
from spiking_wm.core.adam import Adam
from spiking_wm.core.contract import Budget, DreamProgress, Metrics, Transition, Weights
from spiking_wm.core.devices import learning_device
from spiking_wm.core.process import products_in_bfloat16
from spiking_wm.core.spaces import Spaces
from spiking_wm.core.tensors import flatten, restore_optimiser, unflatten
from spiking_wm.memory.frames import Batch, Frames

ValuesAndTargets = tuple[Tensor, Tensor]  # of a batch, [B] each

_INIT_OBSERVATIONS = 16  # number of observations used to scale weights before the first update
_OPEN_LOOP_STEPS = 15  # length of the segment for `dream_against_reality`


class Agent(contract.Agent):
    """Learns values from replayed transitions awake, and from imagined ones in dreams."""

    policy_class = QPolicy
    options_class = Options
    serves_copies = True
    options: Options

    def __init__(self, options: Options, spaces: Spaces, seed: int, envs: int = 1):
        super().__init__(options, spaces, seed, envs)
        shape, actions = spaces.observation.shape, options.check(spaces)
        self._first_action, count = int(actions.start), int(actions.n)
        self._generator, self._device = torch.Generator().manual_seed(seed), learning_device(options.device)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = QNetwork(shape, count, options.network, options.spiking, options.levels(shape))
            self.network = network.to(self._device)
            self.target = copy.deepcopy(self.network).requires_grad_(False)
            self.dynamics = Dynamics(count, options).to(self._device) if options.world_model else None
        self.optimiser = Adam(self.network.parameters(), options.lr, eps=options.adam_epsilon, fused=True)
        dtype = torch.uint8 if spaces.observation.dtype == np.uint8 else torch.float32
        replay = options.replay
        self.replay = Frames(replay.size, shape, dtype, replay.stacked, replay.file, self._device, envs)
        self.steps = self.updates = 0

    # --- awake ---

    @property
    def epsilon(self) -> float:
        """Current share of random actions."""
        o, since = self.options.epsilon, self.steps - self.options.warmup
        if since < 0:
            return 1.0
        return o.start + (o.end - o.start) * min(since / o.steps, 1)

    def policy_weights(self) -> Weights:
        """The network, its converted network, and the share of random actions."""
        networks = {"network": self.network.state_dict()}
        if self.options.converted:
            networks["converted"] = self._converted().state_dict()
        weights = {name: value.cpu().clone() for name, value in flatten(networks).items()}
        return weights | {"epsilon": torch.tensor(self.epsilon)}

    def _converted(self) -> QNetwork:
        o, seen = self.options.conversion, torch.ones(1, *self.spaces.observation.shape)
        if self.steps:
            seen = self._some_observations(o.calibration).cpu()
        network = copy.deepcopy(self.network).cpu()  # it acts on the CPU
        return convert(network, seen, o.percentile, o.ticks)

    def _some_observations(self, count: int) -> Tensor:
        """Observations drawn with a separate generator, so that releases do not change what is learned."""
        generator = torch.Generator().manual_seed(self.updates)
        return self.replay.at(self.replay.sample(count, generator)).observation

    def observe(self, transition: Transition) -> None:
        """Store a transition."""
        reward = float(np.sign(transition.reward)) if self.options.clip_rewards else transition.reward
        action = transition.action - self._first_action
        self.replay.add(transition._replace(action=action), reward, self.copy_of(transition))
        self.steps += 1

    def learn(self) -> Metrics:
        """One update of the values; the world model learns once in ``model.every`` of them."""
        o = self.options
        if not self.updates and o.spiking:
            self.network.init_from_data(self._some_observations(_INIT_OBSERVATIONS))
        if self.updates % o.target.every == 0:
            self.target.load_state_dict(self.network.state_dict())
        rows = self.replay.sample(o.batch, self._generator)
        metrics = self._descend(
            (
                self._values_and_targets(self.replay.at(part, o.n_steps, o.discount))
                for part in rows.split(o.at_once)
            ),
            o.batch,
        )
        self.updates += 1
        if self.dynamics and self.updates % o.model.every == 0:
            metrics |= self.dynamics.learn(self.network, self.replay, self._generator)
        return metrics

    def _values_and_targets(self, batch: Batch) -> ValuesAndTargets:
        with self._precision():
            with torch.no_grad():
                following = self.target(batch.next_observation)
                choosing = self.network(batch.next_observation) if self.options.double else following
            values = self.network(batch.observation)
        best = following.gather(1, choosing.argmax(1, keepdim=True))[:, 0].float()
        target = batch.reward + batch.weight * best
        return values.float().gather(1, batch.action[:, None])[:, 0], target

    def _descend(self, parts: Iterable[ValuesAndTargets], count: int) -> Metrics:
        """One update from a batch of ``count`` transitions, given in parts."""
        self.optimiser.zero_grad()
        losses, values = [], []
        for value, target in parts:
            loss = F.smooth_l1_loss(value, target, reduction="none")
            (loss.sum() / count).backward()
            losses.append(loss.detach())
            values.append(value.detach())
        self.optimiser.step()
        return {"value_loss": float(torch.cat(losses).mean()), "value": float(torch.cat(values).mean())}

    def _precision(self) -> torch.autocast:
        fast = self._device.type == "cpu" and products_in_bfloat16()
        return torch.autocast(self._device.type, torch.bfloat16, enabled=fast)

    # --- dreaming ---

    @property
    def can_dream(self) -> bool:
        """True if there is a world model and more experience than the random warm-up."""
        return self.dynamics is not None and self.steps > self.options.warmup

    def dream(self, budget: Budget) -> Generator[DreamProgress, None, None]:
        """Imagine rollouts from replayed states; each of their steps updates the read-out (Dyna)."""
        assert self.dynamics, "dreams need world_model"
        started, rollouts, updates = time.monotonic(), 0, 0
        judge = copy.deepcopy(self.network)  # the target network's read-out needs its own features
        while budget.lasts(rollouts, updates, time.monotonic() - started):
            size = min(self.options.dream.batch, (budget.rollouts or 1 << 30) - rollouts)
            rows = self.replay.sample(size, self._generator)
            with torch.no_grad():
                features = self.network.features(self.replay.at(rows).observation)
            alive = torch.ones(size, device=self._device)
            for _ in range(self.options.dream.horizon):
                features, alive, metrics = self._imagine(self.dynamics.model, judge, features, alive)
                updates += 1
                if budget.updates is not None and updates >= budget.updates:
                    break
            rollouts += size
            yield DreamProgress(rollouts, updates, metrics)

    def _imagine(
        self, model: LatentModel, judge: QNetwork, features: Tensor, alive: Tensor
    ) -> tuple[Tensor, Tensor, Metrics]:
        """One step of rollouts with random actions, and an update from it.

        Args:
            model: the world model.
            judge: network whose read-out gives the values of the next step.
            features: firing rates ``[B, H]``.
            alive: probability ``[B]`` that a rollout has not ended before.

        Returns:
            ``features`` and ``alive`` after the step, and metrics of the update.
        """
        count = self.network.readout.out_features
        action = torch.randint(count, features.shape[:1], generator=self._generator).to(self._device)
        with torch.no_grad():
            predicted = model(features, action)
            goes_on = 1 - predicted.final.sigmoid()
            best = judge.values(predicted.features).amax(1)
            target = predicted.reward + self.options.discount * goes_on * best
        value = self.network.values(features).gather(1, action[:, None])[:, 0]
        # after the end of a rollout, the value is its own target (no update)
        metrics = self._descend([(value, torch.lerp(value.detach(), target, alive))], len(value))
        return predicted.features, alive * goes_on, {f"imagined_{name}": x for name, x in metrics.items()}

    # --- evaluation of the model, and snapshots ---

    def model_error(self) -> Metrics:
        """Held-out error of rates after 1 and 5 imagined steps, relative to no change."""
        return self.dynamics.error(self.network, self.replay) if self.dynamics else {}

    @torch.no_grad()
    def dream_against_reality(self) -> dict[str, np.ndarray]:
        """Values of all actions ``[15, A]`` along the newest held-out segment: real and predicted."""
        if not self.dynamics:
            return {}
        rows = self.replay.held_out(_OPEN_LOOP_STEPS, 1)
        if not rows.shape[1]:
            return {}
        features = self.dynamics.open_loop(self.network, self.replay, rows)
        return {
            name: self.network.values(x[:, 0]).cpu().numpy() for name, x in zip(("real", "dream"), features)
        }

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        found: dict[str, torch.optim.Optimizer] = {"value": self.optimiser}
        return found | ({"model": self.dynamics.optimiser} if self.dynamics else {})

    def _parts(self) -> dict:
        return {
            "network": self.network.state_dict(),
            "target": self.target.state_dict(),
            "dynamics": self.dynamics.state_dict() if self.dynamics else {},
            "adams": {name: adam.state_dict() for name, adam in self._optimisers().items()},
            "replay": self.replay.snapshot(),
            "steps": torch.tensor(self.steps),
            "updates": torch.tensor(self.updates),
            "generator": self._generator.get_state(),
        }

    def snapshot(self) -> Weights:
        """All networks, optimisers, experience and the random state."""
        return {name: value.cpu().clone() for name, value in flatten(self._parts()).items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Continue from a `snapshot`."""
        parts = unflatten(snapshot)
        self.network.load_state_dict(parts["network"])
        self.target.load_state_dict(parts["target"])
        if self.dynamics:
            self.dynamics.load_state_dict(parts["dynamics"])
        for name, adam in self._optimisers().items():
            restore_optimiser(adam, parts.get("adams", {}).get(name, {}))
        self.replay.restore(parts["replay"])
        self.steps, self.updates = int(snapshot["steps"]), int(snapshot["updates"])
        self._generator.set_state(snapshot["generator"])
