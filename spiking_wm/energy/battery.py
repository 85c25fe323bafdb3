"""Battery model: drained by mechanical work, idling and computing; charged by a dock. SI units."""

from dataclasses import dataclass

from spiking_wm.core.options import option


@dataclass(frozen=True)
class BatteryOptions:
    """Capacity and drain model of a battery."""

    capacity_j: float = option(1500.0, "energy of the full battery, in joules", 1e-3)
    idle_w: float = option(2.0, "power drawn by the robot at rest, in watts", 0)
    computing_w: float = option(3.0, "power of computing while the robot acts or dreams, in watts", 0)
    efficiency: float = option(0.7, "mechanical work per electrical energy, 0 to 1", 1e-3, 1)
    charging_w: float = option(60.0, "power of the dock, in watts", 0)


class Battery:
    """A battery; its energy stays between 0 and the capacity.

    Args:
        options: capacity and drain model.
        percentage: charge at the start, 0 to 1.
    """

    def __init__(self, options: BatteryOptions = BatteryOptions(), percentage: float = 1.0):
        self.options = options
        self.percentage = percentage

    @property
    def percentage(self) -> float:
        """Charge, 0 to 1, as in ``sensor_msgs/BatteryState``.

        Raises:
            ValueError: when set to a value outside 0 to 1.
        """
        return self.energy_j / self.options.capacity_j

    @percentage.setter
    def percentage(self, value: float) -> None:
        if not 0 <= value <= 1:
            raise ValueError(f"a battery's percentage lies between 0 and 1, not {value}")
        self.energy_j = value * self.options.capacity_j

    def pass_time(
        self, seconds: float, work_j: float = 0.0, computing: bool = True, docked: bool = False
    ) -> float:
        """Drain the battery by time and mechanical work, and charge it if the robot is docked.

        Returns:
            Mean power drawn over that time in watts, without the power of the dock.
        """
        o = self.options
        spent = seconds * (o.idle_w + computing * o.computing_w) + work_j / o.efficiency
        gained = docked * seconds * o.charging_w
        self.energy_j = min(max(self.energy_j + gained - spent, 0.0), o.capacity_j)
        return spent / seconds
