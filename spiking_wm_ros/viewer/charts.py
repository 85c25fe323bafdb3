"""Charts of the viewer's state, as ECharts options and as images. Times are seconds before now."""

import base64
import math
from io import BytesIO

import numpy as np
from PIL import Image

from spiking_wm_ros.viewer.watched import Watched

PHASES = ("stopped", "idle", "dreaming", "awake")
WIDEST = 512  # neurons in a line of a raster
_SHOWN = 4  # dimensions of observations, of those that change most
_LEGEND = {"right": 10, "top": 2}
_COLOURS = ("#4269d0", "#efb118", "#ff725c", "#6cc5b0", "#3ca951", "#ff8ab7")


def blank(title: str, x: str = "s", **more) -> dict:
    """An empty chart."""
    return {
        "animation": False,
        "color": list(_COLOURS),
        "title": {"text": title, "textStyle": {"fontSize": 13}},
        "grid": {"left": 55, "right": 15, "top": 35, "bottom": 30},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "value", "name": x, "nameLocation": "middle", "nameGap": 18, "scale": True},
        "yAxis": {"type": "value", "scale": True},
        "series": [],
    } | more


def line(points: list, name: str = "", **more) -> dict:
    """A line through ``[[x, y], ...]``."""
    return {"type": "line", "name": name, "data": points, "showSymbol": False} | more


def phases(watched: Watched) -> dict:
    """Phases over time."""
    told = [(when, PHASES.index(phase)) for when, phase, _ in list(watched.phases) if phase in PHASES]
    now = _now(watched, told[0][0]) if told else 0.0
    points = [[min(when - now, 0.0), level] for when, level in told]
    if points:
        points.append([0, points[-1][1]])
    axis = {"type": "category", "data": list(PHASES)}
    # with a category axis, "start" is the mode in which a value lasts until the next point
    series = [line([[round(t, 2), k] for t, k in points], step="start")]
    return blank("phase", yAxis=axis, series=series)


def _now(watched: Watched, since: float) -> float:
    """The time, rounded to steps that are visible, so that an unchanged chart is not drawn again."""
    step = 2.0 ** math.floor(math.log2(max(watched.clock() - since, 64.0) / 64))
    return step * math.floor(watched.clock() / step)


def battery(watched: Watched) -> dict:
    """Charge in percent."""
    charges = list(watched.battery)
    now = _now(watched, charges[0][0]) if charges else 0.0
    points = [[round(min(when - now, 0.0), 2), round(100 * charge, 2)] for when, charge in charges]
    return blank("battery, %", yAxis={"type": "value", "min": 0, "max": 100}, series=[line(points)])


def returns(watched: Watched) -> dict:
    """Returns of episodes and evaluations, over environment steps."""
    looks = {"episode": {"lineStyle": {"width": 1, "opacity": 0.5}}, "evaluation": {"showSymbol": True}}
    series = [line([list(p) for p in watched.returns.get(kind, [])], kind, **looks[kind]) for kind in looks]
    return blank("return", x="steps", legend=_LEGEND, series=series)


def actions(watched: Watched, dimension: int = 0) -> dict:
    """One dimension of actions: before and after the safety gate."""
    now = watched.clock()

    def course(samples) -> list:
        return [
            [round(when - now, 2), round(values[dimension], 4)]
            for when, values in list(samples)
            if dimension < len(values)
        ]

    series = [
        line(course(watched.actions), "policy"),
        line(course(watched.commands), "actuators", step="end"),
    ]
    return blank(f"action {dimension}: policy, and what actuators get", legend=_LEGEND, series=series)


def dream(watched: Watched) -> dict:
    """Real and imagined observations: the dimensions that change most."""
    segment, series = watched.segment, []
    if segment and segment["real"].ndim == 2:
        real, imagined = segment["real"], segment["dream"]
        unsure = segment.get("uncertainty")
        for rank, k in enumerate(np.argsort(-np.ptp(real, 0))[:_SHOWN]):
            colour = {"color": _COLOURS[rank]}
            series += [
                line(_course(real[:, k]), f"{k}", itemStyle=colour, lineStyle=colour),
                line(
                    _course(imagined[:, k]),
                    f"{k} dreamed",
                    itemStyle=colour,
                    lineStyle=colour | {"type": "dashed"},
                ),
            ]
            if unsure is not None and unsure.size:
                series += _band(imagined[:, k], 2 * unsure[:, k], colour, f"band {k}")
    return blank("reality and dream (dashed, ± 2 std of the models)", x="steps", series=series)


def _course(values: np.ndarray) -> list:
    return [[step + 1, round(float(value), 4)] for step, value in enumerate(values)]


def _band(middle: np.ndarray, half: np.ndarray, colour: dict, name: str) -> list[dict]:
    invisible = {"lineStyle": {"opacity": 0}, "stack": name, "tooltip": {"show": False}, "silent": True}
    area = {"areaStyle": colour | {"opacity": 0.2}}
    return [
        line(_course(middle - half), name, **invisible, stackStrategy="all"),
        line(_course(2 * half), name, **invisible, **area, stackStrategy="all"),
    ]


# --- pictures ---


def raster(train: np.ndarray) -> str:
    """A spike train ``[T, N]`` as an image source, time downwards; wide layers in several lines."""
    ticks, neurons = train.shape
    width = min(neurons, WIDEST)
    lines = -(-neurons // width)
    padded = np.zeros((ticks, lines * width), np.uint8)
    padded[:, :neurons] = train
    rows = padded.reshape(ticks, lines, width).transpose(1, 0, 2)
    between = np.full((lines, 1, width), 2, np.uint8)  # a grey line
    cells = np.concatenate([rows, between], 1).reshape(-1, width)[:-1]
    return source(np.array([255, 0, 200], np.uint8)[cells])


def strip(pictures: np.ndarray) -> str:
    """Pictures ``[H, height, width, C]`` side by side, as an image source."""
    side_by_side = np.concatenate(list(pictures.astype(np.uint8)), 1)
    if side_by_side.shape[-1] not in (1, 3):  # kinds of things, or frames: the newest
        side_by_side = side_by_side[..., -1:]
    return source(side_by_side[..., 0] if side_by_side.shape[-1] == 1 else side_by_side)


def source(picture: np.ndarray) -> str:
    """An image as a PNG data URI."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def jpeg(picture: bytes) -> str:
    """A JPEG image as an image source."""
    return f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
