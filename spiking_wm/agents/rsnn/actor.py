"""The agent network: a policy with a read-out of spikes, trained by reward-modulated e-prop."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from spiking_wm.agents.rsnn.critic import Critic
from spiking_wm.agents.rsnn.dream_groups import group_relative
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.neurons.plasticity import Adam, CreditedTrace
from spiking_wm.neurons.recurrent import Activity, Array, RecurrentNetwork, by_realisation


class Actor:
    """Policies of ``R`` realisations; with ``critic.baseline`` and no critic network, also their values.

    Args:
        generators: one per realisation.
        inputs, outputs: widths of the observation and of the policy's read-out.
        options: constants.
        critic: critic network; None: values are a read-out of the agent's own spikes.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        inputs: int,
        outputs: int,
        options: Options,
        critic: Critic | None = None,
    ):
        self.options, self.critic = options, critic
        a, p = options.actor, options.policy
        scale = inputs * [a.input_scale]
        self.network = RecurrentNetwork(generators, scale, a.neurons, options.actor_constants(), inputs)
        drawn = [g.normal(0, p.scale, (a.neurons, outputs)) for g in generators]
        self.policy = np.stack(drawn).astype(np.float32)
        self.value = np.zeros((len(generators), a.neurons, 1), np.float32)
        rates = {"recurrent": a.lr, "input": a.input_lr, "policy": p.lr, "value": options.critic.lr}
        self.sharpness = np.full((), p.sharpness, np.float32)

        def adams(factor: float) -> dict[str, Adam]:
            there = {"input": self.network.synapses}
            learned = self.learned().items()
            return {n: Adam(array, factor * rates[n], 1e-5, there.get(n)) for n, array in learned}

        self.adams = adams(1.0)
        dreams_apart = options.world_model and options.dream.rate
        self.dream_adams = adams(options.dream.rate) if dreams_apart else self.adams

    def learned(self) -> dict[str, Array]:
        """The trained weights, by name."""
        weights = {"recurrent": self.network.weights, "policy": self.policy}
        if self.options.actor.input_lr:
            weights["input"] = self.network.input_weights
        own_values = self.options.critic.baseline and not self.critic
        return weights | ({"value": self.value} if own_values else {})

    def read_out(self, spikes: Array) -> Array:
        """The policies' outputs ``[R B, K]`` for filtered spikes ``[R B, N]``."""
        return by_realisation(spikes, self.policy) * self.sharpness

    def sharpen(self, steps: int) -> None:
        """Set the inverse temperature from the number of learning steps; learning rates fall as it grows."""
        o = self.options.policy
        if o.sharpen_time:
            self.sharpness[...] = o.sharpness * min(1 + max(steps, 0) / o.sharpen_time, o.sharpest)

    def learn(self, *streams: "Stream", dreamed: bool = False) -> None:
        """One step of gradient ascent (Adam) with the gradients credited in streams since the last step.

        With ``dreamed``, the separate Adam of dreams is used.
        """
        slower = float(self.options.policy.sharpness / self.sharpness)
        for name, adam in (self.dream_adams if dreamed else self.adams).items():
            first, *others = (stream.take(name) for stream in streams)
            adam.ascend(sum(others, first), 1.0 if name == "value" else slower)
        if not self.options.actor.self_connections:
            neurons = np.arange(self.options.actor.neurons)
            self.network.weights[:, neurons, neurons] = 0

    def state(self) -> dict[str, Any]:
        """The arrays of its state (not copies)."""
        weights = {"network": self.network.state(), "policy": self.policy, "value": self.value}
        weights["sharpness"] = self.sharpness
        kept = {"adams": self.adams, "adams_asleep": self.dream_adams}
        return weights | {k: {name: adam.state() for name, adam in a.items()} for k, a in kept.items()}


class Stream:
    """A trajectory, real or imagined, with the traces of an actor's neurons and synapses.

    Call `see` and `choose` in every step, and `end` after the last one. Memory does not grow with time
    (paper, eq. 6-8). With ``critic.baseline`` the temporal-difference error replaces the reward, as in Bellec
    et al. 2020.

    Args:
        actor: the actor.
        chunk: number of steps stored before they are added to traces.
        abreast: parallel trajectories per realisation, ``B``; if more than one, at most ``chunk`` steps long.
        real: True if a critic network learns from it.
        group_size: number of trajectories with a common start, whose errors are compared with each other.
        trace_decay: decay of eligibility per step, times the discount (lambda); None: the actor's.
    """

    def __init__(
        self,
        actor: Actor,
        chunk: int = 128,
        abreast: int = 1,
        real: bool = True,
        group_size: int = 1,
        trace_decay: float | None = None,
    ):
        self._actor, self._abreast, self._group_size, o = actor, abreast, group_size, actor.options
        self._taught = actor.critic if real else None  # the critic network, if it learns from this trajectory

        def traces(learned: dict[str, Array], decay: float) -> dict[str, CreditedTrace]:
            return {
                name: CreditedTrace(array.shape, o.discount * decay, chunk, abreast)
                for name, array in learned.items()
            }

        self.traces = traces(actor.learned(), o.actor.trace_decay if trace_decay is None else trace_decay)
        if self._taught:
            self.traces |= traces(self._taught.learned(), o.critic.trace_decay)
        self._bonus = CreditedTrace(actor.policy.shape, 0.0, chunk, abreast)
        self.rest()

    def rest(self) -> None:
        """Start a new trajectory with neurons at rest."""
        critic = self._actor.critic
        judging = critic.network.at_rest(self._abreast) if critic else None
        self.begin(self._actor.network.at_rest(self._abreast), judging)

    def begin(self, activity: Activity, critic_activity: Activity | None) -> None:
        """Start a new trajectory with given states of actor and critic; earlier steps get no more credit."""
        self.activity, self.critic_activity = activity, critic_activity
        # 1 where actions count, and where the observation after the last step is known; else 0
        self.alive, self.goes_on = np.ones((2, len(activity.potential)), np.float32)
        self.afterwards: Array = np.zeros_like(self.alive)  # value after the end, without its observation
        self.value: Array = np.zeros_like(self.alive)
        self._acted = np.zeros((), bool)
        for trace in self.traces.values():
            trace.start()

    def forget(self, *names: str) -> None:
        """Discard gradients credited to some weights (default: all) since the last `take`."""
        for name in names or self.traces:
            self.take(name)

    def take(self, name: str) -> Array:
        """The gradient credited to some weights since the last call."""
        gradient = self.traces[name].take()
        if name == "policy":
            gradient += self._bonus.take()
        return gradient

    def learn_values(self) -> None:
        """One update of the critic network with its gradient since the last one."""
        if self._taught:
            self._taught.learn({name: self.take(name) for name in self._taught.learned()})

    def see(self, inputs: Array, reward: Array) -> Array:
        """Process observations ``[R B, D]`` and rewards ``[R B]`` of the last step.

        Returns:
            The policies' outputs, ``[R B, K]``.
        """
        spikes = self._actor.network.tick(self.activity, inputs)
        critic, judging = self._actor.critic, self.critic_activity
        if critic and judging:
            value = critic.values(judging, inputs, learning=self._taught is not None)
        else:
            value = by_realisation(spikes, self._actor.value)[:, 0]
        if self._acted:
            following: Array = np.where(self.goes_on, value, self.afterwards)
            self._credit(reward + np.float32(self._actor.options.discount) * following)
        self.value = value
        return self._actor.read_out(spikes)

    def choose(self, score: Array, bonus: Array | None = None) -> None:
        """Add gradients with respect to the policies' outputs ``[R B, K]``.

        Args:
            score: gradient of the chosen action's log-probability; weighted by later credit.
            bonus: gradient that is not weighted: that of the entropy. Used awake only, because it would
                dominate in dreams.
        """
        a, alive = self.activity, self.alive[:, None]
        score = score * alive
        if bonus is not None:
            self._bonus.add(a.readout, bonus * alive)
            self._bonus.credit(self.alive)
        learning = by_realisation(score, self._actor.policy.transpose(0, 2, 1)) * a.derivative
        self.traces["recurrent"].add(a.trace, learning)
        if "input" in self.traces:
            self.traces["input"].add(a.input_trace, learning)
        self.traces["policy"].add(a.readout, score)
        if self._taught and self.critic_activity:
            for name, factors in self._taught.factors(self.critic_activity, alive).items():
                self.traces[name].add(*factors)
        elif "value" in self.traces:
            self.traces["value"].add(a.readout, alive)
        self._acted.fill(True)

    def end(self, reward: Array, inputs: Array | None = None) -> None:
        """End with the last rewards; ``inputs``: next observations after truncation, else None."""
        if inputs is not None:
            self.see(inputs, reward)
        else:
            self._credit(reward)

    def _credit(self, target: Array) -> None:
        error = (target - self.value) * self.alive
        compared = group_relative(error, self.alive, self._group_size)
        for name, trace in self.traces.items():
            trace.credit(error if name == "value" else compared)

    def state(self) -> dict[str, Any]:
        """The arrays of its state (not copies)."""
        return {
            "activity": vars(self.activity),
            "judging": vars(self.critic_activity) if self.critic_activity else {},
            "traces": {name: trace.state() for name, trace in self.traces.items()},
            "spread": self._bonus.state(),
            "alive": self.alive,
            "goes_on": self.goes_on,
            "afterwards": self.afterwards,
            "value": self.value,
            "acted": self._acted,
        }
