"""The agent network: a policy read out of spikes, learned by reward-modulated e-prop."""

from collections.abc import Sequence

import numpy as np

from spiking_wm.agents.rsnn.critic import Critic
from spiking_wm.agents.rsnn.dream_groups import less_peers
from spiking_wm.agents.rsnn.options import Options
from spiking_wm.neurons.plasticity import Adam, CreditedTrace
from spiking_wm.neurons.recurrent import Activity, Array, RecurrentNetwork, by_realisation


class Actor:
    """Policies, and with ``baseline`` values, of ``R`` realisations.

    Args:
        generators: one per realisation.
        inputs, outputs: widths of observation and policy read-out.
        options: constants.
        critic: gives the values; without one they are read out of the agent's own spikes.
    """

    def __init__(
        self,
        generators: Sequence[np.random.Generator],
        inputs: int,
        outputs: int,
        options: Options,
        critic: Critic | None = None,
    ):
        o = self.options = options
        self.critic = critic
        scale = inputs * [o.input_scale]
        self.network = RecurrentNetwork(generators, scale, o.neurons, o.agent_constants(), inputs)
        drawn = [g.normal(0, o.policy_scale, (o.neurons, outputs)) for g in generators]
        self.policy = np.stack(drawn).astype(np.float32)
        self.value = np.zeros((len(generators), o.neurons, 1), np.float32)
        rates = {"recurrent": o.agent_lr, "input": o.input_lr, "policy": o.policy_lr, "value": o.value_lr}
        self.sharpness = np.full((), o.sharpness, np.float32)

        def adams(factor: float) -> dict[str, Adam]:
            there = {"input": self.network.synapses}
            learned = self.learned().items()
            return {n: Adam(array, factor * rates[n], 1e-5, there.get(n)) for n, array in learned}

        self.adams = adams(1.0)
        self.adams_asleep = adams(o.dream_rate) if o.world_model and o.dream_rate else self.adams

    def learned(self) -> dict[str, Array]:
        """The weights that learn, by name."""
        weights = {"recurrent": self.network.weights, "policy": self.policy}
        if self.options.input_lr:
            weights["input"] = self.network.input_weights
        own_values = self.options.baseline and not self.critic
        return weights | ({"value": self.value} if own_values else {})

    def read_out(self, spikes: Array) -> Array:
        """What policies read out ``[R B, K]`` of filtered spikes ``[R B, N]``."""
        return by_realisation(spikes, self.policy) * self.sharpness

    def sharpen(self, steps: int) -> None:
        """As sharp as is due after so many steps of learning; the sharper, the slower policies learn."""
        o = self.options
        if o.sharpen_time:
            self.sharpness[...] = o.sharpness * min(1 + max(steps, 0) / o.sharpen_time, o.sharpest)

    def learn(self, *streams: "Stream", asleep: bool = False) -> None:
        """One step of Adam, awake's or dreams' own, up what was credited since the last one."""
        slower = float(self.options.sharpness / self.sharpness)
        for name, adam in (self.adams_asleep if asleep else self.adams).items():
            first, *others = (stream.take(name) for stream in streams)
            adam.ascend(sum(others, first), 1.0 if name == "value" else slower)
        if not self.options.self_connections:
            neurons = np.arange(self.options.neurons)
            self.network.weights[:, neurons, neurons] = 0

    def state(self) -> dict:
        """The arrays that it goes on from, themselves."""
        weights = {"network": self.network.state(), "policy": self.policy, "value": self.value}
        weights["sharpness"] = self.sharpness
        kept = {"adams": self.adams, "adams_asleep": self.adams_asleep}
        return weights | {k: {name: adam.state() for name, adam in a.items()} for k, a in kept.items()}


class Stream:
    """A course of events, real or imagined, and what an actor's neurons and synapses keep of it.

    In every step: `see`, `choose`; `end` after the last. Nothing that is kept grows with time (paper,
    eq. 6-8; with ``baseline`` the reward gives way to the error of temporal differences, as in Bellec
    et al. 2020).

    Args:
        actor: whose.
        chunk: steps kept before they are folded into traces.
        abreast: courses of each realisation side by side, ``B``; several may not be longer than a chunk.
        real: whether a critic learns from it.
        peers: courses that begin alike, and are judged by how much better than the others' they are.
        decay: further decay of eligibility per step (lambda); None: the actor's.
    """

    def __init__(
        self,
        actor: Actor,
        chunk: int = 128,
        abreast: int = 1,
        real: bool = True,
        peers: int = 1,
        decay: float | None = None,
    ):
        self._actor, self._abreast, self._peers, o = actor, abreast, peers, actor.options
        self._taught = actor.critic if real else None

        def traces(learned: dict[str, Array], decay: float) -> dict[str, CreditedTrace]:
            shapes = {name: array.shape for name, array in learned.items()}
            return {n: CreditedTrace(s, o.discount * decay, chunk, abreast) for n, s in shapes.items()}

        self.traces = traces(actor.learned(), o.trace_decay if decay is None else decay)
        if self._taught:
            self.traces |= traces(self._taught.learned(), o.critic_decay)
        self._spread = CreditedTrace(actor.policy.shape, 0.0, chunk, abreast)
        self.rest()

    def rest(self) -> None:
        """Begin anew with neurons at rest."""
        critic = self._actor.critic
        judging = critic.network.at_rest(self._abreast) if critic else None
        self.begin(self._actor.network.at_rest(self._abreast), judging)

    def begin(self, activity: Activity, judging: Activity | None) -> None:
        """Begin anew with neurons, and the critic's, in some state: nothing later is credited to before."""
        self.activity, self.judging = activity, judging
        # whether what is done counts, and whether what follows on it is seen
        self.alive, self.goes_on = np.ones((2, len(activity.potential)), np.float32)
        self.afterwards = np.zeros_like(self.alive)  # value of what follows where it is not seen
        self.value, self._acted = np.zeros_like(self.alive), np.zeros((), bool)
        for trace in self.traces.values():
            trace.start()

    def forget(self, *names: str) -> None:
        """Drop what was credited to some weights, by default to all, and not learned yet."""
        for name in names or self.traces:
            self.take(name)

    def take(self, name: str) -> Array:
        """The gradient credited to some weights since the last call."""
        gradient = self.traces[name].take()
        if name == "policy":
            gradient += self._spread.take()
        return gradient

    def learn_values(self) -> None:
        """One step of the critic up what was credited to it since the last one."""
        self._taught.learn({name: self.take(name) for name in self._taught.learned()})

    def see(self, inputs: Array, reward: Array) -> Array:
        """Take in observations ``[R B, D]`` and rewards ``[R B]`` on the way; policy outputs ``[R B, K]``."""
        spikes = self._actor.network.tick(self.activity, inputs)
        if critic := self._actor.critic:
            value = critic.judge(self.judging, inputs, learning=self._taught is not None)
        else:
            value = by_realisation(spikes, self._actor.value)[:, 0]
        if self._acted:
            following = np.where(self.goes_on, value, self.afterwards)
            self._credit(reward + np.float32(self._actor.options.discount) * following)
        self.value = value
        return self._actor.read_out(spikes)

    def choose(self, direction: Array, spread: Array | None = None) -> None:
        """Take in gradients by the outputs ``[R B, K]``: of the choice's log-probability, and ``spread``.

        The latter is learned whatever comes of it: of the entropy awake (in what is imagined, which teaches
        little per step, all would drown in it).
        """
        a, alive = self.activity, self.alive[:, None]
        direction = direction * alive
        if spread is not None:
            self._spread.add(a.readout, spread * alive)
            self._spread.credit(self.alive)
        learning = by_realisation(direction, self._actor.policy.transpose(0, 2, 1)) * a.derivative
        self.traces["recurrent"].add(a.trace, learning)
        if "input" in self.traces:
            self.traces["input"].add(a.input_trace, learning)
        self.traces["policy"].add(a.readout, direction)
        if self._taught:
            for name, factors in self._taught.factors(self.judging, alive).items():
                self.traces[name].add(*factors)
        elif "value" in self.traces:
            self.traces["value"].add(a.readout, alive)
        self._acted = np.ones((), bool)

    def end(self, reward: Array, inputs: Array | None = None) -> None:
        """End with the last rewards; ``inputs`` follow where time ran out, nothing where the task ended."""
        if inputs is not None:
            self.see(inputs, reward)
        else:
            self._credit(reward)

    def _credit(self, target: Array) -> None:
        error = (target - self.value) * self.alive
        compared = less_peers(error, self.alive, self._peers)
        for name, trace in self.traces.items():
            trace.credit(error if name == "value" else compared)

    def state(self) -> dict:
        """The arrays that it goes on from, themselves."""
        return {
            "activity": vars(self.activity),
            "judging": vars(self.judging) if self.judging else {},
            "traces": {name: trace.state() for name, trace in self.traces.items()},
            "spread": self._spread.state(),
            "alive": self.alive,
            "goes_on": self.goes_on,
            "afterwards": self.afterwards,
            "value": self.value,
            "acted": self._acted,
        }
