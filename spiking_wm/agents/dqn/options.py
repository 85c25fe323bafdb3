"""Options of deep Q-networks, with and without spikes. Does not load torch."""

from dataclasses import dataclass, replace

from gymnasium.spaces import Discrete

from spiking_wm.core.devices import DEVICES
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import group, option
from spiking_wm.core.spaces import Spaces


@dataclass(frozen=True)
class NetworkOptions:
    """Layers of the Q-network, and its neurons where it spikes."""

    neuron: str = option(
        "lif",
        "spiking neurons: leaky (lif), leaky with a slower leak and a reset by subtraction (lif_soft), or"
        " without leak (if)",
        choices=("lif", "lif_soft", "if"),
        was="neuron",
    )
    ticks: int = option(4, "time steps of the network within one decision", 2, 64, was="ticks")
    channels: tuple[int, ...] = option(
        (32, 64, 64), "channels of each convolution, for pictures", 1, was="channels"
    )
    kernels: tuple[int, ...] = option((8, 4, 3), "sides of their kernels, pixels", 1, was="kernels")
    strides: tuple[int, ...] = option((4, 2, 1), "their strides, pixels", 1, was="strides")
    hidden: int = option(128, "neurons of the hidden layer", 1, 65536, was="hidden")
    spiking_output: bool = option(
        False,
        "values are firing rates of spiking neurons (0 to 1), not a linear read-out",
        was="spiking_output",
    )
    init_gain: float = option(
        2.0,
        "standard deviation of a spiking layer's currents before the first update, in thresholds",
        0.01,
        100,
        was="lively",
    )

    def check_pictures(self, height: int, width: int) -> None:
        """Check that the convolutions fit pictures of a size.

        Raises:
            UserError: if they do not; the message names the fix.
        """
        layers = (self.channels, self.kernels, self.strides)
        if len({len(of_all) for of_all in layers}) > 1:
            raise UserError(
                "network.channels, network.kernels and network.strides need a number for each layer, not"
                f" {layers}"
            )
        side = min(height, width)
        for kernel, stride in zip(self.kernels, self.strides):
            side = (side - kernel) // stride + 1
            if side < 1:
                raise UserError(
                    f"pictures of {height} x {width} are too small for network.kernels:="
                    f"{list(self.kernels)} network.strides:={list(self.strides)}: set smaller ones"
                )

    def converted(self, ticks: int, levels: int = 0) -> "NetworkOptions":
        """Of the spiking network that a network without spikes converts to.

        Args:
            ticks: time steps of its layers, which fire at the same time.
            levels: of rounded activity; with these, its layers fire one after the other, for so many time
                steps each.
        """
        if levels:
            return replace(self, neuron="rounded", ticks=levels)
        return replace(self, neuron="converted", ticks=ticks)


@dataclass(frozen=True)
class ConversionOptions:
    """Conversion of a network without spikes to a spiking network."""

    rounded: bool = option(
        False,
        "train with activity clipped and rounded to values that spikes can represent (exact conversion);"
        " false: ReLU",
        was="rounded",
    )
    ticks: int = option(
        64, "time steps of the converted network within one decision", 1, 1000, was="converted_ticks"
    )
    percentile: float = option(
        100.0,
        "percentile of a channel's activity that becomes one spike per time step",
        50,
        100,
        was="percentile",
    )
    calibration: int = option(
        512, "replayed observations for measuring the activity", 1, 100_000, was="calibration"
    )


@dataclass(frozen=True)
class ReplayOptions:
    """Replay memory."""

    size: int = option(100_000, "steps remembered", 1000, was="replay")
    file: str = option("", "memory-mapped file for pictures; empty: main memory")
    stacked: int = option(1, "pictures in an observation; each is stored once", 1, 64, was="stacked")


@dataclass(frozen=True)
class TargetOptions:
    """The target network."""

    every: int = option(250, "updates between copies of the network to the target network", 1)


@dataclass(frozen=True)
class EpsilonOptions:
    """Share of random actions (epsilon-greedy exploration)."""

    start: float = option(1.0, "share of random actions right after warm-up", 0, 1, was="epsilon")
    end: float = option(0.1, "share of random actions at the end", 0, 1)
    steps: int = option(10_000, "steps in which the share falls linearly from start to end", 1)
    evaluation: float = option(0.05, "share of random actions in evaluations", 0, 1, was="evaluation_epsilon")


@dataclass(frozen=True)
class ModelOptions:
    """The spiking world model."""

    neurons: int = option(256, "spiking neurons of the model", 1, 65536)
    lr: float = option(1e-3, "learning rate of the model", 0, 1)
    every: int = option(4, "updates of the values per update of the model", 1, 10_000)


@dataclass(frozen=True)
class DreamOptions:
    """Imagined rollouts."""

    horizon: int = option(3, "steps of an imagined rollout", 1, 1000, was="horizon")
    batch: int = option(64, "rollouts imagined in parallel", 1, 65536)


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of deep Q-networks; those published for Atari are in `config/envs/atari.yaml`."""

    spiking: bool = option(True, "spiking neurons; false: ReLU (DQN)")
    converted: bool = option(
        False, "greedy actions by the spiking network converted from the network without spikes"
    )
    network: NetworkOptions = group(NetworkOptions())
    conversion: ConversionOptions = group(ConversionOptions())
    replay: ReplayOptions = group(ReplayOptions())
    warmup: int = option(1000, "steps of uniformly random actions at the start", 0)
    batch: int = option(32, "transitions in one update", 1, 65536)
    at_once: int = option(
        32, "transitions whose gradients are computed at once; fewer take less memory", 1, 65536
    )
    lr: float = option(3e-4, "learning rate", 0, 1)
    adam_epsilon: float = option(
        1e-8, "Adam's epsilon; larger values make smaller steps where gradients are small", 0, 1
    )
    discount: float = option(0.99, "discount factor per step", 0, 1)
    n_steps: int = option(1, "steps of n-step returns", 1, 100)
    double: bool = option(
        False, "double Q-learning: the online network chooses the action that the target values"
    )
    clip_rewards: bool = option(True, "learn from the sign of rewards")
    target: TargetOptions = group(TargetOptions())
    epsilon: EpsilonOptions = group(EpsilonOptions())
    world_model: bool = option(False, "learn a world model (false: no dreaming)")
    model: ModelOptions = group(ModelOptions())
    dream: DreamOptions = group(DreamOptions())
    device: str = option("cpu", "device that learns", choices=DEVICES)

    def check(self, spaces: Spaces) -> Discrete:
        """Check options and spaces; returns the action space.

        Raises:
            UserError: if no Q-network can be made for them; the message names the fix.
        """
        shape, actions = spaces.observation.shape, spaces.action
        if not isinstance(actions, Discrete) or len(shape) not in (1, 3):
            raise UserError(
                f"dqn chooses among discrete actions by vectors or pictures, not {actions} by {shape}:"
                " choose another env:="
            )
        if self.converted and (self.spiking or self.network.spiking_output):
            raise UserError("converted:=true converts ReLU: set spiking:=false network.spiking_output:=false")
        if self.conversion.rounded and self.spiking:
            raise UserError(
                "conversion.rounded:=true is for activity that does not spike: set spiking:=false"
            )
        if len(shape) == 3:
            self.network.check_pictures(*shape[:2])
        return actions

    def levels(self, shape: tuple[int, ...]) -> int:
        """Levels of rounded activity for observations of a shape; 0: activity is not rounded.

        Layers of what it converts to fire one after the other and share the time steps.
        """
        layers = 1 + (len(self.network.channels) if len(shape) == 3 else 0)
        return max(1, self.conversion.ticks // layers) if self.conversion.rounded else 0

    def converted_network(self, shape: tuple[int, ...]) -> NetworkOptions:
        """Of the network that the learned one converts to, for observations of a shape."""
        return self.network.converted(self.conversion.ticks, self.levels(shape))
