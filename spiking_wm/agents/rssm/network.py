"""Recurrent state-space model (RSSM) with a recurrent cell of spiking neurons (Spiking-WM, Sun et al. 2025).

After DreamerV3 (Hafner et al. 2023): the state is a deterministic part ``h``, the output of a recurrent cell,
and a stochastic part ``z``, categorical variables. Shapes: ``L`` environment steps, ``B`` sequences, ``T``
ticks of the network per environment step, ``N`` recurrent neurons, ``Z`` variables times classes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spiking_wm.agents.rssm.options import Sizes
from spiking_wm.neurons.layers import CELLS, LAYERS

_UNIFORM = 0.01  # share of the uniform distribution in every categorical distribution


class Features(NamedTuple):
    """Input of the heads: the state without potentials."""

    spikes: Tensor  # h, [T, ..., N]
    sample: Tensor  # z, [..., Z]; the same at every tick

    def detach(self) -> "Features":
        """A copy without gradient."""
        return Features(*(x.detach() for x in self))


class Latent(NamedTuple):
    """State of the model after a step; `RSSM.observe` stacks those of many steps along a first axis."""

    spikes: Tensor  # h, [T, B, N]
    potentials: Tensor  # S compartments of the recurrent neurons, [S, B, N]
    sample: Tensor  # z, one-hot, [B, Z]

    def features(self) -> Features:
        """Input of the heads."""
        return Features(self.spikes, self.sample)

    def sequence_features(self) -> Features:
        """Input of the heads for stacked latents ``[L, ...]``: ``[T, L, B, N]`` and ``[L, B, Z]``."""
        return Features(self.spikes.transpose(0, 1), self.sample)

    def flat(self) -> "Latent":
        """Stacked latents ``[L, T, B, ...]`` as one batch ``[T, L B, ...]``."""
        spikes, potentials = (x.transpose(0, 1).flatten(1, 2) for x in (self.spikes, self.potentials))
        return Latent(spikes, potentials, self.sample.flatten(0, 1))

    def rows(self, chosen: Tensor) -> "Latent":
        """The latents of some rows of the batch, by their indices ``[R]``."""
        return Latent(self.spikes[:, chosen], self.potentials[:, chosen], self.sample[chosen])

    def detach(self) -> "Latent":
        """A copy without gradient."""
        return Latent(*(x.detach() for x in self))

    def masked(self, kept: Tensor) -> "Latent":
        """Set to the initial state where ``kept [B]`` is 0."""
        return Latent(*(x * kept[:, None] for x in self))


class RSSM(nn.Module):
    """Recurrent state-space model.

    Args:
        sizes: of all parts.
        embedding: width ``E`` of the encoder's output.
        action: width ``A`` of an action's code.
    """

    def __init__(self, sizes: Sizes, embedding: int, action: int):
        super().__init__()
        s, layer = sizes, LAYERS[sizes.spiking]
        self.classes, self.width = s.classes, s.sample
        self.enter = layer(self.width + action, s.hidden, s.neuron)
        self.cell = CELLS[s.spiking](s.hidden, s.recurrent, s.neuron)
        self.prior_hidden = layer(s.recurrent, s.hidden, s.neuron)
        self.prior_logits = nn.Linear(s.hidden, self.width)
        self.posterior_hidden = layer(s.recurrent, s.hidden, s.neuron)
        self.of_embedding = nn.Linear(embedding, s.hidden, bias=False)
        self.posterior_logits = nn.Linear(s.hidden, self.width)

    def initial(self, batch: int, like: Tensor) -> Latent:
        """State at the start of an episode, of the type and device of ``like``."""
        spikes, potentials = self.cell.at_rest(batch, like=like)
        return Latent(spikes, potentials, like.new_zeros(batch, self.width))

    def observe(
        self, latent: Latent, embeddings: Tensor, actions: Tensor, first: Tensor, noise: Tensor
    ) -> tuple[Latent, Tensor, Tensor]:
        """Filter ``L`` observed steps: the posterior after each.

        Args:
            latent: state before them.
            embeddings: the encoder's output, ``[T, L, B, E]``.
            actions: codes of the actions that led to each step, ``[L, B, A]``.
            first: 1 where a step begins an episode, so that the state before is dropped, ``[L, B]``.
            noise: uniform random numbers ``[L, B, Z]`` that draw ``z``.

        Returns:
            The latents stacked ``[L, ...]``, and log-probabilities of posteriors and priors
            ``[L, B, variables, classes]``.
        """
        states, logits, embedded = [], [], self.of_embedding(embeddings)
        for t in range(len(actions)):
            kept = 1 - first[t]
            memory = self._remember(latent.masked(kept), actions[t] * kept[:, None])
            logits.append(self._posterior(memory[0], embedded[:, t]))
            latent = Latent(*memory, self._draw(logits[-1], noise[t]))
            states.append(latent)
        stacked = Latent(*map(torch.stack, zip(*states)))
        priors = self.prior(stacked.spikes.transpose(0, 1))
        return stacked, torch.stack(logits), priors

    def see(self, latent: Latent, embedding: Tensor, action: Tensor, noise: Tensor | None) -> Latent:
        """One observed step.

        Args:
            latent: state before it.
            embedding: the encoder's output, ``[T, B, E]``.
            action: code of the action that led there, ``[B, A]``.
            noise: uniform random numbers ``[B, Z]`` that draw ``z``; ``None``: the most probable ``z``.
        """
        memory = self._remember(latent, action)
        logits = self._posterior(memory[0], self.of_embedding(embedding))
        return Latent(*memory, self._draw(logits, noise))

    def imagine(self, latent: Latent, action: Tensor, noise: Tensor | None) -> Latent:
        """One imagined step, with ``z`` of the prior; arguments as in `see`."""
        memory = self._remember(latent, action)
        return Latent(*memory, self._draw(self.prior(memory[0]), noise))

    def prior(self, spikes: Tensor) -> Tensor:
        """Log-probabilities ``[..., variables, classes]`` of ``z`` given ``h [T, ..., N]`` alone."""
        return self._logits(self.prior_logits, self.prior_hidden(spikes))

    def _posterior(self, spikes: Tensor, embedded: Tensor) -> Tensor:
        return self._logits(self.posterior_logits, self.posterior_hidden(spikes, embedded))

    def _logits(self, linear: nn.Linear, activity: Tensor) -> Tensor:
        """Log-probabilities, mixed with the uniform distribution so that no class has probability 0."""
        logits = linear(activity.mean(0)).unflatten(-1, (-1, self.classes))
        probabilities = (1 - _UNIFORM) * logits.softmax(-1) + _UNIFORM / self.classes
        return probabilities.log()

    def _remember(self, latent: Latent, action: Tensor) -> tuple[Tensor, Tensor]:
        entered = self.enter(torch.cat([latent.sample, action], -1)[None])
        return self.cell(self.cell.enter(entered), latent.spikes, latent.potentials)

    def _draw(self, logits: Tensor, noise: Tensor | None) -> Tensor:
        """A class of each variable, one-hot ``[..., Z]``, with the straight-through gradient."""
        if noise is None:
            drawn = logits.argmax(-1)
        else:  # Gumbel-max trick
            drawn = (logits - (-noise.view(logits.shape).log()).log()).argmax(-1)
        one_hot = nn.functional.one_hot(drawn, self.classes).to(logits)
        probabilities = logits.exp()
        return (one_hot + probabilities - probabilities.detach()).flatten(-2)
