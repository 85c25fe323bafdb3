"""Options of deep Q-networks, spiking and not."""

from dataclasses import dataclass

from spiking_wm.core.devices import DEVICES
from spiking_wm.core.options import option
from spiking_wm.neurons.sizes import QSizes, converted_sizes


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of deep Q-networks; those published for Atari are in `config/envs/atari.yaml`."""

    spiking: bool = option(True, "spiking neurons; false: ReLU (the vanilla DQN)")
    converted: bool = option(False, "act greedily by what a network with ReLU converts to, which spikes")
    # network
    neuron: str = option(
        "lif",
        "spiking neurons: leaky; leaking slower, with resets that subtract; without leak",
        choices=("lif", "lif_soft", "if"),
    )
    spiking_output: bool = option(
        False, "values are rates of spiking neurons (0 to 1), not read out of rates"
    )
    ticks: int = option(4, "spike steps within one decision", 2, 64)
    channels: tuple = option((32, 64, 64), "channels of each convolution, where pictures are observed", 1)
    kernels: tuple = option((8, 4, 3), "sides of their kernels, pixels", 1)
    strides: tuple = option((4, 2, 1), "their strides, pixels", 1)
    hidden: int = option(128, "neurons of the hidden layer", 1, 65536)
    lively: float = option(
        2.0, "deviation of spiking layers' currents before the first update, in thresholds", 0.01, 100
    )
    # conversion
    rounded: bool = option(
        False, "learn with activity rounded to what ticks can tell, so that nothing is lost; false: ReLU"
    )
    converted_ticks: int = option(64, "spike steps of a converted network within one decision", 1, 1000)
    percentile: float = option(100.0, "of a channel's activity that becomes the highest rate", 50, 100)
    calibration: int = option(512, "observations that are converted by", 1, 100_000)
    # memory
    replay: int = option(100_000, "steps remembered", 1000)
    replay_file: str = option("", "file that holds their pictures, mapped; without one memory does")
    stacked: int = option(1, "pictures in an observation; each is kept once", 1, 64)
    warmup: int = option(1000, "steps of uniformly random actions at the start", 0)
    # learning
    batch: int = option(32, "transitions in one update", 1, 65536)
    at_once: int = option(
        32, "transitions that gradients are taken of at once; fewer take less memory", 1, 65536
    )
    lr: float = option(3e-4, "learning rate", 0, 1)
    adam_epsilon: float = option(
        1e-8, "Adam's epsilon; more of it steps less where gradients are small, and keeps units alive", 0, 1
    )
    discount: float = option(0.99, "discount factor per step", 0, 1)
    n_steps: int = option(
        1, "steps whose rewards are learned from before values are (n-step returns)", 1, 100
    )
    double: bool = option(False, "targets judge the learning network's choices (van Hasselt et al. 2016)")
    target_every: int = option(250, "updates between copies to the target network", 1)
    clip_rewards: bool = option(True, "learn from the sign of rewards")
    # exploration
    epsilon: float = option(1.0, "share of random actions after warm-up", 0, 1)
    epsilon_end: float = option(0.1, "what it falls to", 0, 1)
    epsilon_steps: int = option(10_000, "steps in which it does", 1)
    evaluation_epsilon: float = option(0.05, "share of random actions in evaluations", 0, 1)
    # dreams
    world_model: bool = option(False, "learn a model of what comes next (false: no dreams)")
    model_neurons: int = option(256, "spiking neurons of the model", 1, 65536)
    model_lr: float = option(1e-3, "learning rate of the model", 0, 1)
    model_every: int = option(4, "updates per update of the model", 1, 10_000)
    horizon: int = option(3, "steps of an imagined rollout", 1, 1000)
    dream_batch: int = option(64, "rollouts imagined at once", 1, 65536)
    # computing
    device: str = option("cpu", "what learns", choices=DEVICES)

    def judged_sizes(self, shape: tuple[int, ...]) -> QSizes:
        """Those of the network that the other converts to, for observations of a shape."""
        return converted_sizes(self.sizes(shape), self.converted_ticks)

    def sizes(self, shape: tuple[int, ...]) -> QSizes:
        """Sizes of the network that learns, for observations of a shape; rounded layers fire in turn."""
        layers = 1 + (len(self.channels) if len(shape) == 3 else 0)
        return QSizes(
            spiking=self.spiking,
            neuron=self.neuron,
            spiking_output=self.spiking_output,
            levels=max(1, self.converted_ticks // layers) if self.rounded else 0,
            ticks=self.ticks,
            channels=self.channels,
            kernels=self.kernels,
            strides=self.strides,
            hidden=self.hidden,
            lively=self.lively,
        )
