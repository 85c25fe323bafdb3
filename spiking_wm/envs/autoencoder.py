"""An auto-encoder that compresses an Atari screen to 36 numbers.

It has layers of 33600, 128, 64, 36, 64, 128 and 33600 units with ReLU between them, as in Capone & Paolucci.
Unlike there, inputs and outputs are differences to the median screen. It is trained once per user and stored
in the cache (``XDG_CACHE_HOME``). Encoding and decoding do not load torch.
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

CODE = 36  # size of a code
_WIDTHS = (128, 64, CODE, 64, 128)
_SCREENS, _EPOCHS, _BATCH, _RATE = 10_000, 12, 128, 1e-3
_VERSION = 1  # of network and training; part of the name of the cached file


class AutoEncoder:
    """A trained auto-encoder of grey screens ``[H, W]``, 0 to 255.

    Args:
        tensors: the median screen ``usual [H, W]``, and ``weight_k [in, out]``, ``bias_k [out]`` per layer.
    """

    def __init__(self, tensors: dict[str, np.ndarray]):
        self._usual = tensors["usual"]
        layers = range(len(_WIDTHS) + 1)
        self._layers = [(tensors[f"weight_{k}"], tensors[f"bias_{k}"]) for k in layers]

    def encode(self, screen: np.ndarray) -> np.ndarray:
        """The code ``[36]`` of a screen."""
        changed = np.flatnonzero(screen != self._usual)  # few pixels differ, so the first product is small
        difference = screen.ravel()[changed].astype(np.float32) - self._usual.ravel()[changed]
        (weight, bias), *others = self._layers[: _WIDTHS.index(CODE) + 1]
        x = difference / np.float32(255) @ weight[changed] + bias
        for weight, bias in others:
            x = np.maximum(x, 0) @ weight + bias
        return x

    def decode(self, code: np.ndarray) -> np.ndarray:
        """The screen ``[H, W]`` (uint8) of a code ``[36]``."""
        (weight, bias), *others = self._layers[_WIDTHS.index(CODE) + 1 :]
        x = code @ weight + bias
        for weight, bias in others:
            x = np.maximum(x, 0) @ weight + bias
        screen = self._usual + 255 * x.reshape(self._usual.shape)
        return screen.clip(0, 255).astype(np.uint8)


def auto_encoder(name: str, screens: Callable[[int], np.ndarray]) -> AutoEncoder:
    """Load the auto-encoder of a game from the cache. If it is missing, one process trains it.

    Args:
        name: name of the game.
        screens: function that returns ``count`` screens of the game, ``[count, H, W]``.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spiking_wm_ros"
    cache.mkdir(parents=True, exist_ok=True)
    kept = cache / f"{name}_autoencoder_{_VERSION}.safetensors"
    with open(kept.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        try:
            return AutoEncoder(load(kept.read_bytes()))
        except (FileNotFoundError, SafetensorError, KeyError):  # missing or damaged
            write_atomically(kept, save(train(name, screens(_SCREENS))))
            return AutoEncoder(load(kept.read_bytes()))


def train(name: str, screens: np.ndarray) -> dict[str, np.ndarray]:
    """Train an auto-encoder on screens ``[count, H, W]``; returns the tensors of `AutoEncoder`."""
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
