"""Options of the recurrent world models, spiking and not."""

from dataclasses import dataclass

from spiking_wm.core.devices import DEVICES
from spiking_wm.core.options import group, option
from spiking_wm.neurons.options import NeuronOptions

# what `size` stands for
_SIZES = {
    "tiny": {"recurrent": 256, "hidden": 128, "variables": 16, "classes": 16, "depth": 8},
    "small": {"recurrent": 256, "hidden": 256, "variables": 16, "classes": 16, "depth": 16},
    "published": {"recurrent": 512, "hidden": 512, "variables": 32, "classes": 32, "depth": 32},
}


@dataclass(frozen=True)
class Sizes:
    """Sizes of all networks, and the neurons that they are made of."""

    recurrent: int  # neurons of the recurrent cell
    hidden: int  # neurons of each other layer
    variables: int  # categorical variables of the latent
    classes: int  # of each variable
    depth: int  # channels of the first convolution
    layers: int = 2  # of encoder, decoder, actor, critic and other heads
    spiking: bool = True
    neuron: NeuronOptions = NeuronOptions()

    @property
    def sample(self) -> int:
        """Width of a sampled latent, the one-hot codes of all variables."""
        return self.variables * self.classes


@dataclass(frozen=True)
class ReplayOptions:
    """Experience that is learned from."""

    size: int = option(500_000, "environment steps remembered", 1000, was="replay")


@dataclass(frozen=True)
class ModelOptions:
    """Learning of the world model."""

    lr: float = option(1e-3, "learning rate of the world model", 0, 1)
    clip: float = option(1000.0, "largest norm of the world model's gradient", 0)
    free_nats: float = option(
        1.0, "divergence of posterior and prior without loss, in nats", 0, was="free_nats"
    )
    observation_weight: float = option(
        10.0, "weight of the squared error of decoded vectors", 0, 1e4, was="observation_weight"
    )
    dynamics_weight: float = option(
        0.5, "weight of the divergence that trains the prior", 0, 100, was="dynamics_weight"
    )
    representation_weight: float = option(
        0.1, "weight of the divergence that trains the posterior", 0, 100, was="representation_weight"
    )


@dataclass(frozen=True)
class ActorOptions:
    """Learning of the actor, and its exploration."""

    lr: float = option(3e-4, "learning rate of the actor", 0, 1)
    gradient: str = option(
        "dynamics",
        "gradient for continuous actions: of returns through the model, or of log-probabilities (score)",
        choices=("dynamics", "score"),
        was="gradient",
    )
    entropy: float = option(3e-3, "weight of the policy's entropy", 0, 100, was="entropy")
    min_deviation: float = option(
        0.3,
        "smallest standard deviation of continuous actions in the environment, in half ranges",
        0,
        1,
        was="exploration",
    )
    epochs: int = option(
        2, "passes over imagined rollouts with gradient score; dynamics: 1", 1, 100, was="epochs"
    )
    minibatches: int = option(4, "updates per pass with gradient score; dynamics: 1", 1, 100, was="parts")


@dataclass(frozen=True)
class CriticOptions:
    """Learning of the critic."""

    lr: float = option(3e-4, "learning rate of the critic", 0, 1)
    trace_decay: float = option(0.95, "lambda of lambda-returns", 0, 1, was="trace_decay")
    target_rate: float = option(
        0.02, "share of the critic that its slow copy takes per update", 0, 1, was="target_rate"
    )
    replay_weight: float = option(
        0.3, "weight of the critic's loss on returns of replayed sequences", 0, 100, was="replayed"
    )
    offset_rate: float = option(
        0.5, "share of the mean of returns less values by which all values rise", 0, 1, was="common_rate"
    )


@dataclass(frozen=True)
class DreamOptions:
    """Imagined rollouts, awake and in dream phases."""

    horizon: int = option(15, "steps of an imagined rollout", 1, 1000, was="horizon")
    starts: int = option(128, "states of a batch that rollouts start from; 0: all", 0, was="starts")


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of Spiking-WM and of its control with a GRU; see `config/algorithms`."""

    spiking: bool = option(True, "spiking neurons; false: a GRU and SiLU units of the same sizes")
    size: str = option("tiny", "size of all networks; tiny suits two cores", choices=tuple(_SIZES))
    layers: int = option(2, "layers of encoder, decoder, actor, critic and other heads", 1, 8)
    neuron: NeuronOptions = group(NeuronOptions())
    replay: ReplayOptions = group(ReplayOptions())
    batch: int = option(16, "sequences in one update", 1, 4096)
    length: int = option(32, "environment steps of a sequence", 2, 960)
    warmup: int = option(1000, "environment steps of random actions at the start", 0)
    action_repeat_probability: float = option(
        0.8, "probability that a random action of the warm-up is the last one again", 0, 1, was="held"
    )
    discount: float = option(0.997, "discount factor per step", 0, 1)
    model: ModelOptions = group(ModelOptions())
    actor: ActorOptions = group(ActorOptions())
    critic: CriticOptions = group(CriticOptions())
    behaviour_clip: float = option(100.0, "largest norm of the actor's gradient, and of the critic's", 0)
    dream: DreamOptions = group(DreamOptions())
    device: str = option("cpu", "device that learns", choices=DEVICES)
    precision: str = option(
        "float32", "number format of activity while learning", choices=("float32", "bfloat16")
    )

    def sizes(self) -> Sizes:
        """Sizes of all networks."""
        return Sizes(**_SIZES[self.size], layers=self.layers, spiking=self.spiking, neuron=self.neuron)
