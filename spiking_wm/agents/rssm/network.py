"""A recurrent state-space model whose memory is spiking neurons (Spiking-WM, Sun et al. 2025).

After DreamerV3 (Hafner et al. 2023): what is remembered, ``h``, is deterministic; what is seen, ``z``, is
some categorical variables. ``L`` steps, ``B`` sequences, ``T`` ticks a step, ``N`` neurons.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from spiking_wm.neurons.layers import CELLS, LAYERS
from spiking_wm.neurons.sizes import RSSMSizes

_UNIFORM = 0.01  # share of the uniform distribution in every categorical one


class Features(NamedTuple):
    """What heads see of a state."""

    spikes: Tensor  # h, [T, ..., N]
    sample: Tensor  # z, [..., variables classes]; the same at every tick

    def detach(self) -> "Features":
        """The same, with no gradient through it."""
        return Features(*(x.detach() for x in self))


class Latent(NamedTuple):
    """State after a step, or after many of them side by side."""

    spikes: Tensor  # h, [T, B, N]
    potentials: Tensor  # of the recurrent neurons, [S, B, N]
    sample: Tensor  # z, one-hot, [B, variables classes]

    def features(self) -> Features:
        """What heads see."""
        return Features(self.spikes, self.sample)

    def course(self) -> Features:
        """The same of stacked latents ``[L, ...]``: ``[T, L, B, N]`` and ``[L, B, ...]``."""
        return Features(self.spikes.transpose(0, 1), self.sample)

    def flat(self) -> "Latent":
        """All steps side by side: stacked latents ``[L, T, B, ...]`` as ``[T, L B, ...]``."""
        spikes, potentials = (x.transpose(0, 1).flatten(1, 2) for x in (self.spikes, self.potentials))
        return Latent(spikes, potentials, self.sample.flatten(0, 1))

    def rows(self, chosen: Tensor) -> "Latent":
        """Those of some rows of the batch."""
        return Latent(self.spikes[:, chosen], self.potentials[:, chosen], self.sample[chosen])

    def detach(self) -> "Latent":
        """The same, with no gradient through it."""
        return Latent(*(x.detach() for x in self))

    def masked(self, kept: Tensor) -> "Latent":
        """Begun anew where ``kept [B]`` is 0."""
        return Latent(*(x * kept[:, None] for x in self))


class RSSM(nn.Module):
    """Recurrent state-space model.

    Args:
        sizes: of all parts.
        embedding: width of what the encoder makes of an observation.
        action: width of an action's code.
    """

    def __init__(self, sizes: RSSMSizes, embedding: int, action: int):
        super().__init__()
        s, layer = sizes, LAYERS[sizes.spiking]
        self.classes, self.width = s.classes, s.variables * s.classes
        self.enter = layer(self.width + action, s)
        self.cell = CELLS[s.spiking](s.hidden, s)
        self.prior_hidden = layer(s.neurons, s)
        self.prior_logits = nn.Linear(s.hidden, self.width)
        self.posterior_hidden = layer(s.neurons, s)
        self.of_embedding = nn.Linear(embedding, s.hidden, bias=False)
        self.posterior_logits = nn.Linear(s.hidden, self.width)

    def initial(self, batch: int, like: Tensor) -> Latent:
        """Before the first step of an episode."""
        return Latent(*self.cell.at_rest(batch, like=like), like.new_zeros(batch, self.width))

    def observe(self, latent: Latent, embeddings: Tensor, actions: Tensor, first: Tensor, chances: Tensor):
        """Go through ``L`` observed steps.

        Args:
            latent: before them.
            embeddings: ``[T, L, B, E]``.
            actions: those that led to each step, ``[L, B, A]``.
            first: 1 where a step begins an episode, so that nothing is known of before, ``[L, B]``.
            chances: uniform random numbers ``[L, B, variables classes]``.

        Returns:
            The latents, stacked ``[L, ...]``, and logits of posteriors and priors
            ``[L, B, variables, classes]``.
        """
        course, logits, seen = [], [], self.of_embedding(embeddings)
        for t in range(len(actions)):
            kept = 1 - first[t]
            memory = self._remember(latent.masked(kept), actions[t] * kept[:, None])
            logits.append(self._posterior(memory[0], seen[:, t]))
            latent = Latent(*memory, self._draw(logits[-1], chances[t]))
            course.append(latent)
        stacked = Latent(*map(torch.stack, zip(*course)))
        priors = self.prior(stacked.spikes.transpose(0, 1))
        return stacked, torch.stack(logits), priors

    def see(self, latent: Latent, embedding: Tensor, action: Tensor, chances: Tensor | None) -> Latent:
        """One observed step, ``[T, B, E]`` after actions ``[B, A]``; without chances the most probable."""
        memory = self._remember(latent, action)
        logits = self._posterior(memory[0], self.of_embedding(embedding))
        return Latent(*memory, self._draw(logits, chances))

    def imagine(self, latent: Latent, action: Tensor, chances: Tensor | None) -> Latent:
        """One step not observed, after actions ``[B, A]``; without chances the most probable ``z``."""
        memory = self._remember(latent, action)
        return Latent(*memory, self._draw(self.prior(memory[0]), chances))

    def prior(self, spikes: Tensor) -> Tensor:
        """Logits ``[..., variables, classes]`` of ``z`` by ``h [T, ..., N]`` alone."""
        return self._logits(self.prior_logits, self.prior_hidden(spikes))

    def _posterior(self, spikes: Tensor, seen: Tensor) -> Tensor:
        return self._logits(self.posterior_logits, self.posterior_hidden(spikes, seen))

    def _logits(self, linear: nn.Linear, activity: Tensor) -> Tensor:
        """With some probability left to every class."""
        logits = linear(activity.mean(0)).unflatten(-1, (-1, self.classes))
        probabilities = (1 - _UNIFORM) * logits.softmax(-1) + _UNIFORM / self.classes
        return probabilities.log()

    def _remember(self, latent: Latent, action: Tensor) -> tuple[Tensor, Tensor]:
        entered = self.enter(torch.cat([latent.sample, action], -1)[None])
        return self.cell(self.cell.enter(entered), latent.spikes, latent.potentials)

    def _draw(self, logits: Tensor, chances: Tensor | None) -> Tensor:
        """A class of each variable, one-hot; its gradient is that of its probability (straight through)."""
        if chances is None:
            drawn = logits.argmax(-1)
        else:  # Gumbel's trick
            drawn = (logits - (-chances.view(logits.shape).log()).log()).argmax(-1)
        one_hot = nn.functional.one_hot(drawn, self.classes).to(logits)
        probabilities = logits.exp()
        return (one_hot + probabilities - probabilities.detach()).flatten(-2)
