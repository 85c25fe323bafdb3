"""Decision transformer of spiking neurons (after arXiv 2508.21505), and the one without (Chen et al. 2021).

A trajectory is tokens: of each step the return that is still asked for, the observation, the action. ``B``
trajectories, ``L`` steps, ``n`` tokens that are new, ``m`` that are seen, ``d`` the width of a token, ``H``
heads. A token sees itself and what came before it, of its own step and the ``context - 1`` steps before.

Where it spikes every product but those of the tokens' embeddings, of normalising and of routing is one of
weights, or spikes, with mean rates of LIF neurons over ``ticks``, so it is sums of weights: rates are counts
of spikes. Attention has no softmax: what a query finds is the sum of values weighted by how often query and
key fire together.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spiking_wm.neurons.compartments import LIF, spike
from spiking_wm.neurons.layers import PortNorm
from spiking_wm.neurons.sizes import TransformerSizes

KINDS = 3  # of tokens: return, observation, action
RETURN, OBSERVATION, ACTION = range(KINDS)
_GAIN, _BIAS = 0.5, 0.3  # of normalised currents to begin with; the threshold is 0.5
_STEPS, _EARLY = 1024, 0.3  # steps that have embeddings of their own; size of those to begin with
_TRACE, _MOST = 0.95, 1.0  # decay of the eligibility trace, largest norm of a local update


class Trajectory(NamedTuple):
    """Stretches of trajectories."""

    asked: Tensor  # return, [B, L]
    observation: Tensor  # [B, L, D]
    code: Tensor  # of actions, [B, L, A]; the last one is seen by nothing
    step: Tensor  # of the episode, whole numbers, [B, L]


class Cache(NamedTuple):
    """Keys and values of tokens seen, and of which steps they were."""

    keys: Tensor  # [layers, H, m, d / H]
    values: Tensor  # the same
    steps: Tensor  # [m]


class Units(nn.Module):
    """Normalised currents, LIF neurons from rest, their mean rates.

    Args:
        ports: parts that are normalised apart.
        neurons: of each.
        sizes: ticks.
    """

    def __init__(self, ports: int, neurons: int, sizes: TransformerSizes):
        super().__init__()
        self.norm = PortNorm(ports, neurons, _GAIN, _BIAS)
        self.neurons, self.ticks = LIF(ports * neurons), sizes.ticks

    def forward(self, currents: Tensor) -> Tensor:
        """Rates ``[..., N]``."""
        drive = self.norm(currents)[None]
        return self.neurons.from_rest(drive, self.ticks, averaged=True)[0]


class PhaseCode(nn.Module):
    """Which neurons of a head may fire at a step: those whose oscillation is above 0.

    Queries and keys both pass through it, so how often they meet depends on how far apart they are.
    """

    def __init__(self, sizes: TransformerSizes):
        super().__init__()
        shape = (sizes.heads, sizes.width // sizes.heads)
        slowest = torch.tensor(torch.pi / (2 * sizes.context))
        pace = slowest.log() + torch.rand(shape) * (torch.tensor(torch.pi / 2) / slowest).log()
        self.frequency = nn.Parameter(pace.exp())
        self.phase = nn.Parameter(torch.rand(shape) * 2 * torch.pi)

    def forward(self, step: Tensor) -> Tensor:
        """0 or 1, ``[..., H, n, d / H]``, for steps ``[..., n]``."""
        angle = step[..., None, :, None] * self.frequency[:, None] + self.phase[:, None]
        return spike(angle.sin())


class Block(nn.Module):
    """Attention and two layers, each added to the token."""

    def __init__(self, sizes: TransformerSizes):
        super().__init__()
        s, d = sizes, sizes.width
        self.sizes = s
        self.of_query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.of_heads = nn.Linear(d, d, bias=False)
        self.hidden, self.back = nn.Linear(d, s.hidden, bias=False), nn.Linear(s.hidden, d, bias=False)
        if s.spiking:
            self.enter, self.attending, self.heads = Units(1, d, s), Units(3, d, s), Units(1, d, s)
            self.enter_hidden, self.units = Units(1, d, s), Units(1, s.hidden, s)
        else:
            self.enter, self.attending, self.heads = nn.LayerNorm(d), nn.Identity(), nn.Identity()
            self.enter_hidden, self.units = nn.LayerNorm(d), nn.GELU()
        self.code = PhaseCode(s) if s.phase_code else None
        self.router = nn.Linear(s.heads, s.heads) if s.routing else None
        with torch.no_grad():
            for layer in (self.of_heads, self.back):  # tokens begin as they are embedded
                layer.weight *= s.layers**-0.5

    def ask(self, x: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[..., H, n, d / H]`` of tokens ``[..., n, d]``."""
        return self.split(self.attending(self.of_query_key_value(self.enter(x))), step)

    def split(self, attending: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[..., H, n, d / H]`` in rates ``[..., n, 3 d]``."""
        query, key, value = attending.unflatten(-1, (3, self.sizes.heads, -1)).movedim(-2, -4).unbind(-2)
        if self.code is not None:
            code = self.code(step)
            query, key = query * code, key * code
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        """What queries find, ``[..., n, d]``, among keys and values of what is ``seen [n, m]``."""
        if not self.sizes.spiking:
            return nn.functional.scaled_dot_product_attention(query, key, value, seen)
        return ((query @ key.mT) * seen) @ value / query.shape[-1]

    def forward(self, x: Tensor, found: Tensor) -> Tensor:
        """Tokens ``[..., n, d]`` after this block, for what their heads found, ``[..., H, n, d / H]``."""
        found = found.movedim(-3, -2)
        if self.router is not None:  # every head by what all heads find
            found = found * self.router(found.sum(-1)).sigmoid()[..., None]
        x = x + self.of_heads(self.heads(found.flatten(-2)))
        return x + self.back(self.units(self.hidden(self.enter_hidden(x))))


class DecisionTransformer(nn.Module):
    """What comes next of actions, for what is asked.

    Args:
        observation: width.
        action: width of an action's code.
        outputs: of the action head, for each step.
        sizes: of all parts.
    """

    def __init__(self, observation: int, action: int, outputs: int, sizes: TransformerSizes):
        super().__init__()
        s = self.sizes = sizes
        self.embed = nn.ModuleList(nn.Linear(inputs, s.width) for inputs in (1, observation, action))
        self.steps = nn.Embedding(_STEPS, s.width) if s.step_embeddings else None
        self.embed_norm = nn.LayerNorm(s.width)
        self.blocks = nn.ModuleList(Block(s) for _ in range(s.layers))
        self.leave = Units(1, s.width, s) if s.spiking else nn.LayerNorm(s.width)
        self.head, self.value = nn.Linear(s.width, outputs), nn.Linear(s.width, 1)
        with torch.no_grad():
            self.head.weight *= 0.1
            self.head.bias.zero_()
            if self.steps is not None:  # steps that are near each other begin alike
                paces = torch.logspace(0, -1, -(-s.width // 2), base=_STEPS / torch.pi)
                angle = torch.arange(_STEPS)[:, None] * paces
                waves = torch.cat([angle.sin(), angle.cos()], 1)[:, : s.width]
                self.steps.weight.copy_(_EARLY * waves)

    def embedded(self, kind: int, of_it: Tensor, step: Tensor) -> Tensor:
        """Tokens ``[..., n, d]`` of one kind."""
        x = self.embed[kind](of_it)
        if self.steps is not None:
            x = x + self.steps(step.clamp_max(_STEPS - 1))
        return self.embed_norm(x)

    def forward(self, trajectory: Trajectory) -> Tensor:
        """What heads see of every step when its action is still to come, ``[B, L, d]``."""
        t, length = trajectory, trajectory.step.shape[1]
        parts = (t.asked[..., None], t.observation, t.code)
        tokens = [self.embedded(kind, part, t.step) for kind, part in enumerate(parts)]
        x = torch.stack(tokens, 2).flatten(1, 2)
        step = t.step.repeat_interleave(KINDS, 1)
        seen = seen_by(length, self.sizes.context)
        for block in self.blocks:
            x = block(x, block.attend(*block.ask(x, step), seen))
        return self.leave(x[:, OBSERVATION::KINDS])

    def nothing_seen(self) -> Cache:
        """At the start of an episode."""
        s = self.sizes
        empty = torch.zeros(s.layers, s.heads, 0, s.width // s.heads)
        return Cache(empty, empty, torch.zeros(0, dtype=torch.long))

    def stream(self, x: Tensor, step: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """What heads see of the last of tokens ``[n, d]`` that are new, ``[d]``, and what is seen by then.

        As `forward`, where that is given the whole episode.
        """
        kept = cache.steps > step[0] - self.sizes.context
        steps = torch.cat([cache.steps[kept], step])
        seen = _seen(steps, self.sizes.context)[-len(step) :]
        keys, values = [], []
        for block, old_keys, old_values in zip(self.blocks, cache.keys[:, :, kept], cache.values[:, :, kept]):
            query, key, value = block.ask(x, step)
            keys.append(torch.cat([old_keys, key], -2))
            values.append(torch.cat([old_values, value], -2))
            x = block(x, block.attend(query, keys[-1], values[-1], seen))
        return self.leave(x[-1]), Cache(torch.stack(keys), torch.stack(values), steps)


def seen_by(length: int, context: int) -> Tensor:
    """Which tokens each sees where all of ``length`` steps are there, ``[3 length, 3 length]``."""
    return _seen(torch.arange(length).repeat_interleave(KINDS), context)


def _seen(step: Tensor, context: int) -> Tensor:
    """Which tokens each sees, ``[m, m]``, for the steps that they are of, ``[m]``, in order."""
    return (step[:, None] - step < context).tril()


class LocalHead:
    """Three-factor plasticity of an action head, besides its gradient (arXiv 2508.21505, section 3.3).

    A trace remembers what was active before and after a synapse together; a third factor, the return,
    makes it a change.

    Args:
        head: what changes.
        rate: of it.
    """

    def __init__(self, head: nn.Linear, rate: float):
        self._head, self._rate = head, rate
        self.trace = torch.zeros_like(head.weight)

    @torch.no_grad()
    def learn(self, before: Tensor, after: Tensor, worth: Tensor) -> None:
        """Change by activity ``[N, d]`` and ``[N, outputs]`` of decisions that were worth ``[N]``."""
        self.trace.mul_(_TRACE).addmm_((after * worth[:, None]).T, before, alpha=1 / len(before))
        change = self._rate * self.trace
        self._head.weight += change * (_MOST / change.norm().clamp_min(_MOST))
