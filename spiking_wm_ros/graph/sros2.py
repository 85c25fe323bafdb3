"""SROS2 policies: what the nodes of a graph may publish, subscribe to, serve and call.

The format is that of ``ros2 security create_permission``, version 0.2.0. Every process has an enclave of its
own (`ResolvedGraph.enclave`), with one profile. Names are full ones, so those of a second node in the process
(`PolledSubscriptions`) are among them.
"""

from xml.etree import ElementTree

from spiking_wm.robots.description import load_robot
from spiking_wm_ros.graph.endpoints import SYMBOLS, Endpoint, endpoints, is_managed
from spiking_wm_ros.graph.parts import NodeSpec, ResolvedGraph
from spiking_wm_ros.nodes.recorder import NOT_RECORDED

# element, attribute, and element of a name, by kind of endpoint
_RULES = {
    "publishes": ("topics", "publish", "topic"),
    "subscribes": ("topics", "subscribe", "topic"),
    "serves": ("services", "reply", "service"),
    "calls": ("services", "request", "service"),
    "action server": ("actions", "execute", "action"),
    "action client": ("actions", "call", "action"),
}
_OF_EVERY_NODE = {
    "publishes": ("/rosout", "/parameter_events"),
    "serves": (
        "~/describe_parameters",
        "~/get_parameter_types",
        "~/get_parameters",
        "~/get_type_description",
        "~/list_parameters",
        "~/set_parameters",
        "~/set_parameters_atomically",
    ),
}
_OF_MANAGED_NODES = {
    "publishes": ("~/transition_event",),
    "serves": (
        "~/change_state",
        "~/get_available_states",
        "~/get_available_transitions",
        "~/get_state",
        "~/get_transition_graph",
    ),
}
_EVERY_TOPIC = SYMBOLS["topic"]  # what the recorder subscribes to

Rights = dict[str, set[str]]  # full names by kind of endpoint


def rights(resolved: ResolvedGraph) -> dict[str, Rights]:
    """What every node of a graph may do, by executable."""
    found = {node.executable: _rights(node, resolved) for node in resolved.nodes}
    topics = {name for of in found.values() for kind in ("publishes", "subscribes") for name in of[kind]}
    recorded = {name for name in topics if name.rpartition("/")[2] not in NOT_RECORDED}
    for of in found.values():
        if _EVERY_TOPIC in of["subscribes"]:
            of["subscribes"] = recorded - {_EVERY_TOPIC} | {"/clock"}
    return found


def _rights(node: NodeSpec, resolved: ResolvedGraph) -> Rights:
    found: Rights = {kind: set() for kind in _RULES}
    for of in (_OF_EVERY_NODE, _OF_MANAGED_NODES) if is_managed(node.executable) else (_OF_EVERY_NODE,):
        for kind, names in of.items():
            found[kind].update(names)
    for endpoint in endpoints(node.executable):
        found[endpoint.kind].update(_names(endpoint, node))
    if node.parameters.get("use_sim_time"):
        found["subscribes"].add("/clock")
    prefix = "/".join(("", *filter(None, resolved.namespace.split("/")), ""))
    return {kind: {_full(name, prefix, node.executable) for name in names} for kind, names in found.items()}


def _names(endpoint: Endpoint, node: NodeSpec) -> list[str]:
    """Names of an endpoint of the documentation, which knows some as symbols only."""
    if endpoint.name in ("COMMAND", "SENSOR"):
        if not node.parameters.get("robot"):
            return []
        robot = load_robot(node.parameters["robot"])
        return [robot.command.topic] if endpoint.name == "COMMAND" else [r.topic for r in robot.observation]
    if endpoint.name.startswith("NODE/"):
        return [name + endpoint.name.removeprefix("NODE") for name in node.parameters["nodes"].split()]
    return [endpoint.name]


def _full(name: str, prefix: str, node: str) -> str:
    if name == _EVERY_TOPIC or name.startswith("/"):
        return name
    return prefix + (node + name[1:] if name.startswith("~") else name)


def sros2_policy(resolved: ResolvedGraph) -> str:
    """The policy of a graph as XML."""
    policy = ElementTree.Element("policy", version="0.2.0")
    enclaves = ElementTree.SubElement(policy, "enclaves")
    allowed = rights(resolved)
    for node in resolved.nodes:
        path = resolved.enclave(node)
        enclave = ElementTree.SubElement(enclaves, "enclave", path=path)
        profiles = ElementTree.SubElement(enclave, "profiles")
        namespace = path.rpartition("/")[0] or "/"
        profile = ElementTree.SubElement(profiles, "profile", ns=namespace, node=node.executable)
        for kind, (plural, right, singular) in _RULES.items():
            names = sorted(allowed[node.executable][kind])
            if names:
                rule = ElementTree.SubElement(profile, plural, {right: "ALLOW"})
                for name in names:
                    ElementTree.SubElement(rule, singular).text = name
    ElementTree.indent(policy)
    return ElementTree.tostring(policy, encoding="unicode", xml_declaration=True) + "\n"
