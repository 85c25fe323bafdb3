"""The battery of an environment: part of the environment (own), or added to it (virtual)."""

from typing import Any, cast

import gymnasium as gym
import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.core.spaces import name_of
from spiking_wm.energy.battery import Battery, BatteryOptions

BATTERIES = NONE, OWN, VIRTUAL = "none", "own", "virtual"


class EnvBattery:
    """A battery that drains with every environment step and charges while the robot rests.

    A virtual battery drains with time and, in MuJoCo environments, with the positive mechanical work of the
    actuators. It charges whenever the robot rests. An environment's own battery charges only on the dock.

    Args:
        env: the environment.
        kind: ``own`` or ``virtual``.
        options: capacity and drain model.

    Raises:
        UserError: for ``own`` if the environment has no battery.
    """

    def __init__(self, env: gym.Env, kind: str, options: BatteryOptions):
        self._env = cast(Any, env.unwrapped)  # with `battery` and `docked`, if its own battery is used
        self._own = kind == OWN
        if self._own and not isinstance(getattr(self._env, "battery", None), Battery):
            raise UserError(f"{name_of(env)} has no battery of its own: choose battery:={VIRTUAL}")
        self._battery = Battery(options)
        self.charging = False
        if self._own:
            self._env.battery = self._battery

    @property
    def percentage(self) -> float:
        """Charge, 0 to 1."""
        return self._battery.percentage

    def reset_options(self) -> dict | None:
        """Options for `gymnasium.Env.reset` that keep the charge of an own battery; virtual: None."""
        return {"battery": self.percentage} if self._own else None

    def step(self, seconds: float) -> None:
        """Drain the battery for one environment step."""
        if self._own:
            self.charging = self._env.docked
            return
        self.charging = False
        self._battery.pass_time(seconds, self._power() * seconds)

    def rest(self, seconds: float, dreaming: bool) -> None:
        """Charge and drain the battery for a time of rest; ``dreaming`` adds the power of computing."""
        self.charging = self._env.docked if self._own else True
        self._battery.pass_time(seconds, computing=dreaming, docked=self.charging)

    def _power(self) -> float:
        data = getattr(self._env, "data", None)
        if data is None or not hasattr(data, "actuator_velocity"):
            return 0.0
        return float(np.clip(data.actuator_force * data.actuator_velocity, 0, None).sum())
