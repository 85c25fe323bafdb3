"""The world model: encoder, recurrent state and heads, learned from sequences."""

from torch import Tensor, nn

from spiking_wm.agents.rssm.network import RSSM, Features, Latent
from spiking_wm.agents.rssm.observations import Observations
from spiking_wm.agents.rssm.options import Options
from spiking_wm.agents.rssm.readout import PictureDecoder, PictureEncoder, Readout, VectorEncoder
from spiking_wm.agents.rssm.symlog import TwoHot, symexp, symlog
from spiking_wm.memory.sequences import Batch

Metrics = dict[str, float]


class WorldModel(nn.Module):
    """Latent dynamics with heads for the observation, the reward and whether the episode continues.

    Args:
        options: sizes, and weights of the losses.
        observations: form of the observations.
        action: width ``A`` of an action's code.
    """

    def __init__(self, options: Options, observations: Observations, action: int):
        super().__init__()
        sizes = options.sizes()
        self.options, self._pictures = options, observations.pictures
        channels = observations.shape[-1]
        self.encoder = (PictureEncoder if self._pictures else VectorEncoder)(channels, sizes)
        self.rssm = RSSM(sizes, self.encoder.width, action)
        self.decoder = (PictureDecoder if self._pictures else Readout)(channels, sizes)
        self.reward = Readout(TwoHot.width, sizes, scale=0.0)
        self.continues = Readout(1, sizes)

    def loss(self, batch: Batch, noise: Tensor) -> tuple[Tensor, Latent, Metrics]:
        """Loss, posterior states stacked ``[L, ...]``, and the parts of the loss as metrics.

        Args:
            batch: ``B`` sequences of ``L`` steps.
            noise: uniform random numbers ``[L, B, Z]`` that draw ``z``.
        """
        o = self.options.model
        embeddings = self.encoder(batch.observation)
        start = self.rssm.initial(batch.reward.shape[1], like=embeddings)
        states, posterior, prior = self.rssm.observe(start, embeddings, batch.action, batch.first, noise)
        features = states.sequence_features()
        dynamics = divergence(posterior.detach(), prior).clamp_min(o.free_nats)
        representation = divergence(posterior, prior.detach()).clamp_min(o.free_nats)
        parts = {
            "observation": self._observation_loss(features, batch.observation),
            "reward": -TwoHot(self.reward(*features).float()).log_probability(batch.reward),
            "continues": nn.functional.binary_cross_entropy_with_logits(
                self.continues(*features)[..., 0].float(), 1 - batch.terminal, reduction="none"
            ),
            "dynamics": o.dynamics_weight * dynamics,
            "representation": o.representation_weight * representation,
        }
        means = {name: part.mean() for name, part in parts.items()}
        metrics = {f"model_{name}_loss": float(mean.detach()) for name, mean in means.items()}
        metrics["divergence"] = float(divergence(posterior, prior).mean().detach())
        metrics["memory_rate"] = float(states.spikes.detach().mean())
        return sum(means.values(), start.sample.new_zeros(())), states, metrics

    def _observation_loss(self, features: Features, observation: Tensor) -> Tensor:
        """Squared error of the decoded observation, ``[L, B]``."""
        decoded = self.decoder(*features).float()
        if self._pictures:
            return (decoded - (observation / 255 - 0.5)).square().sum((-3, -2, -1))
        return self.options.model.observation_weight * (decoded - symlog(observation)).square().sum(-1)

    def decode(self, features: Features) -> Tensor:
        """Predicted observations: vectors ``[..., D]``, or pictures ``[..., 64, 64, C]`` of 0 to 255."""
        decoded = self.decoder(*features)
        return ((decoded + 0.5) * 255).clamp(0, 255) if self._pictures else symexp(decoded)


def divergence(of: Tensor, by: Tensor) -> Tensor:
    """Kullback-Leibler divergence ``[...]`` in nats, of log-probabilities ``[..., variables, classes]``."""
    return (of.exp() * (of - by)).sum((-2, -1))
