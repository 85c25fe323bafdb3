"""The world model of deep Q-networks: training and evaluation."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from spiking_wm.agents.dqn.latent_model import LatentModel
from spiking_wm.agents.dqn.network import QNetwork
from spiking_wm.agents.dqn.options import Options
from spiking_wm.core.adam import Adam
from spiking_wm.core.contract import Metrics
from spiking_wm.memory.frames import Frames

_HELD_OUT = 256  # number of held-out segments for the error


class Dynamics(nn.Module):
    """A `LatentModel` of the firing rates of a network's hidden layer, with its optimiser.

    Args:
        actions: ``A``.
        options: sizes and learning rates.
    """

    def __init__(self, actions: int, options: Options):
        super().__init__()
        self.options = options
        network, model = options.network, options.model
        self.model = LatentModel(network.hidden, actions, model.neurons, network.ticks)
        self.optimiser = Adam(self.model.parameters(), model.lr, fused=True)

    def learn(self, network: QNetwork, frames: Frames, generator: Generator) -> Metrics:
        """One update from transitions that are not held out."""
        batch = frames.at(frames.sample(self.options.batch, generator, held_out=False))
        with torch.no_grad():
            now, later = network.features(batch.observation), network.features(batch.next_observation)
        predicted = self.model(now, batch.action)
        goes_on = 1 - batch.final  # rates after an end are not trained
        variance = later.var(0).mean().clamp_min(1e-6)
        losses = {
            "features": (goes_on * (predicted.features - later).square().mean(-1)).mean() / variance,
            "reward": F.mse_loss(predicted.reward, batch.reward),
            "final": F.binary_cross_entropy_with_logits(predicted.final, batch.final),
        }
        self.optimiser.zero_grad()
        torch.stack([*losses.values()]).sum().backward()
        self.optimiser.step()
        return {f"model_{name}_loss": float(loss.detach()) for name, loss in losses.items()}

    @torch.no_grad()
    def open_loop(self, network: QNetwork, frames: Frames, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Rates after each of rows ``[H, W]``, and open-loop predictions of them, ``[H, W, hidden]``."""
        real, predicted = [], []
        features = network.features(frames.at(rows[0]).observation)
        for at in rows:
            batch = frames.at(at)
            features = self.model(features, batch.action).features
            real.append(network.features(batch.next_observation))
            predicted.append(features)
        return torch.stack(real), torch.stack(predicted)

    @torch.no_grad()
    def error(self, network: QNetwork, frames: Frames) -> Metrics:
        """Held-out squared error after 1 and 5 steps, relative to a model that predicts no change."""
        rows = frames.held_out(5, _HELD_OUT)
        if not rows.shape[1]:
            return {}
        real, predicted = self.open_loop(network, frames, rows)
        start, metrics = network.features(frames.at(rows[0]).observation), {}
        for name, step in (("model_error_1_step", 0), ("model_error_5_step", 4)):
            error, change = ((x - real[step]).square().mean() for x in (predicted[step], start))
            metrics[name] = float(error / change.clamp_min(1e-12))
        return metrics
