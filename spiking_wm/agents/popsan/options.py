"""Options of the PopSAN agent."""

from dataclasses import dataclass

from spiking_wm.core.options import group, option
from spiking_wm.world_models.options import DreamOptions as EnsembleDreamOptions
from spiking_wm.world_models.options import ModelOptions as EnsembleOptions


@dataclass(frozen=True)
class ActorOptions:
    """Sizes, constants and learning of the spiking actor."""

    ticks: int = option(5, "time steps of the network within one decision", 1, 64, was="ticks")
    hidden: tuple[int, ...] = option((256, 256), "neurons of each hidden layer", 1)
    population: int = option(
        10, "neurons that code one observation or action value", 2, 100, was="population"
    )
    reach: float = option(
        3.0, "encoder fields cover +-this many standard deviations", 0.1, 5, was="encoder_reach"
    )
    deviation: float = option(
        0.4, "width of an encoder field, in standard deviations", 0.01, 5, was="encoder_deviation"
    )
    bits: int = option(
        0, "bits of the actor's weights, as chips hold them; 0: float32", choices=(0, *range(2, 9))
    )
    lr: float = option(3e-4, "learning rate of the actor", 0, 1)
    beta1: float = option(0.9, "Adam's decay of the actor's mean gradients", 0, 0.999)
    noise: str = option(
        "fixed",
        "fixed: `exploration_noise` and `target.noise`; learned: by entropy regularisation, as in SAC",
        choices=("fixed", "learned"),
    )
    entropy: float = option(-1.0, "entropy kept by learned noise, in nats per action value", -10, 1)
    averaging: float = option(
        1.0, "share of new weights that acting weights take per actor update; 1: they are the newest", 1e-6, 1
    )

    def widths(self, observation_size: int, action_size: int) -> tuple[int, ...]:
        """Neurons of the encoder and of every layer."""
        return (observation_size * self.population, *self.hidden, action_size * self.population)


@dataclass(frozen=True)
class CriticOptions:
    """Kind, sizes and learning of the critics, which do not spike."""

    kind: str = option(
        "plain",
        "normalisation: plain (none) or layer_norm, with slow copies for targets; batch_renorm without",
        choices=("plain", "layer_norm", "batch_renorm"),
    )
    hidden: tuple[int, ...] = option((256, 256), "units of each hidden layer", 1)
    lr: float = option(3e-4, "learning rate of the critics", 0, 1)
    beta1: float = option(0.9, "Adam's decay of the critics' mean gradients", 0, 0.999)


@dataclass(frozen=True)
class TargetOptions:
    """Target networks, and the noise that smooths their values."""

    rate: float = option(0.005, "share of the online weights that targets take per step", 0, 1)
    noise: float = option(0.2, "standard deviation of target smoothing, in half ranges", 0, 2)
    noise_clip: float = option(0.5, "bound of target smoothing, in half ranges", 0, 2, was="noise_clip")


@dataclass(frozen=True)
class ProxyOptions:
    """A network without spikes in the target actor's place (Xu et al. 2025)."""

    target: bool = option(False, "targets by a network without spikes that imitates the actor")
    lr: float = option(1e-3, "learning rate of the proxy", 0, 1)
    updates: int = option(1, "proxy updates per actor update", 1, 100)


@dataclass(frozen=True)
class ReplayOptions:
    """Experience that is learned from."""

    size: int = option(1_000_000, "real transitions remembered", 1000, was="replay")


@dataclass(frozen=True)
class ModelOptions(EnsembleOptions):
    """The ensemble of spiking world models, and how often it learns."""

    every: int = option(4, "TD3 updates per world-model update", 1, 10000)
    first_updates: int = option(0, "world-model updates before the first dream, at least", 0)


@dataclass(frozen=True)
class DreamOptions(EnsembleDreamOptions):
    """Dreams, and what the actor and critics learn of them."""

    batch: int = option(256, "rollouts imagined at once", 1, 65536)
    values_only: bool = option(
        False,
        "rollouts extend the rewards of real transitions; imagined states are not learned from",
    )
    memory: int = option(100_000, "imagined transitions remembered", 1000)
    share: float = option(0.5, "share of imagined transitions in an update of a dream", 0, 1)
    share_halving: int = option(
        0, "steps after warm-up in which `share` becomes half, and again; 0: constant share", 0
    )
    awake_share: float = option(
        0.0, "share of imagined transitions in an update awake", 0, 1, was="awake_dream_share"
    )
    updates_per_rollout: float = option(
        0.25, "TD3 updates in a dream per imagined rollout", 0, 100, was="updates_per_rollout"
    )


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of PopSAN + TD3 + spiking world models."""

    actor: ActorOptions = group(ActorOptions())
    critic: CriticOptions = group(CriticOptions())
    target: TargetOptions = group(TargetOptions())
    proxy: ProxyOptions = group(ProxyOptions())
    replay: ReplayOptions = group(ReplayOptions())
    batch: int = option(256, "transitions in one update", 2, 65536)
    discount: float = option(0.99, "discount factor per step", 0, 1)
    policy_delay: int = option(2, "critic updates per actor update", 1, 100)
    exploration_noise: float = option(0.1, "standard deviation of acting noise, in half ranges", 0, 2)
    reward_scale: float = option(1.0, "factor on rewards inside the learner", 1e-6, 1e6)
    warmup: int = option(
        1000,
        "steps at the start with random actions, in which only critics and world models learn",
        0,
    )
    world_model: bool = option(True, "learn a world model (false: no dreaming)")
    model: ModelOptions = group(ModelOptions())
    dream: DreamOptions = group(DreamOptions())
