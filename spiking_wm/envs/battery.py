"""The battery of an environment: its own, or a virtual one beside it."""

import gymnasium as gym
import numpy as np

from spiking_wm.core.errors import UserError
from spiking_wm.energy.battery import Battery, BatteryOptions

BATTERIES = NONE, OWN, VIRTUAL = "none", "own", "virtual"


class EnvBattery:
    """Drains while the environment is stepped, charges while the robot rests.

    A virtual battery counts the positive mechanical work of MuJoCo's actuators; elsewhere only time
    drains it. It is taken to charge whenever the robot rests; an own one only on the robot's dock.

    Args:
        env: the environment.
        kind: ``own`` or ``virtual``.
        options: capacity and drain model.

    Raises:
        UserError: if an own battery is asked for and there is none.
    """

    def __init__(self, env: gym.Env, kind: str, options: BatteryOptions):
        self._env, self._own = env.unwrapped, kind == OWN
        if self._own and not isinstance(getattr(self._env, "battery", None), Battery):
            raise UserError(f"{env.spec.id} has no battery of its own: choose battery:={VIRTUAL}")
        self._battery = Battery(options)
        self.charging = False
        if self._own:
            self._env.battery = self._battery

    @property
    def percentage(self) -> float:
        """Charge, 0 to 1."""
        return self._battery.percentage

    def reset_options(self) -> dict | None:
        """Options of `gymnasium.Env.reset` that keep the charge over the episode's end."""
        return {"battery": self.percentage} if self._own else None

    def step(self, seconds: float) -> None:
        """The environment was stepped."""
        if self._own:
            self.charging = self._env.docked
            return
        self.charging = False
        self._battery.pass_time(seconds, self._power() * seconds)

    def rest(self, seconds: float, dreaming: bool) -> None:
        """The robot rested, and computed if it dreamed."""
        self.charging = self._env.docked if self._own else True
        self._battery.pass_time(seconds, computing=dreaming, docked=self.charging)

    def _power(self) -> float:
        data = getattr(self._env, "data", None)
        if data is None or not hasattr(data, "actuator_velocity"):
            return 0.0
        return float(np.clip(data.actuator_force * data.actuator_velocity, 0, None).sum())
