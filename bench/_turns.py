"""Trainings in HalfCheetah that take turns, each in a process of its own, which waits between its turns."""

import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _yardstick import median_ms
from stable_baselines3 import TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise

from spiking_wm.core.contract import Policy, Weights
from spiking_wm.core.presets import resolve
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.envs.make import make_env
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm.training.evaluation import episode, evaluate

ENV, SEED, BATCH, HIDDEN = "HalfCheetah-v5", 0, 256, [256, 256]
EVALUATION_SEEDS = range(1_000_003, 1_000_013)  # those of `spiking_wm.training.session`


class Arm(NamedTuple):
    """One of the compared trainings: a preset with some options, or the peer (no preset)."""

    label: str
    preset: str | None
    options: dict[str, Any]

    def but(self, options: dict[str, Any]) -> "Arm":
        """The same with other options."""
        return Arm(self.label, self.preset, self.options | options)


class Turns:
    """Holds a training between its turns, and meanwhile answers what the parent process asks.

    Args:
        pipe: receives pairs of a name and an argument, and sends the answers. ``train`` up to a step is
            answered by the seconds that it took, ``evaluate`` on seeds by the returns, ``decide`` a number of
            times by the median time of a decision in milliseconds.
        policy: makes the current policy.
    """

    def __init__(self, pipe: Connection, policy: Callable[[], Policy]):
        self._pipe, self._policy = pipe, policy
        self._last, self._began = 0, 0.0

    def after_step(self, step: int) -> None:
        """Return at once within a turn; at its end, wait for the next one. Call it after each step."""
        if step < self._last:
            return
        if self._last:
            self._pipe.send(time.perf_counter() - self._began)
        answers = {"evaluate": self._evaluate, "decide": self._decide}
        asked, argument = self._pipe.recv()
        while asked != "train":
            self._pipe.send(answers[asked](argument))
            asked, argument = self._pipe.recv()
        self._last, self._began = argument, time.perf_counter()

    def _evaluate(self, seeds: range) -> tuple[float, ...]:
        return evaluate(self._policy(), make_env(ENV), seeds).returns

    def _decide(self, times: int) -> float:
        policy = self._policy()
        steps = islice(episode(policy, make_env(ENV), EVALUATION_SEEDS[0]), 500)
        seen = cycle([policy.spaces.check_observation(step.observation) for step in steps])
        return median_ms(lambda: policy.act(next(seen), None, None), times)


class PeerPolicy(Policy):
    """The greedy policy of a model of stable-baselines3."""

    def __init__(self, model: TD3):
        super().__init__(None, Spaces.of(make_env(ENV)))
        self._model = model

    def load(self, weights: Weights) -> None:
        """Take weights of another model of the same sizes."""
        self._model.policy.load_state_dict(dict(weights))

    def act(self, observation: np.ndarray, state: None, rng: None) -> tuple[np.ndarray, None]:
        """Greedy action."""
        return self._model.predict(observation, deterministic=True)[0], None


class AfterStep(BaseCallback):
    """Calls a function with the number of steps after each environment step."""

    def __init__(self, function: Callable[[int], None]):
        super().__init__()
        self._function = function

    def _on_step(self) -> bool:
        self._function(self.num_timesteps)
        return True


def train_peer(options: dict[str, Any], pipe: Connection) -> None:
    """Train stable-baselines3's TD3 with its defaults, acting noise of 0.1, without end."""
    env = make_env(ENV)
    noise = np.full(env.action_space.shape, 0.1)
    model = TD3(
        "MlpPolicy",
        env,
        batch_size=BATCH,
        learning_starts=options["warmup"],
        action_noise=NormalActionNoise(0 * noise, noise),
        policy_kwargs={"net_arch": HIDDEN},
        seed=SEED,
        device="cpu",
    )
    turns = Turns(pipe, lambda: PeerPolicy(model))
    model.learn(1 << 30, AfterStep(turns.after_step))


def train_ours(preset: str, options: dict[str, Any], folder: Path, pipe: Connection) -> None:
    """Train one of our presets as `./swm train --in-process` does, without end."""
    sizes = {"batch": BATCH, "actor.hidden": HIDDEN, "critic.hidden": HIDDEN}
    endless = {"steps": 1 << 30, "seed": SEED, "evaluation.every": 0, "checkpoint_every": 0}
    run = Run.create(folder, resolve(preset, ENV, sizes | endless | options), ENV)
    spaces = Spaces.of(make_env(ENV))
    turns = Turns(pipe, lambda: make_policy(load_bundle(max(run.policies.glob("*.safetensors"))), spaces))
    train(run, on_step=turns.after_step)


def work(arm: Arm, folder: Path, pipe: Connection) -> None:
    """Train an arm in its turns until the parent process ends this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    prepare_to_compute()
    if arm.preset is None:
        train_peer(arm.options, pipe)
    else:
        train_ours(arm.preset, arm.options, folder, pipe)


@contextmanager
def processes(arms: Mapping[str, Arm]) -> Iterator[dict[str, Connection]]:
    """Start a process for each arm; yields their pipes by the arms' names, and ends the processes."""
    spawn, pipes, started = multiprocessing.get_context("spawn"), {}, []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            for name, arm in arms.items():
                pipes[name], theirs = spawn.Pipe()
                started.append(
                    spawn.Process(target=work, args=(arm, Path(folder) / name, theirs), daemon=True)
                )
                started[-1].start()
                theirs.close()
            for pipe in pipes.values():
                ask(pipe, "train", 1)  # all have started before one is measured
            yield pipes
        finally:
            for process in started:
                process.terminate()
                process.join()


def ask(pipe: Connection, what: str, argument: Any) -> Any:
    """The answer of an arm's process."""
    try:
        pipe.send((what, argument))
        return pipe.recv()
    except (EOFError, ConnectionError):
        raise SystemExit("the process of an arm failed, see above") from None
