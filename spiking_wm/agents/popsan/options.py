"""Options of the PopSAN agent."""

from dataclasses import dataclass

from spiking_wm.core.options import option
from spiking_wm.neurons.sizes import PopSANSizes, WorldModelSizes


@dataclass(frozen=True)
class Options:
    """Hyper-parameters of PopSAN + TD3 + spiking world models; see `config/algorithms`."""

    # actor
    ticks: int = option(5, "spike steps within one decision", 1, 64)
    actor_hidden: tuple = option((256, 256), "neurons of each hidden layer of the actor", 1)
    population: int = option(10, "neurons that code one observation or action value", 2, 100)
    encoder_reach: float = option(3.0, "encoder fields cover +-this many standard deviations", 0.1, 5)
    encoder_deviation: float = option(0.4, "width of an encoder field, in standard deviations", 0.01, 5)
    actor_bits: int = option(
        0, "bits of the actor's weights, as chips hold them; 0: float32", choices=(0, *range(2, 9))
    )
    # TD3
    critic_hidden: tuple = option((256, 256), "units of each hidden layer of the critics", 1)
    batch: int = option(256, "transitions in one update", 2, 65536)
    replay: int = option(1_000_000, "real transitions remembered", 1000)
    discount: float = option(0.99, "discount factor per step", 0, 1)
    target_rate: float = option(0.005, "share of the online weights that targets take per step", 0, 1)
    policy_delay: int = option(2, "critic updates per actor update", 1, 100)
    actor_lr: float = option(3e-4, "learning rate of the actor", 0, 1)
    critic_lr: float = option(3e-4, "learning rate of the critics", 0, 1)
    proxy_target: bool = option(False, "targets by a network without spikes that imitates the actor")
    proxy_lr: float = option(1e-3, "learning rate of the proxy", 0, 1)
    proxy_updates: int = option(1, "proxy updates per actor update", 1, 100)
    exploration_noise: float = option(0.1, "standard deviation of acting noise, in half ranges", 0, 2)
    target_noise: float = option(0.2, "standard deviation of target smoothing, in half ranges", 0, 2)
    noise_clip: float = option(0.5, "bound of target smoothing, in half ranges", 0, 2)
    reward_scale: float = option(1.0, "factor on rewards inside the learner", 1e-6, 1e6)
    warmup: int = option(1000, "steps of uniformly random actions at the start", 0)
    # world model
    world_model: bool = option(True, "learn a world model (false: no dreaming)")
    members: int = option(3, "world models in the ensemble", 2, 32)
    model_ticks: int = option(4, "spike steps of the world model per prediction", 1, 64)
    tuning_curves: int = option(8, "tuning curves per input value", 2, 64)
    linear_input: bool = option(True, "give the model each value itself beside its tuning curves")
    model_hidden: int = option(128, "width of the model's input current", 1)
    blocks: int = option(1, "multi-scale blocks in a row", 1, 8)
    scales: int = option(3, "time scales per block", 1, 16)
    neurons_per_scale: int = option(48, "neurons per time scale", 1)
    readout: tuple = option((256,), "units of the read-out layers", 1)
    population_readout: float = option(0.0, "weight of the population read-out of state change", 0, 1)
    model_batch: int = option(256, "transitions per member in one model update", 2, 65536)
    model_lr: float = option(1e-3, "learning rate of the world model", 0, 1)
    model_weight_decay: float = option(1e-5, "L2 penalty of the world model", 0, 1)
    model_every: int = option(4, "TD3 updates per world-model update", 1, 10000)
    scale_targets: bool = option(True, "scale model targets per dimension by their own deviation")
    # dreams
    horizon: int = option(3, "steps of an imagined rollout", 1, 1000)
    multi_step: bool = option(True, "imagined rewards and values reach to the end of their rollout")
    dream_batch: int = option(256, "rollouts imagined at once", 1, 65536)
    dream_memory: int = option(100_000, "imagined transitions remembered", 1000)
    dream_share: float = option(0.5, "share of imagined transitions in an update of a dream", 0, 1)
    awake_dream_share: float = option(0.0, "share of imagined transitions in an update awake", 0, 1)
    updates_per_rollout: float = option(0.25, "TD3 updates in a dream per imagined rollout", 0, 100)
    uncertainty_threshold: float = option(0.5, "largest accepted uncertainty at the first step", 0)
    threshold_decay: float = option(0.85, "factor on the threshold per further step", 0, 1)
    acceptance_low: float = option(0.5, "below this accepted share the threshold rises 5 %", 0, 1)
    acceptance_high: float = option(0.95, "above this accepted share the threshold falls 5 %", 0, 1)
    calibrate: bool = option(True, "scale uncertainty to the held-out squared error")
    pessimism: float = option(0.1, "reward subtracted per unit of uncertainty, in reward deviations", 0)

    def actor_sizes(self) -> PopSANSizes:
        """Sizes of the actor."""
        return PopSANSizes(
            ticks=self.ticks,
            hidden=self.actor_hidden,
            bits=self.actor_bits,
            population=self.population,
            reach=self.encoder_reach,
            deviation=self.encoder_deviation,
        )

    def model_sizes(self) -> WorldModelSizes:
        """Sizes of the world model."""
        return WorldModelSizes(
            members=self.members,
            ticks=self.model_ticks,
            tuning_curves=self.tuning_curves,
            linear_input=self.linear_input,
            hidden=self.model_hidden,
            blocks=self.blocks,
            scales=self.scales,
            neurons_per_scale=self.neurons_per_scale,
            readout=self.readout,
            population_readout=self.population_readout,
        )
