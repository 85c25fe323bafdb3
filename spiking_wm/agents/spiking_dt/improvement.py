"""Learning by demonstrations, and by policy gradient from what the policy itself did."""

import copy
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Generator, Tensor

from spiking_wm.agents.spiking_dt.decider import Decider
from spiking_wm.agents.spiking_dt.experience import Stretches
from spiking_wm.agents.spiking_dt.network import LocalHead
from spiking_wm.agents.spiking_dt.options import Options
from spiking_wm.core.contract import Metrics


class Advantage(NamedTuple):
    """Of steps, and what else is compared with, all ``[B, L]``."""

    advantage: Tensor
    returns: Tensor
    log_probability: Tensor


class Improvement:
    """Updates of a decider, with optimisers; its average over updates is what acts.

    Args:
        decider: what learns.
        options: rates and weights.
        lowest: return that was left at worst where demonstrations are learned from.
    """

    def __init__(self, decider: Decider, options: Options, lowest: float):
        self.decider, self.options, self.lowest = decider, options, lowest
        self.average = copy.deepcopy(decider).requires_grad_(False)
        self.average.normaliser = decider.normaliser
        # one for each, since what the other remembers is of gradients of another size
        self.imitating, self.practising = (
            torch.optim.AdamW(decider.parameters(), rate, weight_decay=options.weight_decay, fused=True)
            for rate in (options.lr, options.online_lr)
        )
        self.local = LocalHead(decider.network.head, options.local_head)
        self.updates = 0

    def imitate(self, stretches: Stretches) -> Metrics:
        """One update towards what was done, for the return that came of it."""
        features = self.decider.features(stretches.trajectory)
        likely, _ = self.decider.judge(features, stretches.trajectory.code)
        loss = -_mean(likely, stretches.valid)
        share = (self.updates + 1) / self.options.warmup
        self.imitating.param_groups[0]["lr"] = self.options.lr * min(share, share**-0.5)
        self._descend(loss, self.imitating)
        if self.options.local_head:
            self._learn_locally(features.detach(), stretches)
        self._settle(max(self.options.average_rate, 1 / (self.updates + 1)))
        self.updates += 1
        return {"imitation_loss": float(loss.detach())}

    def _learn_locally(self, features: Tensor, stretches: Stretches) -> None:
        here, code = stretches.valid > 0, stretches.trajectory.code
        # from the worst up, or what earns less than nothing would be unlearned
        worth = (stretches.trajectory.asked - self.lowest) / self.options.return_scale
        with torch.no_grad():  # the error, as far as a synapse can know it
            said, deviation = self.decider.outputs(features)
            after = code - (said.exp() if self.decider.discrete else said)
            if not self.decider.discrete:
                after = torch.cat([after, torch.zeros_like(deviation)], -1)
        self.local.learn(features[here], after[here], worth[here])

    def practise(self, stretches: Stretches, generator: Generator) -> Iterator[Metrics]:
        """Some updates, one at a time, by what the policy itself did (PPO, Schulman et al. 2017)."""
        o = self.options
        self.decider.load_state_dict(self.average.state_dict())  # it is the average that acted
        goals = self._advantages(stretches)
        try:
            for _ in range(o.epochs):
                order = torch.randperm(len(stretches.reward), generator=generator)
                for part in order.split(o.online_batch):
                    goal = Advantage(*(field[part] for field in goals))
                    yield self._practise(stretches.rows(part), goal)
        finally:  # also if it is cut off
            self._settle(1.0)

    @torch.no_grad()
    def _settle(self, rate: float) -> None:
        """Take the average a little nearer to what was learned last."""
        for mean, now in zip(self.average.parameters(), self.decider.parameters()):
            mean.lerp_(now, rate)

    @torch.no_grad()
    def _advantages(self, stretches: Stretches) -> Advantage:
        """By generalised estimation from step to step, over stretches (Schulman et al. 2016)."""
        o, s = self.options, stretches
        features = self.decider.features(s.trajectory)
        values = self.decider.value(features)
        likely, _ = self.decider.judge(features[:, :-1], s.trajectory.code[:, :-1])
        reward, here = s.reward / o.return_scale, s.learned > 0
        gain = reward + o.discount * (1 - s.terminated) * values[:, 1:] - values[:, :-1]
        along = gain[here].numpy().astype(np.float64)
        decay = o.discount * o.trace_decay * s.linked[here].numpy()
        for k in range(len(along) - 2, -1, -1):
            along[k] += decay[k] * along[k + 1]
        advantage = torch.zeros_like(gain)
        advantage[here] = torch.from_numpy(along).float()
        returns = advantage + values[:, :-1]
        spread = advantage[here].std(correction=0).clamp_min(1e-6)
        return Advantage((advantage - advantage[here].mean()) / spread, returns, likely)

    def _practise(self, stretches: Stretches, goal: Advantage) -> Metrics:
        o, decider = self.options, self.decider
        features = decider.features(stretches.trajectory)[:, :-1]
        likely, entropy = decider.judge(features, stretches.trajectory.code[:, :-1])
        ratio = (likely - goal.log_probability).exp()
        clipped = ratio.clamp(1 - o.ratio_clip, 1 + o.ratio_clip)
        gain = torch.minimum(ratio * goal.advantage, clipped * goal.advantage)
        error = (decider.value(features) - goal.returns).square()
        value_loss = _mean(error, stretches.learned)
        policy_loss = -_mean(gain + o.entropy * entropy, stretches.learned)
        self._descend(policy_loss + 0.5 * value_loss, self.practising)
        return {
            "policy_loss": float(policy_loss.detach()),
            "value_loss": float(value_loss.detach()),
            "entropy": float(_mean(entropy, stretches.learned).detach()),
        }

    def _descend(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.decider.parameters(), self.options.clip)
        optimiser.step()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    return (values * weight).sum() / weight.sum().clamp_min(1)
