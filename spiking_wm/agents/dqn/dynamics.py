"""The world model of deep Q-networks, learned and judged."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm.agents.dqn.latent_model import LatentModel
from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import Options
from spiking_wm.core.contract import Metrics
from spiking_wm.memory.frames import Frames

_JUDGED = 256  # held-out stretches


class Dynamics(nn.Module):
    """A `LatentModel` of the rates of a network's last hidden layer, with its optimiser.

    Args:
        actions: ``A``.
        options: sizes and rates.
    """

    def __init__(self, actions: int, options: Options):
        super().__init__()
        self.options = options
        self.model = LatentModel(options.hidden, actions, options.model_neurons, options.ticks)
        self.optimiser = torch.optim.Adam(self.model.parameters(), options.model_lr, fused=True)

    def learn(self, network: QNetwork, frames: Frames, generator: Generator) -> Metrics:
        """One update; what is held out is not learned from."""
        batch = frames.at(frames.sample(self.options.batch, generator, held_out=False))
        with torch.no_grad():
            now, later = network.features(batch.observation), network.features(batch.next_observation)
        step = self.model(now, batch.action)
        goes_on = 1 - batch.final  # what follows an end is of no account
        spread = later.var(0).mean().clamp_min(1e-6)
        losses = {
            "features": (goes_on * (step.features - later).square().mean(-1)).mean() / spread,
            "reward": F.mse_loss(step.reward, batch.reward),
            "final": F.binary_cross_entropy_with_logits(step.final, batch.final),
        }
        self.optimiser.zero_grad()
        sum(losses.values()).backward()
        self.optimiser.step()
        return {f"model_{name}_loss": float(loss.detach()) for name, loss in losses.items()}

    @torch.no_grad()
    def foresee(self, network: QNetwork, frames: Frames, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rates after each of rows ``[H, W]``, and open-loop predictions of them, ``[H, W, hidden]``."""
        real, imagined, features = [], [], None
        for at in rows:
            batch = frames.at(at)
            features = network.features(batch.observation) if features is None else features
            features = self.model(features, batch.action).features
            real.append(network.features(batch.next_observation))
            imagined.append(features)
        return torch.stack(real), torch.stack(imagined)

    @torch.no_grad()
    def error(self, network: QNetwork, frames: Frames) -> Metrics:
        """Held-out squared error after 1 and 5 steps, as a share of no change's."""
        rows = frames.held_out(5, _JUDGED)
        if not rows.shape[1]:
            return {}
        real, imagined = self.foresee(network, frames, rows)
        start, metrics = network.features(frames.at(rows[0]).observation), {}
        for name, step in (("model_error_1_step", 0), ("model_error_5_step", 4)):
            error, change = ((x - real[step]).square().mean() for x in (imagined[step], start))
            metrics[name] = float(error / change.clamp_min(1e-12))
        return metrics
