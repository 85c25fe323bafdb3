"""Options of the recurrent spiking networks with local plasticity."""

from dataclasses import dataclass, fields, replace

from spiking_wm.core.options import option
from spiking_wm.neurons.recurrent import NeuronConstants


@dataclass(frozen=True)
class Options:
    """Constants of both networks, their plasticity, dreams and plans; see `config/algorithms`.

    Times are in environment steps, potentials relative to the threshold.
    """

    neurons: int = option(500, "neurons of the agent network", 2, 100_000)
    synapse_time: float = option(2.0, "time constant of the synapses", 0.01, 1000)
    rest: float = option(-4.0, "potential at rest", -1000, 1000)
    start: float = option(-1.0, "potential at the start of an episode", -1000, 1000)
    width: float = option(1.0, "width of the pseudo-derivative of a spike", 1e-3, 1000)
    scale_inputs: bool = option(True, "centre inputs: bounded ones to +-1, others by their statistics")
    warmup: int = option(0, "steps of experience that only the model learns from", 0)
    # agent
    value_first: int = option(3000, "steps in which the agent learns values only", 0)
    membrane_time: float = option(1.5, "time constant of the agent's membranes", 0.01, 1000)
    reset: float = option(3.0, "what a spike takes from the potential of an agent's neuron", 0, 10_000)
    bias: float = option(0.0, "deviation of a constant current into each of the agent's neurons", 0, 1000)
    share: float = option(1.0, "of the inputs that an agent's neuron is connected to", 0.01, 1)
    transient: float = option(2.0, "factor on changes of inputs, inputs too, within +-1; 0: none", 0, 1000)
    curves: int = option(
        24, "tuning curves by which the agent sees each observed value; 0: as it is", 0, 1000
    )
    pairs: int = option(0, "tuning curves of the difference of every two observed values", 0, 1000)
    pair_reach: float = option(1.0, "difference at which those curves end, also the model's", 0.01, 2)
    readout_time: float = option(1.0, "time constant of the agent's read-outs", 1e-3, 1000)
    input_scale: float = option(1.2, "deviation of the agent's input weights", 0, 1000)
    policy_scale: float = option(0.0, "deviation of the policy's read-out weights at the start", 0, 100)
    sharpness: float = option(1.0, "factor on what the policy reads out", 1e-3, 1000)
    sharpen_time: int = option(40_000, "steps in which sharpness, of choices, grows by itself; 0: none", 0)
    sharpest: float = option(8.0, "factor by which sharpness grows at most", 1, 1000)
    deviation: float = option(0.3, "of continuous actions, in half ranges", 1e-3, 10)
    agent_lr: float = option(3e-4, "learning rate of the agent's recurrent weights", 0, 1)
    input_lr: float = option(1e-2, "learning rate of the agent's input weights; 0: they stay", 0, 1)
    policy_lr: float = option(1e-2, "learning rate of the policy's read-out", 0, 1)
    value_lr: float = option(1e-2, "learning rate of the baseline's read-out", 0, 1)
    entropy: float = option(0.04, "weight of the policy's entropy in what its read-out learns", 0, 100)
    least_use: float = option(
        0.18, "mean use of an action, as a share of equal use, below which it is held up; 0: none is", 0, 1
    )
    discount: float = option(0.99, "discount factor per step", 0, 1)
    trace_decay: float = option(0.98, "further decay of eligibility per step (lambda)", 0, 1)
    baseline: bool = option(True, "learn the value of a state, from the agent's spikes, as a baseline")
    critic_neurons: int = option(0, "neurons of a critic; 0: values are of the agent's spikes", 0, 100_000)
    critic_input_lr: float = option(0.1, "learning rate of the critic's input weights", 0, 1)
    critic_input_scale: float = option(3.0, "deviation of the critic's input weights", 0, 1000)
    critic_every: int = option(20, "steps between updates of the critic", 1, 10_000)
    critic_decay: float = option(0.98, "like trace_decay, of the critic", 0, 1)
    self_connections: bool = option(False, "agent neurons may excite themselves")
    # model
    world_model: bool = option(True, "learn a world model (false: no dreams and no plans)")
    model_neurons: int = option(300, "neurons of the model network", 2, 100_000)
    model_membrane_time: float = option(0.7, "time constant of the model's membranes", 0.01, 1000)
    model_reset: float = option(2.0, "what a spike takes from the potential of a model's neuron", 0, 10_000)
    model_bias: float = option(0.0, "deviation of a constant current into each model neuron", 0, 1000)
    model_share: float = option(0.5, "of the inputs that a model's neuron is connected to", 0.01, 1)
    model_transient: float = option(15.0, "like transient, in the model", 0, 1000)
    model_change_curves: int = option(0, "tuning curves by which the model sees changes too", 0, 1000)
    model_curves: int = option(60, "like curves, in the model", 0, 1000)
    model_pairs: int = option(0, "like pairs, in the model", 0, 1000)
    model_readout_time: float = option(0.5, "time constant of the model's read-outs", 1e-3, 1000)
    model_input_scale: float = option(3.0, "deviation of the model's input weights", 0, 1000)
    action_scale: float = option(6.0, "deviation of the model's action weights", 0, 1000)
    model_lr: float = option(3e-3, "learning rate of the model's recurrent weights", 0, 1)
    model_input_lr: float = option(0.1, "learning rate of the model's input weights; 0: they stay", 0, 1)
    change_lr: float = option(2e-3, "learning rate of the read-out of the next state", 0, 1)
    reward_lr: float = option(1e-3, "learning rate of the read-out of the reward", 0, 1)
    model_every: int = option(10, "steps between updates of the model", 1, 10_000)
    reward_weight: float = option(5.0, "weight of the reward's error in the recurrent update", 0, 1000)
    reward_memory: float = option(0.0, "decay per step of the reward that the model predicts", 0, 0.99)
    change_unit: float = option(
        0.0, "change that counts as 1 to the model; 0: the running mean of its size", 0, 1e6
    )
    places: int = option(
        0, "places on each change's axis of which the model tells which one it will be; 0: its mean", 0, 1000
    )
    place_reach: float = option(2.5, "change (in units) at which those places end", 0.1, 100)
    largest_change: float = option(6.0, "larger changes (in units) are taken for a new start: none", 0)
    least_turn: float = option(
        0.0, "by how much (in units) a change is to differ from the last one, or that one goes on", 0, 100
    )
    # dreams and plans
    horizon: int = option(5, "steps of a dream", 1, 10_000)
    together: int = option(24, "dreams from which the agent learns in one update", 1, 10_000)
    peers: int = option(
        1, "dreams of one beginning, which are compared; together is a multiple of it", 1, 10_000
    )
    dream_decay: float = option(0.98, "like trace_decay, in dreams", 0, 1)
    awake_policy: bool = option(True, "learn the policy awake too, not only in dreams and plans")
    model_until: int = option(0, "steps after which the model learns no more; 0: it always learns", 0)
    dream_rate: float = option(
        0.3, "factor on the agent's rates in dreams, with moments of their own; 0: those of waking", 0, 100
    )
    dream_values: bool = option(False, "learn values, but a critic's, in dreams and plans too")
    clip_dreams: bool = option(True, "keep dreamed observations within what can be observed")
    least_reward: float = option(0.0, "size below which a reward that is imagined is taken for none", 0)
    last_reward: float = option(0.0, "size of a reward that ends what is imagined; 0: none does", 0)
    dream_error: float = option(0.0, "relative model error at which dreams shrink to one step; 0: never", 0)
    dream_starts: int = option(32, "moments remembered for dreams to start from", 1, 1000)
    dream_spacing: int = option(3, "steps between remembered moments", 1, 10_000)
    shuffled: bool = option(False, "control: dream with the model's read-outs shuffled over its neurons")
    plan_steps: int = option(0, "steps planned ahead, in every second such span; 0: none", 0, 1000)

    def agent_constants(self) -> NeuronConstants:
        """Constants of the agent's neurons."""
        named = {field.name: getattr(self, field.name, field.default) for field in fields(NeuronConstants)}
        return NeuronConstants(**named)

    def critic_constants(self) -> NeuronConstants:
        """Constants of the critic's neurons: the model's, but they see what the agent's see."""
        seen = {"curves": self.curves, "pairs": self.pairs, "change_curves": 0, "bias": 0.0}
        return replace(self.model_constants(), **seen)

    def model_constants(self) -> NeuronConstants:
        """Constants of the model's neurons."""
        return replace(
            self.agent_constants(),
            membrane_time=self.model_membrane_time,
            readout_time=self.model_readout_time,
            reset=self.model_reset,
            bias=self.model_bias,
            share=self.model_share,
            transient=self.model_transient,
            change_curves=self.model_change_curves,
            curves=self.model_curves,
            pairs=self.model_pairs,
        )
