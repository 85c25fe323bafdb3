"""Animated GIF of a rover in simulation, and of the dream of its spiking world model.

Run as ``./swm experiment dream_film run:=runs/ROVER file:=docs/images/dream.gif`` with a run of Rover-v0 that
dreams. Left: the simulation. Right: the open-loop prediction of the ensemble from one observation and the
actions. The pose is computed from the predicted direction of the dock and the predicted yaw rate. Every
``horizon`` steps the prediction starts again from a real observation. Only these observations and the map of
the yard are shared between both sides.
"""

from dataclasses import dataclass
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from _arguments import arguments
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon, Rectangle
from PIL import Image

import spiking_wm
from spiking_wm.core.errors import UserError
from spiking_wm.core.storage import load
from spiking_wm.runs.folder import Run
from spiking_wm.runs.resuming import make_agent, spaces_of

DREAM, REAL = "#7b3fa0", "#d98a00"
RAYS = np.radians(np.arange(-90, 91, 30))  # directions of the range finders, from right to left
YARD = 2.0  # half the side of the yard, metres
SIDE = 300  # side of a picture in pixels
PACE = 80  # milliseconds per frame


@dataclass
class Seen:
    """An observation of the rover, real or predicted, with its heading."""

    values: np.ndarray  # [19]
    yaw: float
    unsure: float = 0.0  # standard deviation between the members, mean over values in deviations

    @property
    def position(self) -> np.ndarray:
        """Position relative to the dock, in metres."""
        distance, sine, cosine = self.values[14:17]
        angle = self.yaw + np.arctan2(sine, cosine)
        return -distance * np.array([np.cos(angle), np.sin(angle)])

    @property
    def beacon(self) -> np.ndarray:
        """Position of the beacon, in metres."""
        distance, sine, cosine = self.values[11:14]
        angle = self.yaw + np.arctan2(sine, cosine)
        return self.position + distance * np.array([np.cos(angle), np.sin(angle)])


def yaw_of(env: gym.Env) -> float:
    """Heading of the simulated rover, radians."""
    w, x, y, z = env.unwrapped.data.qpos[3:7]
    return float(np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


def drawn(real: Seen, dream: Seen, paths: tuple[list, list], pillars: np.ndarray, ahead: int) -> np.ndarray:
    """The dream as a picture ``[SIDE, SIDE, 3]``."""
    figure = Figure(figsize=(3, 3), dpi=SIDE / 3)
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-YARD - 0.1, YARD + 0.1), ylim=(-YARD - 0.1, YARD + 0.1), xticks=[], yticks=[])
    axes.set_facecolor("#17121f")
    axes.add_patch(Rectangle((-YARD, -YARD), 2 * YARD, 2 * YARD, fill=False, color="#6a5a80", linewidth=2))
    for pillar in pillars:
        axes.add_patch(Circle(pillar, 0.12, color="#3a3048"))
    axes.add_patch(Circle((0, 0), 0.2, color="#2d4a3a"))
    for path, colour in zip(paths, (REAL, "#c79be6")):
        axes.plot(*np.transpose(path[-60:]), color=colour, linewidth=1.5, alpha=0.8)
    position, yaw = dream.position, dream.yaw
    for angle, reach in zip(RAYS, dream.values[:7]):
        end = position + min(reach, 3.0) * np.array([np.cos(yaw + angle), np.sin(yaw + angle)])
        axes.plot(*np.transpose([position, end]), color="#c79be6", alpha=0.35, linewidth=1)
    axes.add_patch(Circle(dream.beacon, 0.1, color="#4fd1c5"))
    axes.add_patch(Circle(position, 0.12 + 0.5 * dream.unsure, color="#c79be6", alpha=0.18))
    nose, side = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    axes.add_patch(
        Polygon(
            [position + 0.16 * nose, position - 0.1 * nose + 0.1 * side, position - 0.1 * nose - 0.1 * side],
            color="#f2e6ff",
        )
    )
    axes.plot(*real.position, "o", color=REAL, markersize=5)
    axes.text(
        -1.92, 1.76, f"its dream, {0.02 * ahead:.1f} s after an observation", color="#e8dcf5", fontsize=8
    )
    axes.text(-1.92, -1.92, "orange: real position", color=REAL, fontsize=7)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def film(run: Run, steps: int, horizon: int, every: int, seed: int) -> list[np.ndarray]:
    """Frames of an episode, one every ``every`` steps."""
    checkpoint = run.newest()
    setup = run.config.resolve()
    agent = make_agent(setup, spaces_of(checkpoint))
    agent.restore(load(checkpoint / "agent.safetensors")[0])
    policy = spiking_wm.load_policy(run)
    env = gym.make(run.config.env, render_mode="rgb_array", width=SIDE, height=SIDE)
    observation, _ = env.reset(seed=seed)
    policy.reset()
    pillars = env.unwrapped.pillars
    period, frames = policy.policy.spaces.period, []
    real = dream = Seen(np.asarray(observation), yaw_of(env))
    paths: tuple[list, list] = ([real.position], [dream.position])
    for step in range(steps):
        ahead = step % horizon
        if ahead == 0:
            dream = Seen(real.values.copy(), real.yaw)
            paths[1].clear()
        if step % every == 0:
            awake = env.render().copy()
            frames.append(np.concatenate([awake, drawn(real, dream, paths, pillars, ahead)], 1))
        action = policy.act(observation)
        observation, _, terminated, truncated, _ = env.step(action)
        real = Seen(np.asarray(observation), yaw_of(env))
        imagined = agent.dynamics.step(
            torch.as_tensor(dream.values, dtype=torch.float32)[None], torch.as_tensor(action)[None]
        )
        values = imagined.next_observation[0].numpy().astype(float)
        dream = Seen(values, dream.yaw + period * values[7], float(imagined.uncertainty[0]) ** 0.5)
        for path, seen in zip(paths, (real, dream)):
            path.append(seen.position)
        if terminated or truncated:
            break
    env.close()
    return frames


def palette_of(frames: list[np.ndarray]) -> Image.Image:
    """256 colours for all frames: many shades for the simulation, all colours of the dream's thin lines."""
    some = Image.fromarray(np.concatenate(frames[:: max(len(frames) // 8, 1)]))
    halves = [some.crop((0, 0, SIDE, some.height)), some.crop((SIDE, 0, 2 * SIDE, some.height))]
    methods = (Image.Quantize.MEDIANCUT, Image.Quantize.MAXCOVERAGE)
    colours = [half.quantize(128, method).getpalette()[: 3 * 128] for half, method in zip(halves, methods)]
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours[0] + colours[1])
    return palette


def main() -> None:
    """Write the film."""
    given = arguments(
        {"run": "", "file": "runs/dream.gif", "steps": 400, "horizon": 50, "every": 4, "seed": 1}
    )
    if not given["run"]:
        raise UserError("run:= is missing: give a run of Rover-v0 with a world model")
    run = Run(Path(given["run"]))
    frames = film(run, given["steps"], given["horizon"], given["every"], given["seed"])
    file = Path(given["file"])
    file.parent.mkdir(parents=True, exist_ok=True)
    palette = palette_of(frames)
    first, *others = (
        Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames
    )
    first.save(file, save_all=True, append_images=others, duration=PACE, loop=0, optimize=True)
    print(f"written: {file} ({len(frames)} frames, {file.stat().st_size // 1024} KB)")


if __name__ == "__main__":
    main()
