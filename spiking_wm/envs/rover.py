"""A battery-powered rover that drives to beacons in a walled yard and charges on its dock."""

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from gymnasium.spaces import Box

from spiking_wm.core.data import data_folder
from spiking_wm.energy.battery import Battery, BatteryOptions

_DOCK_RADIUS, _REACH = 0.25, 0.25  # metres
_YARD, _CLEARANCE = 1.7, 0.4  # metres: half width of the area of beacons; their distance to pillars and rover


class Rover(MujocoEnv):
    """A battery-powered rover that drives to beacons.

    ## Description
    A rover with two driven wheels, seven range finders and a battery, in a yard of 4 m by 4 m with
    three pillars. A beacon stands at a random place in the yard; when the rover comes within 0.25 m of
    it, it moves to another place. The battery drains with mechanical work, idling and computing, and
    charges on the dock in the middle, where every episode starts.

    ## Action space
    `Box(-1, 1, (2,), float32)`: wheel speed servos, at most 0.3 N m each.

    | Num | Action                             | Min | Max | Joint | Unit          |
    |-----|------------------------------------|-----|-----|-------|---------------|
    | 0   | speed of the left wheel (forward)  | -1  | 1   | left  | 12 rad/s      |
    | 1   | speed of the right wheel (forward) | -1  | 1   | right | 12 rad/s      |

    ## Observation space
    `Box(-inf, inf, (19,), float64)`

    | Num   | Observation                                                 | Unit  |
    |-------|-------------------------------------------------------------|-------|
    | 0-6   | range finders from 90° right to 90° left in steps of 30°; 3 if nothing is within 3 m | m |
    | 7     | yaw rate (left is positive)                                 | rad/s |
    | 8     | forward speed                                               | m/s   |
    | 9, 10 | angular speed of the left and of the right wheel            | rad/s |
    | 11    | distance of the beacon                                      | m     |
    | 12, 13 | sine and cosine of its bearing (left is positive)          | -     |
    | 14    | distance of the dock                                        | m     |
    | 15, 16 | sine and cosine of its bearing                             | -     |
    | 17    | charge of the battery, 0 to 1                               | -     |
    | 18    | 1 while the dock charges it, else 0                         | -     |

    ## Reward
    10 per metre that the rover comes nearer to the beacon (and -10 per metre away), and 5 when it
    reaches one.

    ## Start of an episode
    On the dock, at rest, in a uniformly random direction, with a beacon at a uniformly random place.
    The battery is full; `reset(options={"battery": percentage})` sets another charge.

    ## End of an episode
    Terminated when the battery is empty. Registered with a limit of 1000 steps (20 s).

    `info` has `battery` (0 to 1), `charging`, `power` (W) and `beacons` (number reached in the episode).

    Args:
        battery: capacity and drain model.
        kwargs: for `gymnasium.envs.mujoco.MujocoEnv`, as ``render_mode``.
    """

    metadata = {  # noqa: RUF012, as Gymnasium declares it
        "render_modes": ["human", "rgb_array", "depth_array", "rgbd_tuple"],
        "render_fps": 50,
    }

    def __init__(self, battery: BatteryOptions = BatteryOptions(), **kwargs: Any):
        self.battery = Battery(battery)
        path = Path(data_folder("sim")) / "rover" / "rover.xml"
        super().__init__(
            str(path),
            frame_skip=4,
            observation_space=Box(-np.inf, np.inf, (19,), np.float64),
            camera_name="above",
            **kwargs,
        )
        servos: Any = self.action_space  # a Box, from the model
        self._wheel_speed = servos.high.copy()
        self.action_space = Box(-1, 1, (2,), np.float32)
        self._wheels = [self.model.joint(name).dofadr[0] for name in ("left", "right")]
        pillars = [self.model.geom(i).pos[:2] for i in range(self.model.ngeom)]
        named = [self.model.geom(i).name.startswith("pillar") for i in range(self.model.ngeom)]
        self.pillars = np.array([p for p, is_pillar in zip(pillars, named) if is_pillar])
        self._beacons, self._power = 0, 0.0

    @property
    def docked(self) -> bool:
        """True if the rover is on its dock."""
        return bool(np.linalg.norm(self.data.qpos[:2]) < _DOCK_RADIUS)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, Any, bool, bool, dict]:
        """Run one control period of 20 ms."""
        far = self._distance()
        self.data.ctrl[:] = np.clip(action, -1, 1) * self._wheel_speed
        work = 0.0
        for _ in range(self.frame_skip):
            mujoco.mj_step(self.model, self.data)
            power = self.data.actuator_force * self.data.qvel[self._wheels]
            work += float(power.clip(min=0).sum()) * self.model.opt.timestep  # braking recovers no energy
        self._power = self.battery.pass_time(self.dt, work, docked=self.docked)
        near = self._distance()
        reward = 10 * (far - near)
        if near < _REACH:
            reward += 5
            self._beacons += 1
            self._place_beacon()
        if self.render_mode == "human":
            self.render()
        return self._observe(), float(reward), self.battery.energy_j == 0, False, self._info()

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode on the dock; ``options={"battery": 0.5}`` sets the charge."""
        self.battery.percentage = (options or {}).get("battery", 1.0)
        self._beacons, self._power = 0, 0.0
        observation, _ = super().reset(seed=seed)
        return observation, self._info()

    def reset_model(self) -> np.ndarray:
        """Place rover and beacon; called by `reset`."""
        position, velocity = self.init_qpos.copy(), np.zeros_like(self.init_qvel)
        yaw = self.np_random.uniform(-np.pi, np.pi)
        position[3:7] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)
        self.set_state(position, velocity)
        self._place_beacon()
        return self._observe()

    def _place_beacon(self) -> None:
        while True:
            place = self.np_random.uniform(-_YARD, _YARD, 2)
            away = np.linalg.norm(np.vstack([self.pillars, self.data.qpos[:2]]) - place, axis=1)
            if away.min() > _CLEARANCE:
                break
        self.data.mocap_pos[0, :2] = place

    def _distance(self) -> float:
        return float(np.linalg.norm(self.data.mocap_pos[0, :2] - self.data.qpos[:2]))

    def _polar(self, place: np.ndarray) -> tuple[float, float, float]:
        """Distance of a place, and sine and cosine of its bearing, as seen from the rover."""
        way = place - self.data.qpos[:2]
        w, x, y, z = self.data.qpos[3:7]
        bearing = np.arctan2(way[1], way[0]) - np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
        return float(np.linalg.norm(way)), np.sin(bearing), np.cos(bearing)

    def _observe(self) -> np.ndarray:
        ranges = self.data.sensordata[:7]
        return np.array(
            [
                *np.where(ranges < 0, 3.0, ranges),
                self.data.sensordata[9],
                self.data.sensordata[10],
                *self.data.qvel[self._wheels],
                *self._polar(self.data.mocap_pos[0, :2]),
                *self._polar(np.zeros(2)),
                self.battery.percentage,
                float(self.docked),
            ]
        )

    def _info(self) -> dict:
        return {
            "battery": self.battery.percentage,
            "charging": self.docked,
            "power": self._power,
            "beacons": self._beacons,
        }
