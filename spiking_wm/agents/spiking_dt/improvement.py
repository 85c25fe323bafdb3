"""Learning from demonstrations, and by PPO from the policy's own steps."""

import copy
from collections.abc import Generator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.experience import Segments
from spiking_wm.agents.spiking_dt.network import LocalHead
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.core.adam import AdamW
from spiking_wm.core.contract import Metrics


class Advantage(NamedTuple):
    """Inputs of the PPO loss for every step, all ``[B, L]``."""

    advantage: Tensor  # normalised
    returns: Tensor  # in units of `return_scale`
    log_probability: Tensor  # of the action under the policy that chose it


class Improvement:
    """Updates a decider; its average over updates is the acting policy.

    Args:
        decider: the network to train.
        options: the agent's options.
        lowest: smallest return-to-go in the demonstrations used for learning.
    """

    def __init__(self, decider: Decider, options: Options, lowest: float):
        self.decider, self.options, self.lowest = decider, options, lowest
        self.average = copy.deepcopy(decider).requires_grad_(False)
        self.average.normaliser = decider.normaliser
        # separate ones, since gradients of imitation and of PPO differ in size
        self.imitation, self.online = (
            AdamW(decider.parameters(), rate, weight_decay=options.optimiser.weight_decay, fused=True)
            for rate in (options.imitation.lr, options.online.lr)
        )
        self.local = LocalHead(decider.network.head, options.imitation.local_head)
        self.updates = 0

    def imitate(self, segments: Segments) -> Metrics:
        """One update towards the demonstrated actions, given their returns."""
        o = self.options.imitation
        features = self.decider.features(segments.trajectory)
        likely, _ = self.decider.evaluate(features, segments.trajectory.code)
        loss = -_mean(likely, segments.valid)
        share = (self.updates + 1) / o.warmup
        self.imitation.param_groups[0]["lr"] = o.lr * min(share, share**-0.5)
        self._descend(loss, self.imitation)
        if o.local_head:
            self._learn_locally(features.detach(), segments)
        self._move_average(max(o.average_rate, 1 / (self.updates + 1)))
        self.updates += 1
        return {"imitation_loss": float(loss.detach())}

    def _learn_locally(self, features: Tensor, segments: Segments) -> None:
        here, code = segments.valid > 0, segments.trajectory.code
        # relative to the worst return, so that the third factor is not negative
        worth = (segments.trajectory.return_to_go - self.lowest) / self.options.return_scale
        with torch.no_grad():  # the error that is available locally at the synapse
            said, deviation = self.decider.outputs(features)
            after = code - (said.exp() if self.decider.discrete else said)
            if not self.decider.discrete:
                after = torch.cat([after, torch.zeros_like(deviation)], -1)
        self.local.learn(features[here], after[here], worth[here])

    def ppo(self, segments: Segments, generator: torch.Generator) -> Generator[Metrics, None, None]:
        """Updates from the policy's own steps, yielding after each (PPO, Schulman et al. 2017)."""
        o = self.options.online
        self.decider.load_state_dict(self.average.state_dict())  # start from the average, which acted
        goals = self._advantages(segments)
        try:
            for _ in range(o.epochs):
                order = torch.randperm(len(segments.reward), generator=generator)
                for part in order.split(o.batch):
                    goal = Advantage(*(field[part] for field in goals))
                    yield self._ppo_update(segments.rows(part), goal)
        finally:  # also if the generator is closed early
            self._move_average(1.0)

    @torch.no_grad()
    def _move_average(self, rate: float) -> None:
        """Move the average towards the weights by a share of the difference."""
        for mean, now in zip(self.average.parameters(), self.decider.parameters()):
            mean.lerp_(now, rate)

    @torch.no_grad()
    def _advantages(self, segments: Segments) -> Advantage:
        """Generalised advantage estimation, continued across segments (Schulman et al. 2016)."""
        o, s = self.options, segments
        features = self.decider.features(s.trajectory)
        values = self.decider.value(features)
        likely, _ = self.decider.evaluate(features[:, :-1], s.trajectory.code[:, :-1])
        reward, here = s.reward / o.return_scale, s.learned > 0
        gain = reward + o.discount * (1 - s.terminated) * values[:, 1:] - values[:, :-1]
        along = gain[here].numpy().astype(np.float64)
        decay = o.discount * o.online.trace_decay * s.linked[here].numpy()
        for k in range(len(along) - 2, -1, -1):
            along[k] += decay[k] * along[k + 1]
        advantage = torch.zeros_like(gain)
        advantage[here] = torch.from_numpy(along).float()
        returns = advantage + values[:, :-1]
        spread = advantage[here].std(correction=0).clamp_min(1e-6)
        return Advantage((advantage - advantage[here].mean()) / spread, returns, likely)

    def _ppo_update(self, segments: Segments, goal: Advantage) -> Metrics:
        o, decider = self.options.online, self.decider
        features = decider.features(segments.trajectory)[:, :-1]
        likely, entropy = decider.evaluate(features, segments.trajectory.code[:, :-1])
        ratio = (likely - goal.log_probability).exp()
        clipped = ratio.clamp(1 - o.ratio_clip, 1 + o.ratio_clip)
        gain = torch.minimum(ratio * goal.advantage, clipped * goal.advantage)
        error = (decider.value(features) - goal.returns).square()
        value_loss = _mean(error, segments.learned)
        policy_loss = -_mean(gain + o.entropy * entropy, segments.learned)
        self._descend(policy_loss + 0.5 * value_loss, self.online)
        return {
            "policy_loss": float(policy_loss.detach()),
            "value_loss": float(value_loss.detach()),
            "entropy": float(_mean(entropy, segments.learned).detach()),
        }

    def _descend(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decider.parameters(), self.options.optimiser.clip)
        optimiser.step()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1)
