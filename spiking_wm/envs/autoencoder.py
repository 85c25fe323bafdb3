"""An auto-encoder of screens: few numbers that a screen can be drawn from again.

Layers of 33600, 128, 64, 36, 64, 128 and 33600 as Capone & Paolucci have them, with rectified units in
between; here they see and give the difference to the usual screen. It is trained once and kept in the
user's cache (``XDG_CACHE_HOME``). Encoding and decoding load no torch.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.progress import track
from safetensors import SafetensorError
from safetensors.numpy import load, save

from spiking_wm.core.files import write_atomically

CODE = 36
_WIDTHS = (128, 64, CODE, 64, 128)
_SCREENS, _EPOCHS, _BATCH, _RATE = 10_000, 12, 128, 1e-3
_VERSION = 1  # of what is trained and how


class AutoEncoder:
    """What was learned of screens ``[H, W]``, brightness 0 to 255.

    Args:
        tensors: ``usual [H, W]``, and ``weight_k [in, out]``, ``bias_k [out]`` of every layer.
    """

    def __init__(self, tensors: dict[str, np.ndarray]):
        self._usual = tensors["usual"]
        layers = range(len(_WIDTHS) + 1)
        self._layers = [(tensors[f"weight_{k}"], tensors[f"bias_{k}"]) for k in layers]

    def encode(self, screen: np.ndarray) -> np.ndarray:
        """The code ``[36]`` of a screen."""
        changed = np.flatnonzero(screen != self._usual)  # few are; so much less is to be multiplied
        difference = screen.ravel()[changed].astype(np.float32) - self._usual.ravel()[changed]
        (weight, bias), *others = self._layers[: _WIDTHS.index(CODE) + 1]
        x = difference / np.float32(255) @ weight[changed] + bias
        for weight, bias in others:
            x = np.maximum(x, 0) @ weight + bias
        return x

    def decode(self, code: np.ndarray) -> np.ndarray:
        """The screen ``[H, W]`` that a code stands for."""
        (weight, bias), *others = self._layers[_WIDTHS.index(CODE) + 1 :]
        x = code @ weight + bias
        for weight, bias in others:
            x = np.maximum(x, 0) @ weight + bias
        screen = self._usual + 255 * x.reshape(self._usual.shape)
        return screen.clip(0, 255).astype(np.uint8)


def auto_encoder(name: str, screens: Callable[[int], np.ndarray]) -> AutoEncoder:
    """The auto-encoder of a game; trained, by one process of all, if it is not in the cache.

    Args:
        name: of the game.
        screens: gives so many of its screens, ``[count, H, W]``.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spiking_wm_ros"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"{name}_autoencoder_{_VERSION}.safetensors"
    with open(kept.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed
        try:
            return AutoEncoder(load(kept.read_bytes()))
        except (FileNotFoundError, SafetensorError, KeyError):  # none, or a damaged one
            write_atomically(kept, save(train(name, screens(_SCREENS))))
            return AutoEncoder(load(kept.read_bytes()))


def train(name: str, screens: np.ndarray) -> dict[str, np.ndarray]:
    """Tensors of an `AutoEncoder`, trained to give screens ``[count, H, W]`` again."""
    import torch
    from torch import nn

    usual = np.median(screens[::50], 0).astype(np.uint8)
    seen = torch.from_numpy(screens.reshape(len(screens), -1))
    background = torch.from_numpy(usual.ravel()).float()
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for given, wide in zip((usual.size, *_WIDTHS), (*_WIDTHS, usual.size)):
        layers += [nn.Linear(given, wide), nn.ReLU() if wide != CODE else nn.Identity()]
    network = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(network.parameters(), _RATE)
    batches = [b for _ in range(_EPOCHS) for b in torch.randperm(len(seen)).split(_BATCH)]
    torch.random.set_rng_state(state)
    for batch in track(batches, f"auto-encoder of {name}, once"):
        target = (seen[batch].float() - background) / 255
        optimizer.zero_grad()
        nn.functional.mse_loss(network(target), target).backward()
        optimizer.step()
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    tensors = {f"weight_{k}": layer.weight.detach().numpy().T.copy() for k, layer in enumerate(linear)}
    tensors |= {f"bias_{k}": layer.bias.detach().numpy().copy() for k, layer in enumerate(linear)}
    return tensors | {"usual": usual}
