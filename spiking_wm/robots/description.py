"""Robot descriptions, ``config/robots/NAME.yaml``: read and checked before the robot moves."""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
from gymnasium.spaces import Box

from spiking_wm.core.data import data_folder
from spiking_wm.core.errors import UserError
from spiking_wm.core.options import override, read_yaml, suggestion
from spiking_wm.core.spaces import Spaces
from spiking_wm.safety.gate import GateOptions

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Kind = TypeVar("_Kind", bound="DataclassInstance")


@dataclass(frozen=True)
class Reading:
    """Values of the observation that come from one topic, as ``offset + scale * value``.

    ``field`` is a path into the message, for example ``twist.twist.linear.x``; or ``polar``: distance, sine
    and cosine of the bearing of a ``PointStamped``; or ``charging``: 1 if a ``BatteryState`` reports
    charging, else 0. ``joints`` selects values of a ``JointState`` by name, in any order. ``index`` selects
    elements of a list. Values are clipped to ``low`` and ``high``, including infinite ranges (REP-117).
    """

    topic: str
    type: str
    field: str
    unit: str
    joints: tuple[str, ...] = ()
    index: tuple[int, ...] = ()
    scale: float = 1.0
    offset: float = 0.0
    low: float = -float("inf")
    high: float = float("inf")
    fresh_for: float = 0.1  # maximum age in seconds, by arrival time and by stamp

    @property
    def size(self) -> int:
        """Number of values; 0 for an image, whose shape is in the message."""
        if self.type == "sensor_msgs/Image":
            return 0
        return 3 if self.field == "polar" else len(self.joints or self.index) or 1


@dataclass(frozen=True)
class Command:
    """The command topic: one value per joint in ``joints``, or per field of a twist in ``fields``.

    The command for an action ``a`` of the policy is ``offset + scale * a`` in ``unit``, from ``low`` to
    ``high``.
    """

    topic: str
    type: str
    unit: str
    low: tuple[float, ...]
    high: tuple[float, ...]
    joints: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    scale: tuple[float, ...] = (1.0,)
    offset: tuple[float, ...] = (0.0,)
    rest: tuple[float, ...] = ()  # the rest pose, for ``safe: pose``

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints or fields, one per value."""
        return self.joints or self.fields

    @property
    def space(self) -> Box:
        """Limits of a command as a Gymnasium space."""
        return Box(np.array(self.low, np.float32), np.array(self.high, np.float32))

    def convert(self, action: np.ndarray) -> np.ndarray:
        """The command for an action. An action of wrong shape is returned unchanged; the gate rejects it."""
        if action.shape != (len(self.names),):
            return action
        return np.asarray(self.offset, np.float32) + np.asarray(self.scale, np.float32) * action


@dataclass(frozen=True)
class Robot:
    """A robot: readings that form the observation, the command, and the options of its safety gate."""

    name: str
    period: float
    observation: tuple[Reading, ...]
    command: Command
    gate: GateOptions
    driver: str  # executable that simulates the hardware; empty if there is none

    def check_fits(self, spaces: Spaces) -> None:
        """Check that a policy fits this robot.

        Raises:
            UserError: if period, observation or actions differ.
        """
        refused = f"the policy does not fit robot:={self.name}: "
        if abs(spaces.period - self.period) > 1e-6:
            raise UserError(
                f"{refused}it was trained at a period of {spaces.period:g} s, not {self.period:g} s"
            )
        size = sum(reading.size for reading in self.observation)
        if size and spaces.observation.shape != (size,):
            raise UserError(
                f"{refused}it observes {spaces.observation.shape} values, the robot gives ({size},)"
            )
        if not size and len(spaces.observation.shape) != 3:
            raise UserError(f"{refused}it observes {spaces.observation.shape} values, the robot gives images")
        if not isinstance(spaces.action, Box) or spaces.action.shape != (len(self.command.names),):
            raise UserError(
                f"{refused}its actions are {spaces.action}, the robot takes {len(self.command.names)} values"
            )
        reach = [self.command.convert(bound) for bound in (spaces.action.low, spaces.action.high)]
        slack = 1e-6 * (self.command.space.high - self.command.space.low)
        low, high = np.minimum(*reach), np.maximum(*reach)
        for i, name in enumerate(self.command.names):
            if low[i] < self.command.low[i] - slack[i] or high[i] > self.command.high[i] + slack[i]:
                raise UserError(
                    f"{refused}it commands {name} from {low[i]:g} to {high[i]:g} {self.command.unit},"
                    f" allowed are {self.command.low[i]:g} to {self.command.high[i]:g}: change scale"
                )


def robots() -> list[str]:
    """Names of all robots, for ``robot:=``."""
    return sorted(path.stem for path in (data_folder("config") / "robots").glob("*.yaml"))


def load_robot(name: str) -> Robot:
    """Read a robot description by its name in ``config/robots``, or by the path of a ``.yaml`` file.

    Raises:
        UserError: for an unknown robot, or an error in its file.
    """
    own = name.endswith(".yaml")
    if not own and name not in robots():
        raise UserError(f"unknown robot '{name}'{suggestion(name, robots())}")
    path = Path(name) if own else data_folder("config") / "robots" / f"{name}.yaml"
    if not path.is_file():
        raise UserError(f"robot:={name} does not exist")
    described = read_yaml(path)
    required = ("period", "observation", "command")
    _check_keys(described, (*required, "gate", "driver"), required, path)
    readings = described["observation"]
    if not isinstance(readings, list) or not readings:
        raise UserError(f"{path}: observation must be a list of readings")
    robot = Robot(
        path.stem,
        _convert(float, described["period"], f"{path}: period"),
        tuple(_build(Reading, reading, f"{path}: reading {i}") for i, reading in enumerate(readings)),
        _build(Command, described["command"], f"{path}: command"),
        override(GateOptions(), described.get("gate") or {}),
        described.get("driver", ""),
    )
    _check(robot, path)
    return robot


def _check(robot: Robot, path: Path) -> None:
    if not 1e-4 <= robot.period <= 10:
        raise UserError(f"{path}: period is {robot.period:g} s, outside 0.0001..10")
    command, count = robot.command, len(robot.command.names)
    if not count:
        raise UserError(f"{path}: command names neither joints nor fields")
    for name in ("low", "high", "scale", "offset", "rest"):
        given = len(getattr(command, name))
        if (
            given != count
            and not (name in ("scale", "offset") and given == 1)
            and not (name == "rest" and not given)
        ):
            raise UserError(f"{path}: command has {count} values but {given} of '{name}'")
    if not all(low < high for low, high in zip(command.low, command.high)):
        raise UserError(f"{path}: every 'low' of command must be less than its 'high'")
    if not any(reading.size for reading in robot.observation) and len(robot.observation) > 1:
        raise UserError(f"{path}: an image must be the only reading")


def _build(kind: type[_Kind], described: Any, where: str) -> _Kind:
    """Make an instance of a dataclass from a mapping."""
    if not isinstance(described, dict):
        raise UserError(f"{where} must hold 'name: value' lines")
    types = get_type_hints(kind)
    _check_keys(described, types, [f.name for f in fields(kind) if f.default is MISSING], where)
    return kind(**{k: _convert(types[k], v, f"{where}: {k}") for k, v in described.items()})


def _check_keys(described: Mapping, known: Iterable[str], required: Iterable[str], where: Any) -> None:
    for key in described:
        if key not in known:
            raise UserError(f"{where}: unknown key '{key}'{suggestion(str(key), known)}")
    for key in required:
        if key not in described:
            raise UserError(f"{where}: '{key}' is missing")


def _convert(kind: Any, value: Any, where: str) -> Any:
    """Convert a value to the type of its field; a single value becomes a tuple of one."""
    if get_origin(kind) is tuple:
        values = value if isinstance(value, list) else [value]
        return tuple(_convert(get_args(kind)[0], item, where) for item in values)
    right = (
        isinstance(value, str)
        if kind is str
        else isinstance(value, int | float) and not isinstance(value, bool)
    )
    if not right or (kind is int and not isinstance(value, int)) or value != value:
        raise UserError(f"{where} is {value!r}, not of type {kind.__name__}")
    return kind(value)
