"""Reference of the command line, launch files and nodes."""

from reference_markdown import ROOT, code, first_line, page, table
from reference_options import options_table

from spiking_wm_ros.graph.endpoints import (
    KINDS,
    endpoints,
    node_classes,
    option_classes,
    profiles,
    qos_text,
)

GENERATED = "reference/generated"
# what services and actions do, by their full names; a missing one is an error
SERVICES = {
    "bridge/reset": "Truncates the episode at its next step. The next episode may get a chosen seed.",
    "dreamer/dream": "Starts a dream phase of `dream.rollouts` rollouts.",
    "dreamer/end_dream": "Ends a dream phase.",
    "dreamer/save_checkpoint": "Writes a checkpoint. The log says where.",
    "dreamer/dream_phase": "Dreams within a budget of rollouts, updates, seconds or joules. "
    "Sends feedback, can be cancelled.",
    "gate/stop": "Commands the safe action from now on.",
    "gate/resume": "Follows commands again, once they come steadily.",
    "manager/bring_up": "Configures and activates the managed nodes that are not active.",
    "scheduler/sleep": "Asks the robot to sleep and dream.",
    "scheduler/wake": "Wakes the robot up, unless its battery is low.",
    "scheduler/stop": "Emergency stop: nothing moves.",
    "scheduler/resume": "Ends an emergency stop, unless it is still pressed.",
}


def commands_page() -> str:
    """Every verb of `./swm`."""
    from spiking_wm_ros.cli.__main__ import app

    rows = []
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        rows.append([f"`./swm {name}`", " ".join((command.callback.__doc__ or "").split())])
    programs = []
    for folder, verb in (("experiments", "experiment"), ("bench", "bench")):
        paths = sorted((ROOT / folder).glob("[a-z]*.py"))
        for path in (path for path in paths if "\ndef main(" in path.read_text()):
            programs.append([f"`./swm {verb} {path.stem}`", first_line(path)])
    return page(
        "Commands",
        "Arguments are given as `name:=value`. `./swm VERB --help` and `./swm VERB --show-args` list them.",
        table(["command", "what it does"], rows),
        "## Experiments and benchmarks",
        table(["command", "what it measures"], programs),
    )


def launch_page() -> str:
    """Every argument of every launch file."""
    from spiking_wm_ros.graph.specification import GRAPHS

    parts = ["`./swm NAME` and `ros2 launch spiking_wm_ros NAME.launch.py` take the same arguments."]
    for name, graph in GRAPHS.items():
        rows = [
            [f"`{a.name}`", code(a.default), ", ".join(map(code, a.choices)), a.text] for a in graph.arguments
        ]
        parts += [f"## `{name}.launch.py`", graph.text]
        parts.append(table(["argument", "default", "choices", "description"], rows))
    return page("Launch arguments", *parts)


def nodes_page() -> str:
    """Topics, services, actions and parameters of every node."""
    shared = [[f"`{name}`", qos_text(profile)] for name, profile in profiles().items()]
    parts = [
        "All names are relative to `namespace:=`, except `/clock` and `/diagnostics`; `~` is the node. "
        "`COMMAND` and `SENSOR` are topics that the robot's file names. Managed nodes also have the services "
        "and the topic of every ROS 2 lifecycle node. Only the scheduler's parameters can be changed.",
        "## Topics",
        topics_table(),
        "## Services and actions",
        services_table(),
        "## QoS profiles",
        table(["profile", "meaning"], shared),
    ]
    for name in node_classes():
        parts += [f"## Node `{name}`", first_line(ROOT / "spiking_wm_ros" / "nodes" / f"{name}.py")]
        rows = [[e.kind, f"`{e.name}`", f"`{e.type}`", e.qos] for e in endpoints(name)]
        parts.append(table(["", "name", "type", "QoS"], rows))
        for options in option_classes(name):
            if options == "algorithm":
                parts.append("And every option of the algorithm's agent: see [options](options.md).")
            else:
                parts.append(options_table(options()).replace("| option |", "| parameter |", 1))
    parts.append("## Message types")
    for path in sorted((ROOT / "interfaces" / "spiking_wm_msgs").glob("*/*.*")):
        kind = path.parent.name
        if kind in ("msg", "srv", "action"):
            parts += [
                f"### `spiking_wm_msgs/{kind}/{path.stem}`",
                f"```text\n{path.read_text().rstrip()}\n```",
            ]
    return page("Nodes, topics, services, actions, parameters", *parts)


def topics_table() -> str:
    """Every topic with its type, who publishes and who subscribes."""
    said: dict[tuple[str, str], dict[str, list[str]]] = {}
    for node in node_classes():
        for e in endpoints(node):
            if e.kind in KINDS[:2]:
                of_topic = said.setdefault((e.name, e.type), {kind: [] for kind in KINDS[:2]})
                of_topic[e.kind].append(f"{node} ({e.qos})")
    rows = [
        [f"`{name}`", f"`{kind}`", "; ".join(who["publishes"]), "; ".join(who["subscribes"])]
        for (name, kind), who in sorted(said.items())
    ]
    return table(["topic", "type", "publishers", "subscribers"], rows)


def services() -> dict[str, str]:
    """Type of every service and action by its full name."""
    found = {}
    for node in node_classes():
        for e in endpoints(node):
            if e.kind in ("serves", "action server"):
                kind = f"action `{e.type}`" if e.kind == "action server" else f"`{e.type}`"
                found[e.name.replace("~", node)] = kind
    return found


def services_table() -> str:
    """Every service and action with what it does."""
    rows = [[f"`{name}`", kind, SERVICES[name]] for name, kind in services().items()]
    return table(["name", "type", "what it does"], rows)
