"""The page: charts, status and buttons."""

from collections.abc import Callable, Mapping
from functools import partial

from nicegui import context, ui

from spiking_wm_ros.viewer import charts
from spiking_wm_ros.viewer.watched import Watched

_WORDS_EVERY, _PICTURES_EVERY = 0.4, 0.8  # seconds between two updates; browsers are slow to draw
_SHARP = "image-rendering: pixelated; border: 1px solid #ddd"
_CELL = 6  # pixels for a neuron and time step
_LEVELS = {0: "positive", 1: "warning", 2: "negative"}  # colours by level of diagnostics
_FIGURES = (  # figures shown next to the charts: node, figure, unit
    ("policy", "latency_median_ms", "ms"),
    ("policy", "latency_p99_ms", "ms"),
    ("policy", "runs_on", ""),
    ("bridge", "period_p99_ms", "ms"),
    ("gate", "period_p99_ms", "ms"),
    ("gate", "trips", ""),
    ("dreamer", "dream_rollouts", ""),
    ("dreamer", "model_error_5_step", ""),
    ("recorder", "lost", ""),
)


def page(
    watched: Watched,
    buttons: Mapping[str, Callable[[], None]],
    came: Callable[[str], None],
    went: Callable[[str], None],
) -> Callable:
    """Make a function that builds the page for a visitor.

    Args:
        watched: the state that is shown.
        buttons: functions by the labels of their buttons.
        came, went: called with a visitor's name when it connects and disconnects.
    """

    def build() -> None:
        client = context.client
        client.on_connect(partial(came, client.id))
        client.on_disconnect(partial(went, client.id))
        ui.query(".nicegui-content").classes("w-full max-w-7xl mx-auto gap-2")
        words, pictures = [_header(watched), _buttons(watched, buttons)], []
        with ui.grid(columns="1fr 1fr").classes("w-full gap-2"):
            for chart in (charts.phases, charts.returns, charts.dream, charts.actions, charts.battery):
                pictures.append(_chart(watched, chart))
            pictures += [_frames(watched), _camera(watched), _spikes(watched)]
            words.append(_words(watched))
        for updates, every in ((words, _WORDS_EVERY), (pictures, _PICTURES_EVERY)):
            _all(updates)
            ui.timer(every, partial(_all, updates))

    return build


def _all(updates: list[Callable[[], None]]) -> None:
    for update in updates:
        update()


def _header(watched: Watched) -> Callable[[], None]:
    with ui.row().classes("w-full items-center gap-2"):
        title = ui.label().classes("text-lg font-bold").mark("title")
        chips = ui.row().classes("gap-1")
    shown: dict[str, ui.badge] = {}

    def update() -> None:
        phase = watched.phases[-1][1] if watched.phases else "no data yet"
        step = watched.figure("dreamer", "step") or watched.figure("bridge", "step")
        title.text = f"{phase} · step {step or '-'} · policy version {watched.policy_version}"
        for name, status in list(watched.nodes.items()):
            if name not in shown:
                with chips:
                    shown[name] = ui.badge(name)
            alive = watched.alive(name)
            shown[name].props(f"color={_LEVELS.get(status.level, 'grey') if alive else 'grey'}")
            shown[name].text = name if alive else f"{name} (gone)"

    return update


def _buttons(watched: Watched, buttons: Mapping[str, Callable[[], None]]) -> Callable[[], None]:
    with ui.row().classes("w-full items-center gap-2"):
        for label, act in buttons.items():
            danger = " color=negative" if label == "emergency stop" else " outline"
            ui.button(label, on_click=act).props(f"dense no-caps{danger}").mark(label)
        said = ui.label().classes("text-sm").mark("said")

    def update() -> None:
        said.text = watched.said

    return update


def _chart(watched: Watched, options: Callable[[Watched], dict]) -> Callable[[], None]:
    with ui.card().classes("w-full p-1") as card:
        chart = ui.echart(options(watched)).classes("w-full h-56")

    def update() -> None:
        fresh = options(watched)
        card.visible = bool(any(series["data"] for series in fresh["series"]))
        if card.visible and fresh != dict(chart.options):
            chart.options.clear()
            chart.options.update(fresh)
            chart.update()

    return update


def _camera(watched: Watched) -> Callable[[], None]:
    with ui.card().classes("w-full p-1"):
        ui.label("camera").classes("text-sm font-bold")
        image = ui.element("img").classes("w-full max-w-sm").mark("camera")
        none = ui.label("no images: the environment has no camera, or none have arrived").classes("text-xs")

    def update() -> None:
        none.visible = not watched.picture
        image.visible = bool(watched.picture)
        if watched.picture:
            image.props["src"] = charts.jpeg(watched.picture)

    return update


def _spikes(watched: Watched) -> Callable[[], None]:
    with ui.card().classes("w-full p-1"):
        ui.label("spikes of the policy's last decision, time steps downwards").classes("text-sm font-bold")
        column = ui.column().classes("w-full gap-1")
    rows: list[tuple[ui.label, ui.html]] = []

    def update() -> None:
        layers = watched.layers()
        if len(layers) != len(rows):
            column.clear()
            rows.clear()
            with column:
                for _ in layers:
                    rows.append(
                        (ui.label().classes("text-xs"), ui.html("", sanitize=False).classes("w-full"))
                    )
        for number, (layer, (label, image)) in enumerate(zip(layers, rows)):
            ticks, neurons = layer.train.shape
            label.text = (
                f"layer {number}: {neurons} neurons, {ticks} time steps, rate {layer.rate:.3f} per step,"
                f" {layer.silent} silent, {layer.saturated} saturated"
            )
            height = _CELL * ticks * -(-neurons // charts.WIDEST)
            size = f"width: min(100%, {_CELL * neurons}px); height: {height}px"
            image.content = f'<img src="{charts.raster(layer.train)}" style="{_SHARP}; {size}">'

    return update


def _frames(watched: Watched) -> Callable[[], None]:
    """Dream and reality of image observations."""
    with ui.card().classes("w-full p-1") as card:
        ui.label("reality (top) and dream (bottom)").classes("text-sm font-bold")
        strips = [ui.html("", sanitize=False).classes("w-full") for _ in range(2)]

    def update() -> None:
        segment = watched.segment
        card.visible = bool(segment) and segment["real"].ndim == 4
        if card.visible:
            for strip, name in zip(strips, ("real", "dream")):
                strip.content = f'<img src="{charts.strip(segment[name])}" style="{_SHARP}; width: 100%">'

    return update


def _words(watched: Watched) -> Callable[[], None]:
    with ui.card().classes("w-full p-1"):
        ui.label("phases, figures and problems").classes("text-sm font-bold")
        reasons = ui.label().classes("text-xs whitespace-pre-line").mark("reasons")
        figures = ui.label().classes("text-xs whitespace-pre-line").mark("figures")
        problems = ui.label().classes("text-xs whitespace-pre-line text-negative")

    def update() -> None:
        now = watched.clock()
        newest = list(watched.phases)[-6:][::-1]
        reasons.text = "\n".join(
            f"{now - when:.0f} s ago: {phase}, {reason}" for when, phase, reason in newest
        )
        found = [(node, name, watched.figure(node, name), unit) for node, name, unit in _FIGURES]
        figures.text = "\n".join(
            f"{node} {name}: {value} {unit}" for node, name, value, unit in found if value
        )
        wrong = [(name, s) for name, s in list(watched.nodes.items()) if s.level and watched.alive(name)]
        problems.text = "\n".join(f"{name}: {status.message}" for name, status in wrong)

    return update
