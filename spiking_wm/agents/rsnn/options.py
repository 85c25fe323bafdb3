"""Options of the recurrent spiking networks with local plasticity."""

from dataclasses import dataclass, fields, replace

from spiking_wm.core.options import group, option
from spiking_wm.neurons.recurrent import NeuronConstants


@dataclass(frozen=True)
class NeuronOptions:
    """Constants that the neurons of all networks share. Potentials are relative to the threshold."""

    synapse_time: float = option(2.0, "time constant of the synapses", 0.01, 1000, was="synapse_time")
    rest: float = option(-4.0, "potential at rest", -1000, 1000, was="rest")
    start: float = option(-1.0, "potential at the start of an episode", -1000, 1000, was="start")
    width: float = option(1.0, "width of the pseudo-derivative of a spike", 1e-3, 1000, was="width")
    pair_reach: float = option(
        1.0, "difference of two inputs at which the curves of `pairs` end", 0.01, 2, was="pair_reach"
    )


@dataclass(frozen=True)
class ActorOptions:
    """The agent network: sizes, constants and recurrent learning."""

    neurons: int = option(500, "neurons of the agent network", 2, 100_000, was="neurons")
    membrane_time: float = option(1.5, "time constant of the membranes", 0.01, 1000, was="membrane_time")
    readout_time: float = option(1.0, "time constant of the read-outs", 1e-3, 1000, was="readout_time")
    reset: float = option(3.0, "amount that a spike subtracts from the potential", 0, 10_000, was="reset")
    bias: float = option(
        0.0, "standard deviation of a constant current into each neuron", 0, 1000, was="bias"
    )
    share: float = option(1.0, "share of the inputs that a neuron is connected to", 0.01, 1, was="share")
    input_scale: float = option(
        1.2, "standard deviation of the input weights at the start", 0, 1000, was="input_scale"
    )
    transient: float = option(
        2.0,
        "gain of changes of inputs as additional inputs, clipped to +-1; 0: none",
        0,
        1000,
        was="transient",
    )
    curves: int = option(
        24, "Gaussian tuning curves that code each observed value; 0: the value itself", 0, 1000, was="curves"
    )
    pairs: int = option(
        0, "tuning curves that code the difference of every two observed values", 0, 1000, was="pairs"
    )
    self_connections: bool = option(False, "neurons may excite themselves", was="self_connections")
    lr: float = option(3e-4, "learning rate of the recurrent weights", 0, 1, was="agent_lr")
    input_lr: float = option(
        1e-2, "learning rate of the input weights; 0: they are fixed", 0, 1, was="input_lr"
    )
    trace_decay: float = option(
        0.98, "decay of eligibility per step, times the discount (lambda)", 0, 1, was="trace_decay"
    )


@dataclass(frozen=True)
class PolicyOptions:
    """The distribution of actions, and how its read-out learns."""

    scale: float = option(0.0, "standard deviation of the read-out's weights at the start", 0, 100)
    lr: float = option(1e-2, "learning rate of the read-out", 0, 1)
    learn_after: int = option(
        3000, "steps before the policy learns; values learn from the start", 0, was="value_first"
    )
    learn_awake: bool = option(
        True, "learn from experience too, not only from dreams and plans", was="awake_policy"
    )
    entropy: float = option(
        0.04, "weight of the entropy bonus on the read-out, awake only", 0, 100, was="entropy"
    )
    min_action_use: float = option(
        0.18,
        "floor on an action's mean probability, as a share of the uniform one; 0: none",
        0,
        1,
        was="least_use",
    )
    sharpness: float = option(1.0, "inverse temperature: factor on the read-out", 1e-3, 1000, was="sharpness")
    sharpen_time: int = option(
        40_000,
        "steps in which the inverse temperature of a softmax grows by its first value; 0: it is fixed",
        0,
        was="sharpen_time",
    )
    sharpest: float = option(
        8.0, "largest factor by which the inverse temperature grows", 1, 1000, was="sharpest"
    )
    deviation: float = option(
        0.3, "standard deviation of continuous actions, in half ranges", 1e-3, 10, was="deviation"
    )


@dataclass(frozen=True)
class CriticOptions:
    """Values, a baseline learned by temporal differences."""

    baseline: bool = option(
        True, "learn values; false: credit rewards themselves, without a baseline", was="baseline"
    )
    neurons: int = option(
        0, "neurons of a critic network; 0: values are read out of the agent's spikes", 0, 100_000
    )
    input_scale: float = option(3.0, "standard deviation of the input weights at the start", 0, 1000)
    lr: float = option(1e-2, "learning rate of the values' read-out", 0, 1, was="value_lr")
    input_lr: float = option(0.1, "learning rate of the input weights", 0, 1)
    every: int = option(20, "steps between updates of the critic network", 1, 10_000)
    trace_decay: float = option(
        0.98, "decay of eligibility per step, times the discount (lambda)", 0, 1, was="critic_decay"
    )


@dataclass(frozen=True)
class ModelOptions:
    """The model network: sizes, constants, learning, and what it predicts.

    Changes are in units of `change_unit`.
    """

    neurons: int = option(300, "neurons of the model network", 2, 100_000)
    membrane_time: float = option(0.7, "time constant of the membranes", 0.01, 1000)
    readout_time: float = option(0.5, "time constant of the read-outs", 1e-3, 1000)
    reset: float = option(2.0, "amount that a spike subtracts from the potential", 0, 10_000)
    bias: float = option(0.0, "standard deviation of a constant current into each neuron", 0, 1000)
    share: float = option(0.5, "share of the inputs that a neuron is connected to", 0.01, 1)
    input_scale: float = option(3.0, "standard deviation of the input weights at the start", 0, 1000)
    action_scale: float = option(
        6.0, "standard deviation of the action weights at the start", 0, 1000, was="action_scale"
    )
    transient: float = option(
        15.0, "gain of changes of inputs as additional inputs, clipped to +-1; 0: none", 0, 1000
    )
    change_curves: int = option(0, "tuning curves that code these changes, in addition", 0, 1000)
    curves: int = option(
        60, "Gaussian tuning curves that code each observed value; 0: the value itself", 0, 1000
    )
    pairs: int = option(0, "tuning curves that code the difference of every two observed values", 0, 1000)
    lr: float = option(3e-3, "learning rate of the recurrent weights", 0, 1)
    input_lr: float = option(0.1, "learning rate of the input weights; 0: they are fixed", 0, 1)
    change_lr: float = option(2e-3, "learning rate of the read-out of the change", 0, 1, was="change_lr")
    reward_lr: float = option(1e-3, "learning rate of the read-out of the reward", 0, 1, was="reward_lr")
    every: int = option(10, "steps between updates", 1, 10_000)
    stop_after: int = option(0, "steps after which the model stops learning; 0: never", 0, was="model_until")
    reward_weight: float = option(
        5.0, "weight of the reward's error in the recurrent update", 0, 1000, was="reward_weight"
    )
    reward_decay: float = option(
        0.0, "decay per step of the leaky sum of rewards that is predicted", 0, 0.99, was="reward_memory"
    )
    change_unit: float = option(
        0.0, "unit of changes, in inputs; 0: the running mean of their size", 0, 1e6, was="change_unit"
    )
    bins: int = option(
        0,
        "bins of each change, of which the model predicts probabilities; 0: it predicts the mean",
        0,
        1000,
        was="places",
    )
    bin_reach: float = option(2.5, "change (in units) of the outermost bins", 0.1, 100, was="place_reach")
    max_change: float = option(
        6.0, "larger changes (in units) are resets of the game, and learned as none", 0, was="largest_change"
    )
    min_acceleration: float = option(
        0.0,
        "if a predicted change differs by less (in units) from the last one, the last one is repeated",
        0,
        100,
        was="least_turn",
    )


@dataclass(frozen=True)
class DreamOptions:
    """Rollouts in the model, and how the agent learns from them; some options apply to plans, too."""

    horizon: int = option(5, "steps of a dream", 1, 10_000, was="horizon")
    batch: int = option(24, "dreams for one update of the agent", 1, 10_000, was="together")
    group_size: int = option(
        1,
        "dreams per common start, compared with each other; dream.batch is a multiple of it",
        1,
        10_000,
        was="peers",
    )
    trace_decay: float = option(0.98, "like actor.trace_decay, in dreams", 0, 1, was="dream_decay")
    rate: float = option(
        0.3, "factor on learning rates in dreams, with a separate Adam; 0: the same Adam", 0, 100
    )
    learn_values: bool = option(False, "learn the agent's values in dreams and plans too", was="dream_values")
    clip: bool = option(True, "clip imagined observations to the observation space", was="clip_dreams")
    min_reward: float = option(
        0.0, "smaller imagined rewards (absolute values) count as 0", 0, was="least_reward"
    )
    terminal_reward: float = option(
        0.0, "an imagined reward of at least this size ends the rollout; 0: none does", 0, was="last_reward"
    )
    max_error: float = option(
        0.0, "relative model error at which dreams shrink to one step; 0: never", 0, was="dream_error"
    )
    starts: int = option(32, "number of stored states from which dreams start", 1, 1000)
    spacing: int = option(3, "steps between stored states", 1, 10_000)
    shuffled: bool = option(
        False, "control: dream with the model's read-outs shuffled over its neurons", was="shuffled"
    )


@dataclass(frozen=True)
class PlanOptions:
    """Short rollouts from the current state, while awake."""

    steps: int = option(0, "steps of a plan, made once in twice as many steps; 0: no plans", 0, 1000)


@dataclass(frozen=True)
class Options:
    """Constants of all networks, their plasticity, dreams and plans; see `config/algorithms`.

    Times are in environment steps. One step is one tick of the neurons.
    """

    scale_inputs: bool = option(
        True, "scale observations: a bounded space to +-1, others by running mean and deviation"
    )
    world_model: bool = option(True, "learn a world model (false: no dreams and no plans)")
    warmup: int = option(0, "first steps, in which only the model learns", 0)
    discount: float = option(0.99, "discount factor per step", 0, 1)
    neuron: NeuronOptions = group(NeuronOptions())
    actor: ActorOptions = group(ActorOptions())
    policy: PolicyOptions = group(PolicyOptions())
    critic: CriticOptions = group(CriticOptions())
    model: ModelOptions = group(ModelOptions())
    dream: DreamOptions = group(DreamOptions())
    plan: PlanOptions = group(PlanOptions())

    def actor_constants(self) -> NeuronConstants:
        """Constants of the agent's neurons."""
        return self._constants(self.actor)

    def model_constants(self) -> NeuronConstants:
        """Constants of the model's neurons."""
        return self._constants(self.model)

    def critic_constants(self) -> NeuronConstants:
        """Constants of the critic's neurons: the model's, with the agent's coding of observations."""
        actor = self.actor
        return replace(
            self.model_constants(), curves=actor.curves, pairs=actor.pairs, change_curves=0, bias=0.0
        )

    def _constants(self, network: ActorOptions | ModelOptions) -> NeuronConstants:
        names = {field.name for field in fields(NeuronConstants)}
        own = {name: value for name, value in vars(network).items() if name in names}
        return NeuronConstants(**vars(self.neuron), **own)
