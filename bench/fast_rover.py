"""The simulated rover at another control rate, as an environment to train in and as a driver.

``SWM_BENCH_HZ`` is the rate in steps per second: 50, 100 or 200 (the steps of its simulation).
"""

import os
import sys

from spiking_wm.energy.battery import BatteryOptions
from spiking_wm.envs.rover import Rover
from spiking_wm_ros.nodes import rover_driver
from spiking_wm_ros.nodes.main import run

HZ = int(os.environ.get("SWM_BENCH_HZ", "50"))


def rover(battery: BatteryOptions = BatteryOptions()) -> Rover:
    """The rover, at the rate of `HZ`."""
    made = Rover(battery)
    made.frame_skip = round(1 / (HZ * made.model.opt.timestep))
    assert abs(made.dt * HZ - 1) < 1e-6, f"SWM_BENCH_HZ={HZ} is none of 50, 100, 200"
    return made


if __name__ == "__main__":
    rover_driver.Rover = rover
    sys.exit(run(rover_driver.RoverDriver))
