"""Rollouts of the actor in the model: dreams from stored states, and plans from the current state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spiking_wm.agents.rsnn.actor import Actor, Stream
from spiking_wm.agents.rsnn.dream_groups import stratified_noise
from spiking_wm.agents.rsnn.heads import Gaussian, Softmax
from spiking_wm.agents.rsnn.inputs import Inputs
from spiking_wm.agents.rsnn.model import Model
from spiking_wm.neurons.recurrent import Activity, Array

DREAM, PLAN = 2, 3  # keys of random generators; see also `actor_and_model`
Generators = Callable[[int, int, int], list[np.random.Generator]]  # from key, number and count


@dataclass
class Moment:
    """A start of rollouts: inputs ``[..., D]`` and the activity of all networks ``[..., N]``."""

    inputs: Array
    actor: Activity
    model: Activity
    critic: Activity | None


class Imagination:
    """Dreams and plans of ``R`` realisations.

    Args:
        actor: the actor, which acts and learns.
        model: the world model.
        head: the distribution of actions.
        inputs: the scaling of observations; its bounds clip imagined observations.
        generators: makes random generators, one realisation after the other.
        end_values: values ``[R, 2]`` after a reward that ends rollouts, below 0 and above.
    """

    def __init__(
        self,
        actor: Actor,
        model: Model,
        head: Softmax | Gaussian,
        inputs: Inputs,
        generators: Generators,
        end_values: Array,
    ):
        self._actor, self._model, self._head, self._inputs = actor, model, head, inputs
        self._generators, self._end_values = generators, end_values
        self._realisations = len(end_values)
        self.options = o = actor.options
        chunk = max(o.dream.horizon if o.dream.batch > 1 else min(o.dream.horizon, 64), 2)
        self.dreamed = Stream(
            actor,
            chunk,
            abreast=o.dream.batch,
            real=False,
            group_size=o.dream.group_size,
            trace_decay=o.dream.trace_decay,
        )
        self.planned = Stream(actor, real=False) if o.plan.steps > 0 else None
        starts = o.dream.starts
        self.moments = Moment(
            np.zeros((starts, self._realisations, inputs.width), np.float32),
            _empty(actor.network.at_rest(), starts),
            _empty(model.network.at_rest(), starts),
            _empty(actor.critic.network.at_rest(), starts) if actor.critic else None,
        )

    def remember(self, step: int, inputs: Array, awake: Stream) -> None:
        """Store the current state as a start of dreams, every `dream.spacing` steps."""
        o, m = self.options.dream, self.moments
        if step % o.spacing:
            return
        slot = step // o.spacing % o.starts
        m.inputs[slot] = inputs
        live = (awake.activity, self._model.activity, awake.critic_activity)
        for kept, now in zip((m.actor, m.model, m.critic), live):
            for name, value in vars(now).items() if now else ():
                getattr(kept, name)[slot] = value

    def recall(self, generators: Sequence[np.random.Generator], steps: int) -> Moment:
        """Draw one stored start for each group of dreams.

        Args:
            generators: one random generator per dream, ``R B``.
            steps: number of environment steps so far.
        """
        o, m = self.options.dream, self.moments
        rows = np.arange(len(generators)) // o.batch
        known = min(int(steps - 1) // o.spacing + 1, o.starts)
        slots = np.repeat([int(g.integers(known)) for g in generators[:: o.group_size]], o.group_size)

        def then(kept: Activity) -> Activity:
            return Activity(**{name: values[slots, rows] for name, values in vars(kept).items()})

        critic = then(m.critic) if m.critic else None
        return Moment(m.inputs[slots, rows], then(m.actor), then(m.model), critic)

    def dream(self, count: int, number: int, steps: int) -> dict[str, float]:
        """Dream ``count`` rollouts per realisation; the agent learns from them in one update.

        Args:
            count: up to `dream.batch`.
            number: number of dreams so far.
            steps: number of environment steps so far.

        Returns:
            Means over dreams: `dream_return`, undiscounted, and `dream_length`, in steps.
        """
        o, model = self.options.dream, self._model
        lengths = np.full(self._realisations, o.horizon)
        if o.max_error:
            share = 1 - model.relative_error() / np.float32(o.max_error)
            lengths = np.maximum((o.horizon * share).astype(int), 1)
        rows = lengths[:, None] * (np.arange(o.batch) < count)  # dreams beyond the count have length 0
        generators = self._generators(DREAM, number, o.batch)
        restore = model.shuffle(generators[:: o.batch]) if o.shuffled else None
        start = self.recall(generators, steps)
        noise = stratified_noise(generators, o.horizon, self._head.noise_width, o.group_size)
        total = self._rollout(self.dreamed, start, rows.reshape(-1), noise)
        if restore:
            restore()
        self._actor.learn(self.learnable(self.dreamed), dreamed=True)
        returns = float(total.sum() / (count * self._realisations))
        return {"dream_return": returns, "dream_length": float(lengths.mean())}

    def plan(self, inputs: Array, awake: Stream, step: int) -> None:
        """Plan from the current inputs ``[R, D]``; its gradient is part of the next update awake."""
        if not self.planned:
            return
        judging, steps = awake.critic_activity, self.options.plan.steps
        present = Moment(
            inputs,
            awake.activity.copy(),
            self._model.activity.copy(),
            judging.copy() if judging else None,
        )
        noise = stratified_noise(self._generators(PLAN, step, 1), steps, self._head.noise_width)
        self._rollout(self.planned, present, np.full(self._realisations, steps), noise)

    def learnable(self, imagined: Stream) -> Stream:
        """Discard the credit of values unless `dream.learn_values`; returns the stream."""
        if "value" in imagined.traces and not self.options.dream.learn_values:
            imagined.forget("value")
        return imagined

    def _rollout(
        self, stream: Stream, start: Moment, lengths: NDArray[np.int64], noise: NDArray[np.float64]
    ) -> Array:
        """Act in the model, one step per entry of ``noise [steps, R B, noise_width]``.

        Steps beyond ``lengths [R B]`` do not count. Returns imagined returns ``[R B]``.
        """
        o = self.options.dream
        inputs, model = start.inputs, start.model
        reward = np.zeros(len(inputs), np.float32)
        stream.begin(start.actor, start.critic)
        total, goes_on = reward.copy(), np.ones(len(lengths), bool)
        # the same number of steps for all, so that rounding does not depend on other realisations
        for step in range(len(noise)):
            outputs = stream.see(inputs, reward)
            stream.alive = (goes_on & (step < lengths)).astype(np.float32)
            actions = self._head.draw(outputs, noise[step])
            stream.choose(self._head.score(outputs, actions))
            prediction = self._model.predict(model, inputs, self._head.code(actions))
            inputs, reward = self._model.after(inputs, prediction)
            if o.clip:
                inputs = inputs.clip(self._inputs.low, self._inputs.high)
            total += reward * stream.alive
            if o.terminal_reward:  # the rollout ends here; the value replaces later rewards
                goes_on &= np.abs(reward) < o.terminal_reward
                stream.goes_on = goes_on.astype(np.float32)
                values = self._end_values.repeat(len(reward) // self._realisations, 0)
                stream.afterwards = np.where(reward > 0, values[:, 1], values[:, 0])
        stream.end(reward, inputs)
        return total

    def state(self) -> dict[str, Any]:
        """The arrays of its state (not copies)."""
        m = self.moments
        moments = {"inputs": m.inputs, "agent": vars(m.actor), "model": vars(m.model)}
        moments["critic"] = vars(m.critic) if m.critic else {}
        return {"moments": moments} | ({"planned": self.planned.state()} if self.planned else {})


def _empty(activity: Activity, count: int) -> Activity:
    arrays = {name: np.zeros((count, *x.shape), np.float32) for name, x in vars(activity).items()}
    return Activity(**arrays)
