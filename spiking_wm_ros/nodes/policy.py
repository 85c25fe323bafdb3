"""The policy node: answers observations with actions, and loads new policy versions in parallel."""

import sys
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from spiking_wm_msgs.msg import Action, Decision, Observation, PolicyVersion

from spiking_wm.chips.backends.registry import backend_class, backend_options
from spiking_wm.core.contract import Policy
from spiking_wm.core.errors import UserError
from spiking_wm.core.exploration import Exploration
from spiking_wm.core.files import sha256
from spiking_wm.core.options import option, override
from spiking_wm.core.player import Player
from spiking_wm.core.process import prepare_to_compute
from spiking_wm.core.spaces import Spaces
from spiking_wm.neurons import probe
from spiking_wm.runs.policy_bundle import load_bundle, make_policy
from spiking_wm_ros.nodes import qos
from spiking_wm_ros.nodes.health import Health, spread
from spiking_wm_ros.nodes.main import run
from spiking_wm_ros.nodes.managed import ManagedNode
from spiking_wm_ros.nodes.messages import (
    ACTION,
    OBSERVATION,
    check_not_ahead,
    check_version,
    from_array,
    pack,
    to_decision,
)
from spiking_wm_ros.nodes.parameters import declare, refuse_unknown

_FOREVER = 2**63 - 1
_WITHOUT_VERSION = 2.0  # seconds for which an observation waits for a version that was refused
_DECISIONS_EVERY = 0.2  # seconds between published decisions, with their spikes
# Python's thread switch interval in seconds; less than the default, 0.005, so that loading delays acting less
_SWITCH_INTERVAL = 0.0002


_Place = tuple[bool, int]  # evaluation or not, and copy of the environment


@dataclass(frozen=True)
class PolicyOptions:
    """Parameters of the policy node."""

    seed: int = option(0, "seed of exploration (seed of the run)", 0, 2**31 - 1)
    envs: int = option(
        1, "copies of the environment, in each of which it acts with a state of its own", 1, 256
    )
    bundle: str = option("", "policy bundle; empty: wait for versions of the dreamer")
    changed: str = option("", "options that differ from the bundle's, as {target_return: 300}")
    backend: str = option("host", "backend of the network: name of a folder in spiking_wm/chips/backends")
    backend_options: str = option("", "options of the backend, as {precision: floating_pt}")
    real_time: bool = option(False, "use real-time scheduling, if it is allowed")


class PolicyNode(ManagedNode):
    """Acts with the newest policy version; recurrent state is kept when weights change."""

    def __init__(self):
        sys.setswitchinterval(_SWITCH_INTERVAL)
        prepare_to_compute()  # takes a second: here, other nodes start at the same time
        super().__init__("policy")
        self.options = declare(self, PolicyOptions)
        refuse_unknown(self)

    def configure(self) -> None:
        """Load the bundle, or wait for the first version."""
        self._policy: Policy | None = None
        given = yaml.safe_load(self.options.backend_options) or {}
        chosen = override(backend_options(self.options.backend)(), given)
        self._backend = backend_class(self.options.backend)(chosen)
        self._loader = ThreadPoolExecutor(1)  # loads versions while the node acts, one after the other
        self._version = self._heard = 0  # acting, and newest one that was published
        # by evaluation or not, and copy of the environment:
        self._players: dict[_Place, Player] = {}
        # observations are views of `OBSERVATION`
        self._pending: dict[_Place, Any] = {}  # those of a round that wait for their version
        self._answered: dict[_Place, tuple[Any, bytes]] = {}  # the last one, and its action as a message
        self._exploration = Exploration(self.options.seed)
        self._latencies = deque(maxlen=1000)
        self._refused, self._refused_at = "", 0.0
        self._decided_at = 0.0  # the last decision that was published, if anybody listened

        self._decisions = self.create_publisher(Decision, "decision", qos.OFFERED_NEWEST)
        envs = self.options.envs
        self._actions = self.create_publisher(Action, "action", qos.of_round(qos.OFFERED_NEWEST, envs))
        on_observation = OBSERVATION.unpacking(self._on_observation)
        self.create_subscription(
            Observation, "observation", on_observation, qos.of_round(qos.NEWEST, envs), raw=True
        )
        if self.options.bundle:
            self._act_by_bundle(Path(self.options.bundle))
        else:
            self.create_subscription(PolicyVersion, "policy_version", self._on_version, qos.LATCHED_FROM_ALL)
        self.create_timer(_WITHOUT_VERSION / 4, self._end_without_version)
        self._health = Health(self, self._report)
        if self.options.real_time:
            self.act_in_real_time()

    # --- versions ---

    def _act_by_bundle(self, path: Path) -> None:
        self._policy, self._version = self._load(path, None)
        publisher = self.create_publisher(PolicyVersion, "policy_version", qos.LATCHED)
        version = PolicyVersion(version=self._version, until_step=_FOREVER, path=str(path))
        version.header.stamp = self.get_clock().now().to_msg()
        version.sha256 = sha256(path)
        publisher.publish(version)

    def _load(self, path: Path, digest: str | None) -> tuple[Policy, int]:
        """Load a policy that is ready to act; returns it and its version.

        Raises:
            UserError: if the bundle is damaged, does not fit, or cannot act.
        """
        bundle = load_bundle(path, digest)
        # the first bundle sets the spaces; later ones must fit them
        spaces = self._policy.spaces if self._policy else Spaces.from_json(bundle.facts["spaces"])
        policy = make_policy(bundle, spaces, yaml.safe_load(self.options.changed) or {})
        self._backend.place(policy)
        try:
            _try_out(policy)
        except BaseException:
            self._backend.retire(policy)
            raise
        return policy, bundle.version

    def _on_version(self, message: PolicyVersion) -> None:
        check_version(message)
        check_not_ahead(message.version, self._heard)
        self._heard = message.version
        self._loader.submit(self._prepare, message)

    def _prepare(self, message: PolicyVersion) -> None:  # in the loader's thread
        """Load a version; if its bundle is refused, the previous version continues to act."""
        try:
            policy, version = self._load(Path(message.path), message.sha256)
            self.call_soon(lambda: self._swap(policy, version))
        except UserError as error:
            if self._policy is None:  # there is no version before
                self.raised = error
                return
            refusal = f"version {message.version} refused: {error}"
            self.get_logger().error(refusal)
            self.call_soon(lambda: self._refuse(refusal))  # after swaps that are scheduled already
        except BaseException as error:
            self.raised = error

    def _swap(self, policy: Policy, version: int) -> None:
        before, self._policy, self._version, self._refused = self._policy, policy, version, ""
        for player in self._players.values():
            player.policy = policy
        if before is not None:  # None would retire all, the next version's too if it is placed already
            self._loader.submit(self._backend.retire, before)
        pending, self._pending = self._pending, {}
        for message in pending.values():
            self._on_observation(message)

    def _refuse(self, refusal: str) -> None:
        self._refused, self._refused_at = refusal, time.monotonic()
        self._health.publish()  # now: the next version may come within a second

    def _end_without_version(self) -> None:
        """End if an observation waits for a version that was refused: none comes before it is answered.

        Raises:
            UserError: the reason of the refusal.
        """
        late = time.monotonic() > self._refused_at + _WITHOUT_VERSION
        if self._refused and self._pending and late:
            raise UserError(self._refused)

    # --- acting ---

    def _on_observation(self, message: Any) -> None:
        if not self.active:
            return
        place = message.evaluation, 0 if message.evaluation else message.step % self.options.envs
        if self._policy is None or message.policy_version > self._version:
            self._wait(place, message)
            return
        answered, answer = self._answered.get(place, (None, None))
        if answered and _same(message, answered):  # the answer was lost; to decide twice advances the state
            self._actions.publish(answer)
            return
        began = time.perf_counter()
        space = self._policy.spaces.observation
        observation = from_array(message.observation, space.dtype, space.shape)
        player = self._player_of(message, place)
        rng = None if message.evaluation else self._exploration.at(message.step)
        publishes = False
        if began > self._decided_at + _DECISIONS_EVERY:  # to look for listeners takes time, too
            self._decided_at, publishes = began, bool(self._decisions.get_subscription_count())
        with probe.listen() if publishes else nullcontext([]) as trains:
            action = player.act(observation, rng)
        answer = ACTION.pack(
            ACTION.view(
                header=message.header,
                episode=message.episode,
                step=message.step,
                evaluation=message.evaluation,
                policy_version=self._version,
                action=pack(action),
            )
        )
        self._answered[place] = message, answer
        self._actions.publish(answer)
        self._latencies.append(time.perf_counter() - began)
        if publishes:
            self._decisions.publish(to_decision(action, trains, self._version, message.header))

    def _wait(self, place: _Place, message: Any) -> None:
        """Keep an observation until its version comes, together with others of its round."""
        others = self._pending.values()
        if any(
            (each.evaluation, each.policy_version) != (place[0], message.policy_version) for each in others
        ):
            self._pending = {}
        self._pending[place] = message

    def _player_of(self, message: Any, place: _Place) -> Player:
        """The player for an observation, with its state before this observation."""
        player = self._players.get(place)
        if player is None:
            player = self._players[place] = Player(self._policy, copy=place[1])
        elif not message.episode_start:
            player.rewarded(message.reward)
        if message.episode_start:
            player.reset(message.episode)
        return player

    # --- health and end ---

    def _report(self) -> tuple[bytes, str, dict]:
        figures = {"policy_version": self._version}
        figures |= spread("latency", self._latencies) | self._backend.figures()
        level = DiagnosticStatus.WARN if self._backend.fault else DiagnosticStatus.OK
        level = DiagnosticStatus.ERROR if self._refused else level
        state = "acting" if self.active else "inactive"
        state = state if self._policy else "waiting for a policy version"
        return level, self._refused or self._backend.fault or state, figures

    def release(self) -> None:
        """End the loader and the backend."""
        self._loader.shutdown(cancel_futures=True)
        self._backend.retire(None)


def _try_out(policy: Policy) -> None:
    """Decide once, so that loading and compiling do not delay the first real decision.

    Raises:
        UserError: for an action outside the action space (damaged weights, for example).
    """
    nothing = np.zeros(policy.spaces.observation.shape, policy.spaces.observation.dtype)
    policy.spaces.check_action(policy.act(nothing, policy.initial_state(), None)[0])


def _same(one: Any, other: Any) -> bool:
    names = ("step", "episode", "evaluation", "observation")
    return all(getattr(one, name) == getattr(other, name) for name in names)


def main() -> None:
    """Entry point of ``ros2 run spiking_wm_ros policy``."""
    sys.exit(run(PolicyNode))


if __name__ == "__main__":
    main()
