"""The world model: encoder, recurrent state, and what is read out of it, learned from sequences."""

from torch import Tensor, nn

from spiking_wm.agents.rssm.network import RSSM, Features, Latent
from spiking_wm.agents.rssm.observations import Observations
from spiking_wm.agents.rssm.options import Options
from spiking_wm.agents.rssm.readout import PictureDecoder, PictureEncoder, Readout, VectorEncoder
from spiking_wm.agents.rssm.symlog import TwoHot, symexp, symlog
from spiking_wm.memory.sequences import Batch

Metrics = dict[str, float]


class WorldModel(nn.Module):
    """What happens next, in a latent space.

    Args:
        options: sizes and weights.
        observations: what is seen.
        action: width of an action's code.
    """

    def __init__(self, options: Options, observations: Observations, action: int):
        super().__init__()
        sizes, o = options.sizes(), options
        self.options, self._pictures = options, observations.pictures
        channels = observations.shape[-1]
        if self._pictures:
            self.encoder = PictureEncoder(channels, o.depth(), sizes)
        else:
            self.encoder = VectorEncoder(channels, o.layers, sizes)
        self.rssm = RSSM(sizes, self.encoder.width, action)
        if self._pictures:
            self.decoder = PictureDecoder(channels, o.depth(), sizes)
        else:
            self.decoder = Readout(channels, o.layers, sizes)
        self.reward = Readout(TwoHot.width, o.layers, sizes, scale=0.0)
        self.goes_on = Readout(1, o.layers, sizes)

    def loss(self, batch: Batch, chances: Tensor) -> tuple[Tensor, Latent, Metrics]:
        """What is to be made smaller, the posteriors stacked ``[L, ...]``, and parts of the loss.

        Args:
            batch: ``B`` sequences of ``L`` steps.
            chances: uniform random numbers ``[L, B, variables classes]``.
        """
        o = self.options
        embeddings = self.encoder(batch.observation)
        start = self.rssm.initial(batch.reward.shape[1], like=embeddings)
        course, posterior, prior = self.rssm.observe(start, embeddings, batch.action, batch.first, chances)
        features = course.course()
        dynamics = divergence(posterior.detach(), prior).clamp_min(o.free_nats)
        representation = divergence(posterior, prior.detach()).clamp_min(o.free_nats)
        parts = {
            "observation": self._surprise(features, batch.observation),
            "reward": -TwoHot(self.reward(*features).float()).log_probability(batch.reward),
            "goes_on": nn.functional.binary_cross_entropy_with_logits(
                self.goes_on(*features)[..., 0].float(), 1 - batch.terminal, reduction="none"
            ),
            "dynamics": o.dynamics_weight * dynamics,
            "representation": o.representation_weight * representation,
        }
        means = {name: part.mean() for name, part in parts.items()}
        metrics = {f"model_{name}_loss": float(mean.detach()) for name, mean in means.items()}
        metrics["divergence"] = float(divergence(posterior, prior).mean().detach())
        metrics["memory_rate"] = float(course.spikes.detach().mean())
        return sum(means.values()), course, metrics

    def _surprise(self, features: Features, observation: Tensor) -> Tensor:
        """Squared error of what is seen, ``[L, B]``."""
        decoded = self.decoder(*features).float()
        if self._pictures:
            return (decoded - (observation / 255 - 0.5)).square().sum((-3, -2, -1))
        return self.options.observation_weight * (decoded - symlog(observation)).square().sum(-1)

    def decode(self, features: Features) -> Tensor:
        """Observations, vectors or pictures of 0 to 255."""
        decoded = self.decoder(*features)
        return ((decoded + 0.5) * 255).clamp(0, 255) if self._pictures else symexp(decoded)


def divergence(of: Tensor, by: Tensor) -> Tensor:
    """Kullback-Leibler divergence in nats, of log-probabilities ``[..., variables, classes]``."""
    return (of.exp() * (of - by)).sum((-2, -1))
