"""Options of the recurrent world models, spiking and not."""

from dataclasses import dataclass

from spiking_wm.core.devices import DEVICES
from spiking_wm.core.options import option
from spiking_wm.neurons.sizes import RSSMSizes

# what `size` stands for
_SIZES = {
    "tiny": {"neurons": 256, "hidden": 128, "variables": 16, "classes": 16, "depth": 8},
    "small": {"neurons": 256, "hidden": 256, "variables": 16, "classes": 16, "depth": 16},
    "published": {"neurons": 512, "hidden": 512, "variables": 32, "classes": 32, "depth": 32},
}


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of Spiking-WM and of its control with a GRU; see `config/algorithms`."""

    spiking: bool = option(True, "spiking neurons; false: a GRU and SiLU units of the same sizes")
    size: str = option("tiny", "of all networks: tiny serves two cores", choices=tuple(_SIZES))
    # neurons
    neuron: str = option(
        "mcn_soft",
        "recurrent neurons: mcn_paper leaks even with a closed gate, mcn_soft forgets nothing as it fires",
        choices=("lif", "adaptive_lif", "two_compartments", "mcn", "mcn_paper", "mcn_soft"),
    )
    layered: str = option(
        "integrate_and_fire",
        "neurons of all layers; integrate_and_fire rounds a current that stays to a rate",
        choices=("lif", "integrate_and_fire"),
    )
    carried: bool = option(True, "potentials of recurrent neurons go on from step to step; false: from rest")
    ticks: int = option(8, "spike steps within one environment step", 1, 64)
    averaged: bool = option(True, "layers hand on mean rates over ticks; false: the spikes of every tick")
    gain: float = option(0.5, "of normalised currents to begin with; the threshold is 0.5", 0.01, 10)
    bias: float = option(0.3, "added to those of all but recurrent neurons, to begin with", -10, 10)
    memory: float = option(
        0.0, "longest time that gates keep what there is to begin with, in steps; 0: as drawn", 0, 1e6
    )
    synapses: float = option(
        2.0, "longest time constant of recurrent neurons' synapses, in steps; 0: they do not filter", 0, 1e6
    )
    floor: float = option(0.3, "deviation below which a cell's currents are not normalised up", 1e-6, 100)
    # world model
    batch: int = option(16, "sequences in one update", 1, 4096)
    length: int = option(32, "steps of a sequence; blocks of memory hold no longer ones", 2, 960)
    replay: int = option(500_000, "steps remembered", 1000)
    warmup: int = option(1000, "steps of random actions at the start", 0)
    held: float = option(
        0.8, "chance that a random action of those is the last one again, so that they get somewhere", 0, 1
    )
    layers: int = option(2, "layers of encoder, decoder, actor, critic and other heads", 1, 8)
    model_lr: float = option(1e-3, "learning rate of the world model", 0, 1)
    model_clip: float = option(1000.0, "largest norm of the world model's gradient", 0)
    free_nats: float = option(1.0, "divergence of posterior and prior that costs nothing", 0)
    observation_weight: float = option(
        10.0, "weight of what is decoded of vectors; more tells small differences apart sooner", 0, 1e4
    )
    dynamics_weight: float = option(0.5, "weight of the divergence that the prior learns from", 0, 100)
    representation_weight: float = option(0.1, "weight of it that the posterior learns from", 0, 100)
    # behaviour
    exploration: float = option(
        0.3, "least deviation of continuous actions in the environment; in imagination it may be less", 0, 1
    )
    horizon: int = option(15, "steps of an imagined rollout", 1, 1000)
    starts: int = option(128, "states of the batch that are imagined from; 0: all", 0)
    discount: float = option(0.997, "discount factor per step", 0, 1)
    trace_decay: float = option(0.95, "decay of longer returns (lambda)", 0, 1)
    actor_lr: float = option(3e-4, "learning rate of the actor", 0, 1)
    critic_lr: float = option(3e-4, "learning rate of the critic", 0, 1)
    replayed: float = option(
        0.3, "weight of what the critic learns of returns that really came, beside imagined ones", 0, 100
    )
    common_rate: float = option(
        0.5, "share of what returns are above values, on the mean, that all values rise by at once", 0, 1
    )
    behaviour_clip: float = option(100.0, "largest norm of the actor's gradient, and of the critic's", 0)
    gradient: str = option(
        "dynamics",
        "continuous actions learn by that of returns, through the model; score: of log-probability",
        choices=("dynamics", "score"),
    )
    epochs: int = option(2, "times that rollouts are learned from by score; by dynamics it is once", 1, 100)
    parts: int = option(4, "parts of rollouts, with an update by each; by dynamics it is one", 1, 100)
    entropy: float = option(3e-3, "weight of the policy's entropy", 0, 100)
    target_rate: float = option(0.02, "share of the critic that its slow copy takes per update", 0, 1)
    # computing
    device: str = option("cpu", "what learns", choices=DEVICES)
    precision: str = option("float32", "of activity in learning", choices=("float32", "bfloat16"))

    def sizes(self) -> RSSMSizes:
        """Sizes of all parts."""
        of = _SIZES[self.size]
        return RSSMSizes(
            spiking=self.spiking,
            kind=self.neuron,
            layered=self.layered,
            carried=self.carried,
            neurons=of["neurons"],
            hidden=of["hidden"],
            variables=of["variables"],
            classes=of["classes"],
            ticks=self.ticks if self.spiking else 1,
            averaged=self.averaged,
            gain=self.gain,
            bias=self.bias,
            memory=self.memory,
            synapses=self.synapses,
            floor=self.floor,
        )

    def depth(self) -> int:
        """Channels of the first convolution."""
        return _SIZES[self.size]["depth"]
