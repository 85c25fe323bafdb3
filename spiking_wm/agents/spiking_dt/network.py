"""Decision transformer with spiking neurons (after arXiv 2508.21505), or without (Chen et al. 2021).

A trajectory is a sequence of tokens: of each step the return-to-go, the observation, the action. Shapes:
``B`` trajectories, ``L`` steps, ``n`` new tokens, ``m`` visible tokens, ``d`` the width of a token, ``H``
heads. A token attends to itself and earlier tokens of its own step and of the ``context - 1`` steps before.

In the spiking network every weight, but those of the embeddings and of routing, is multiplied by mean rates
of LIF neurons over ``ticks``: rates are counts of spikes, so these products are sums of weights. Attention
has no softmax: what a query finds is the sum of values weighted by how often query and key fire together.
"""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from spiking_wm.agents.spiking_dt.options import NetworkOptions
from spiking_wm.neurons.compartments import LIF, spike
from spiking_wm.neurons.layers import PortNorm

KINDS = 3  # of tokens: return-to-go, observation, action
RETURN, OBSERVATION, ACTION = range(KINDS)
_GAIN, _BIAS = 0.5, 0.3  # initial gain and bias of normalised currents; the threshold is 0.5
_STEPS, _EARLY = 1024, 0.3  # number of step embeddings; their initial size
_TRACE, _LARGEST = 0.95, 1.0  # decay of the eligibility trace, largest norm of a local update


class Trajectory(NamedTuple):
    """Segments of trajectories."""

    return_to_go: Tensor  # [B, L]
    observation: Tensor  # [B, L, D]
    code: Tensor  # of actions, [B, L, A]; no token attends to the last one
    step: Tensor  # of the episode, whole numbers, [B, L]


class Cache(NamedTuple):
    """Keys and values of the tokens so far, and their steps."""

    keys: Tensor  # [layers, H, m, d / H]
    values: Tensor  # the same
    steps: Tensor  # [m]


class Units(nn.Module):
    """Normalised currents, LIF neurons that start from rest, their mean rates.

    Args:
        ports: groups of neurons that are normalised separately.
        neurons: of each group.
        ticks: time steps of the neurons.
    """

    def __init__(self, ports: int, neurons: int, ticks: int):
        super().__init__()
        self.norm = PortNorm(ports, neurons, _GAIN, _BIAS)
        self.neurons, self.ticks = LIF(ports * neurons), ticks

    def forward(self, currents: Tensor) -> Tensor:
        """Rates ``[..., P N]``, 0 to 1, for currents ``[..., P N]``."""
        drive = self.norm(currents)[None]
        return self.neurons.from_rest(drive, self.ticks, averaged=True)[0]


class PhaseCode(nn.Module):
    """Mask of the neurons of a head that may fire at a step: those whose oscillation is above 0.

    It applies to queries and keys, so their coincidences depend on their distance in time.
    """

    def __init__(self, options: NetworkOptions):
        super().__init__()
        shape = (options.heads, options.width // options.heads)
        slowest = torch.tensor(torch.pi / (2 * options.context))
        pace = slowest.log() + torch.rand(shape) * (torch.tensor(torch.pi / 2) / slowest).log()
        self.frequency = nn.Parameter(pace.exp())
        self.phase = nn.Parameter(torch.rand(shape) * 2 * torch.pi)

    def forward(self, step: Tensor) -> Tensor:
        """0 or 1, ``[..., H, n, d / H]``, for steps ``[..., n]``."""
        angle = step[..., None, :, None] * self.frequency[:, None] + self.phase[:, None]
        return spike(angle.sin())


class Block(nn.Module):
    """Attention, then a feed-forward layer; each is added to the token."""

    enter: nn.Module
    attending: nn.Module
    heads: nn.Module
    enter_hidden: nn.Module
    units: nn.Module

    def __init__(self, options: NetworkOptions, spiking: bool):
        super().__init__()
        o, d, ticks = options, options.width, options.ticks
        self.options, self.spiking = options, spiking
        self.of_query_key_value = nn.Linear(d, 3 * d, bias=False)
        self.of_heads = nn.Linear(d, d, bias=False)
        self.hidden, self.back = nn.Linear(d, o.hidden, bias=False), nn.Linear(o.hidden, d, bias=False)
        if spiking:
            self.enter, self.attending, self.heads = (
                Units(1, d, ticks),
                Units(3, d, ticks),
                Units(1, d, ticks),
            )
            self.enter_hidden, self.units = Units(1, d, ticks), Units(1, o.hidden, ticks)
        else:
            self.enter, self.attending, self.heads = nn.LayerNorm(d), nn.Identity(), nn.Identity()
            self.enter_hidden, self.units = nn.LayerNorm(d), nn.GELU()
        self.code = PhaseCode(o) if spiking and o.phase_code else None
        self.router = nn.Linear(o.heads, o.heads) if spiking and o.routing else None
        with torch.no_grad():
            for layer in (self.of_heads, self.back):  # tokens start near their embeddings
                layer.weight *= o.layers**-0.5

    def ask(self, x: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values ``[..., H, n, d / H]`` of tokens ``[..., n, d]``."""
        return self.split(self.attending(self.of_query_key_value(self.enter(x))), step)

    def split(self, attending: Tensor, step: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Split rates ``[..., n, 3 d]`` into queries, keys and values ``[..., H, n, d / H]``."""
        query, key, value = attending.unflatten(-1, (3, self.options.heads, -1)).movedim(-2, -4).unbind(-2)
        if self.code is not None:
            code = self.code(step)
            query, key = query * code, key * code
        return query, key, value

    def attend(self, query: Tensor, key: Tensor, value: Tensor, seen: Tensor) -> Tensor:
        """Attention output of queries, ``[..., H, n, d / H]``; ``seen [n, m]`` is the mask."""
        if not self.spiking:
            return nn.functional.scaled_dot_product_attention(query, key, value, seen)
        return ((query @ key.mT) * seen) @ value / query.shape[-1]

    def forward(self, x: Tensor, found: Tensor) -> Tensor:
        """Tokens ``[..., n, d]`` after this block, from the outputs of their heads ``[..., H, n, d / H]``."""
        found = found.movedim(-3, -2)
        if self.router is not None:  # dendritic routing: a gate per head, from the outputs of all heads
            found = found * self.router(found.sum(-1)).sigmoid()[..., None]
        x = x + self.of_heads(self.heads(found.flatten(-2)))
        return x + self.back(self.units(self.hidden(self.enter_hidden(x))))


class DecisionTransformer(nn.Module):
    """Features of every step, from which the action and the value are read out.

    Args:
        observation: width.
        action: width of an action's code.
        outputs: of the action head.
        options: sizes and parts.
        spiking: True: units are spiking neurons; False: no spikes.
    """

    def __init__(self, observation: int, action: int, outputs: int, options: NetworkOptions, spiking: bool):
        super().__init__()
        self.options, self.spiking = options, spiking
        o, width = options, options.width
        self.embed = nn.ModuleList(nn.Linear(inputs, width) for inputs in (1, observation, action))
        self.steps = nn.Embedding(_STEPS, width) if o.step_embeddings else None
        self.embed_norm = nn.LayerNorm(width)
        self.blocks = cast(Sequence[Block], nn.ModuleList(Block(o, spiking) for _ in range(o.layers)))
        self.leave: nn.Module = Units(1, width, o.ticks) if spiking else nn.LayerNorm(width)
        self.head, self.value = nn.Linear(width, outputs), nn.Linear(width, 1)
        with torch.no_grad():
            self.head.weight *= 0.1
            self.head.bias.zero_()
            if self.steps is not None:  # similar initial embeddings for neighbouring steps
                paces = torch.logspace(0, -1, -(-width // 2), base=_STEPS / torch.pi)
                angle = torch.arange(_STEPS)[:, None] * paces
                waves = torch.cat([angle.sin(), angle.cos()], 1)[:, :width]
                self.steps.weight.copy_(_EARLY * waves)

    def embedded(self, kind: int, content: Tensor, step: Tensor) -> Tensor:
        """Tokens ``[..., n, d]`` of one kind, for their contents ``[..., n, ?]`` and steps ``[..., n]``."""
        x = self.embed[kind](content)
        if self.steps is not None:
            x = x + self.steps(step.clamp_max(_STEPS - 1))
        return self.embed_norm(x)

    def forward(self, trajectory: Trajectory) -> Tensor:
        """Features ``[B, L, d]`` of every step, from the tokens before its action."""
        t, length = trajectory, trajectory.step.shape[1]
        parts = (t.return_to_go[..., None], t.observation, t.code)
        tokens = [self.embedded(kind, part, t.step) for kind, part in enumerate(parts)]
        x = torch.stack(tokens, 2).flatten(1, 2)
        step = t.step.repeat_interleave(KINDS, 1)
        seen = seen_by(length, self.options.context)
        for block in self.blocks:
            x = block(x, block.attend(*block.ask(x, step), seen))
        return self.leave(x[:, OBSERVATION::KINDS])

    def empty_cache(self) -> Cache:
        """The cache at the start of an episode."""
        o = self.options
        empty = torch.zeros(o.layers, o.heads, 0, o.width // o.heads)
        return Cache(empty, empty, torch.zeros(0, dtype=torch.long))

    def stream(self, x: Tensor, step: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Features ``[d]`` of the last one of new tokens ``[n, d]``, and the cache with these tokens.

        Equal to `forward` on the whole episode.
        """
        kept = cache.steps > step[0] - self.options.context
        steps = torch.cat([cache.steps[kept], step])
        seen = _seen(steps, self.options.context)[-len(step) :]
        keys, values = [], []
        for block, old_keys, old_values in zip(self.blocks, cache.keys[:, :, kept], cache.values[:, :, kept]):
            query, key, value = block.ask(x, step)
            keys.append(torch.cat([old_keys, key], -2))
            values.append(torch.cat([old_values, value], -2))
            x = block(x, block.attend(query, keys[-1], values[-1], seen))
        return self.leave(x[-1]), Cache(torch.stack(keys), torch.stack(values), steps)


def seen_by(length: int, context: int) -> Tensor:
    """Attention mask ``[3 length, 3 length]`` of a trajectory of ``length`` steps: row attends to column."""
    return _seen(torch.arange(length).repeat_interleave(KINDS), context)


def _seen(step: Tensor, context: int) -> Tensor:
    """Attention mask ``[m, m]`` of tokens in order, for their steps ``[m]``: row attends to column."""
    return (step[:, None] - step < context).tril()


class LocalHead:
    """Three-factor plasticity of an action head, in addition to its gradient (arXiv 2508.21505, section 3.3).

    An eligibility trace keeps products of activity before and after a synapse; the third factor, a return,
    turns it into a change of weight.

    Args:
        head: the layer to change.
        rate: learning rate.
    """

    def __init__(self, head: nn.Linear, rate: float):
        self._head, self._rate = head, rate
        self.trace = torch.zeros_like(head.weight)

    @torch.no_grad()
    def learn(self, before: Tensor, after: Tensor, worth: Tensor) -> None:
        """One update.

        Args:
            before: features of ``N`` decisions, ``[N, d]``.
            after: error of the head's outputs in them, ``[N, outputs]``.
            worth: the third factor, ``[N]``.
        """
        self.trace.mul_(_TRACE).addmm_((after * worth[:, None]).T, before, alpha=1 / len(before))
        change = self._rate * self.trace
        self._head.weight += change * (_LARGEST / change.norm().clamp_min(_LARGEST))
