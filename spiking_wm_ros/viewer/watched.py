"""The state that the viewer shows: newest values and short histories."""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

_PHASES, _CHARGES, _SAMPLES, _RETURNS = 500, 1000, 300, 5000  # lengths of histories
_DECISIONS = 50  # over which silent and saturated neurons are counted
STALE = 3.0  # seconds without diagnostics after which a node counts as gone


@dataclass
class Status:
    """The newest diagnostics of a node."""

    level: int  # as in diagnostics: 0 is fine, 1 a warning, 2 an error
    message: str
    figures: dict[str, str]
    when: float


@dataclass(frozen=True)
class LayerActivity:
    """Activity of a layer of the policy over its last published decisions."""

    train: np.ndarray  # spikes of the last decision, [T, N]
    rate: float  # spikes per neuron and time step
    silent: int  # neurons that never fired
    saturated: int  # neurons that fired at every time step


@dataclass
class Watched:
    """Everything that the page shows. One thread writes, another reads histories as copies (``list``).

    Args:
        clock: a monotonic clock, in seconds.
    """

    clock: Callable[[], float] = time.monotonic
    nodes: dict[str, Status] = field(default_factory=dict)
    phases: deque = field(default_factory=lambda: deque(maxlen=_PHASES))  # (when, phase, reason)
    battery: deque = field(default_factory=lambda: deque(maxlen=_CHARGES))  # (when, 0 to 1)
    returns: dict[str, list[tuple[int, float]]] = field(default_factory=dict)  # (step, return) by kind
    actions: deque = field(default_factory=lambda: deque(maxlen=_SAMPLES))  # (when, values)
    commands: deque = field(default_factory=lambda: deque(maxlen=_SAMPLES))
    segment: dict[str, np.ndarray] = field(default_factory=dict)  # as `Agent.dream_against_reality`
    picture: bytes = b""  # JPEG
    policy_version: int = 0
    said: str = ""  # answers of services to the last button

    def __post_init__(self):
        self._spikes: deque[list[np.ndarray]] = deque(maxlen=_DECISIONS)

    # --- inputs ---

    def health(self, name: str, level: int, message: str, figures: Mapping[str, str]) -> None:
        """Store a node's diagnostics."""
        self.nodes[name] = Status(level, message, dict(figures), self.clock())
        if figures.get("phase") and name.endswith("dreamer") and not self._scheduled():
            self.phase(figures["phase"], f"step {figures['step']}" if "step" in figures else "")
        for kind, at in (("episode", "step"), ("evaluation", "evaluation_step")):
            if f"{kind}_return" in figures and at in figures:
                self._returned(kind, int(float(figures[at])), float(figures[f"{kind}_return"]))

    def _scheduled(self) -> bool:
        return any(name.endswith("scheduler") and self.alive(name) for name in self.nodes)

    def _returned(self, kind: str, step: int, value: float) -> None:
        curve = self.returns.setdefault(kind, [])
        if curve and step < curve[-1][0]:
            curve.clear()  # another run
        if not curve or (step > curve[-1][0] and (kind == "evaluation" or value != curve[-1][1])):
            curve.append((step, value))
        if len(curve) > _RETURNS:
            del curve[1:-1:2]  # delete every second point; the rest covers the whole run

    def phase(self, phase: str, reason: str) -> None:
        """Store the robot's phase, if it has changed."""
        if not self.phases or self.phases[-1][1] != phase:
            self.phases.append((self.clock(), phase, reason))

    def charge(self, percentage: float) -> None:
        """Store the charge of the battery, 0 to 1."""
        if not self.battery or self.clock() - self.battery[-1][0] > 0.5:
            self.battery.append((self.clock(), percentage))

    def action(self, values: Sequence[float]) -> None:
        """Store an action of the policy (before the gate)."""
        self.actions.append((self.clock(), list(values)))

    def command(self, values: Sequence[float]) -> None:
        """Store a command to the actuators (after the gate)."""
        self.commands.append((self.clock(), list(values)))

    def fired(self, trains: list[np.ndarray]) -> None:
        """Store the spike trains ``[T, N]`` of every layer in a decision."""
        if self._spikes and [t.shape for t in self._spikes[-1]] != [t.shape for t in trains]:
            self._spikes.clear()  # another network
        self._spikes.append(trains)

    # --- outputs ---

    def layers(self) -> list[LayerActivity]:
        """Activity of every layer of the policy."""
        heard = list(self._spikes)
        found = []
        for trains in zip(*heard):
            rates = np.mean([train.mean(0) for train in trains], 0)
            silent, saturated = int((rates == 0).sum()), int((rates == 1).sum())
            found.append(LayerActivity(trains[-1], float(rates.mean()), silent, saturated))
        return found

    def alive(self, name: str) -> bool:
        """True if a node has published diagnostics within `STALE` seconds."""
        return name in self.nodes and self.clock() - self.nodes[name].when < STALE

    def figure(self, node: str, name: str) -> str:
        """A figure of a node, by the end of its name; empty if it has none."""
        for full, status in self.nodes.items():
            if full.rpartition("/")[2] == node and self.alive(full):
                return status.figures.get(name, "")
        return ""
