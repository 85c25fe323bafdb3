"""Topics, services, actions and parameters of every node, read from the source of the nodes.

A node is a module of `spiking_wm_ros.nodes` whose ``main`` runs a class. What it declares are its calls of
``create_publisher`` and so on, those of its base classes, and those of the helper classes that it makes.
Names, types and QoS profiles are evaluated in the module that uses them. What only a running node knows is
in `SYMBOLS`; an expression that is neither is an error, so nothing is left out silently.
"""

import ast
import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[1] / "nodes"
PACKAGE = "spiking_wm_ros.nodes"


class Endpoint(NamedTuple):
    """Something that a node offers or uses; ``kind`` is a key of `KINDS`."""

    kind: str
    name: str
    type: str
    qos: str


class _Signature(NamedTuple):
    """Where a call has its arguments."""

    kind: str
    type: int
    name: int
    qos: int | None = None


KINDS = ("publishes", "subscribes", "serves", "calls", "action server", "action client")
_CREATE = {
    "create_publisher": _Signature("publishes", 0, 1, 2),
    "create_subscription": _Signature("subscribes", 0, 1, 3),
    "create_service": _Signature("serves", 0, 1),
    "create_client": _Signature("calls", 0, 1),
    "ActionServer": _Signature("action server", 1, 2),
    "ActionClient": _Signature("action client", 1, 2),
}
# what only a running node knows: as written in the source, and what it stands for
SYMBOLS = {
    "message_type(command.type)": "as the robot's file says",
    "command.topic": "COMMAND",
    "message_type(reading.type)": "as the robot's file says",
    "reading.topic": "SENSOR",
    "f'{name}/change_state'": "NODE/change_state",
    "f'{name}/get_state'": "NODE/get_state",
    "message_type": "any",
    "topic": "every topic of the namespace, /clock and /diagnostics",
    "profile": "as its publishers offer",
    # with envs:=1; several copies of the environment have as many observations and actions at a time
    "qos.of_round(qos.OFFERED_NEWEST, envs)": "reliable, volatile, last 1",
    "qos.of_round(qos.NEWEST, envs)": "best effort, volatile, last 1",
}


@cache
def _tree(module: str) -> ast.Module:
    tree = ast.parse((FOLDER / f"{module}.py").read_text())
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            child.parent = parent
    return tree


@cache
def _globals(module: str) -> dict[str, Any]:
    return vars(importlib.import_module(f"{PACKAGE}.{module}"))


@cache
def node_classes() -> dict[str, str]:
    """The class of every node by the name of its module."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        for function in _tree(path.stem).body:
            if not isinstance(function, ast.FunctionDef) or function.name != "main":
                continue
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and ast.unparse(call.func) == "run":
                    found[path.stem] = ast.unparse(call.args[0])
    return found


def is_managed(module: str) -> bool:
    """True if a node has a ROS 2 lifecycle."""
    return "ManagedNode" in _with_helpers(node_classes()[module], set())


@cache
def _classes() -> dict[str, tuple[str, ast.ClassDef]]:
    """Module and definition of every class of the nodes' package."""
    return {
        c.name: (path.stem, c)
        for path in sorted(FOLDER.glob("*.py"))
        for c in _tree(path.stem).body
        if isinstance(c, ast.ClassDef)
    }


def _with_helpers(name: str, seen: set[str]) -> Iterator[str]:
    """A class, its bases, and the helpers that its module makes; only those of the nodes' package."""
    if name in seen or name not in _classes():
        return
    seen.add(name)
    yield name
    _, definition = _classes()[name]
    for base in definition.bases:
        yield from _with_helpers(ast.unparse(base), seen)
    for call in ast.walk(definition):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            yield from _with_helpers(call.func.id, seen)


def _enclosing(node: ast.AST, *kinds: type) -> Iterator[Any]:
    while node := getattr(node, "parent", None):
        if isinstance(node, kinds):
            yield node


def _function(node: ast.AST) -> ast.FunctionDef:
    return next(_enclosing(node, ast.FunctionDef))


def _bindings(call: ast.Call, module: str) -> list[dict[str, Any]]:
    """Values of loop variables and of local constants where a call is made; one entry a turn."""
    local: dict[str, Any] = {}
    for node in ast.walk(_function(call)):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            local |= {t.id: node.value.value for t in node.targets if isinstance(t, ast.Name)}
    turns = [local]
    loops = list(_enclosing(call, ast.For, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp))
    for loop in reversed(loops):
        for part in [loop] if isinstance(loop, ast.For) else loop.generators:
            if not isinstance(part.target, ast.Name):
                continue
            expanded = []
            for turn in turns:
                try:
                    items = list(eval(ast.unparse(part.iter), {**_globals(module), **turn}))
                except Exception:  # known to a running node only
                    expanded.append(turn)
                else:
                    expanded += [turn | {part.target.id: item} for item in items]
            turns = expanded
    return turns


def _aliases(function: ast.FunctionDef) -> dict[str, _Signature]:
    """Local names for `_CREATE`, as ``make = self.create_publisher``."""
    found = {}
    for node in ast.walk(function):
        if not isinstance(node, ast.Assign):
            continue
        target, value = node.targets[0], node.value
        both = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
        pairs = zip(target.elts, value.elts) if both else [(target, value)]
        for name, said in pairs:
            if isinstance(name, ast.Name) and isinstance(said, ast.Attribute) and said.attr in _CREATE:
                found[name.id] = _CREATE[said.attr]
    return found


class _Wrapper(NamedTuple):
    """A method that creates what its parameters say."""

    parameters: list[str]
    call: ast.Call
    signature: _Signature
    module: str


class _Substitute(ast.NodeTransformer):
    def __init__(self, arguments: dict[str, ast.expr]):
        self._arguments = arguments

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._arguments.get(node.id, node)


def _argument(call: ast.Call, at: int, keyword: str) -> ast.expr:
    given = {k.arg: k.value for k in call.keywords}
    return call.args[at] if at < len(call.args) else given[keyword]


def endpoints(module: str) -> list[Endpoint]:
    """All that a node offers and uses, in the order of `KINDS`, without repetitions.

    Args:
        module: name of the node and of its module.

    Raises:
        ValueError: for an expression that can neither be evaluated nor is in `SYMBOLS`.
    """
    classes = list(_with_helpers(node_classes()[module], set()))
    calls = [
        (_classes()[name][0], call)
        for name in classes
        for call in ast.walk(_classes()[name][1])
        if isinstance(call, ast.Call)
    ]
    wrappers: dict[str, _Wrapper] = {}
    found: list[Endpoint] = []
    pending, known = calls, -1
    while len(wrappers) != known:  # wrappers of wrappers
        known, found = len(wrappers), []
        for where, call in pending:
            found += _read(where, call, wrappers)
    return sorted(dict.fromkeys(found), key=lambda e: (KINDS.index(e.kind), e.name))


def _read(module: str, call: ast.Call, wrappers: dict[str, _Wrapper]) -> list[Endpoint]:
    name = getattr(call.func, "attr", None) or getattr(call.func, "id", None)
    function = next(_enclosing(call, ast.FunctionDef), None)
    if function is None or function.name == name:  # an override that calls what it overrides
        return []
    aliases = _aliases(function) if isinstance(call.func, ast.Name) else {}
    if signature := aliases.get(name) or _CREATE.get(name):
        parts = [_argument(call, signature.type, "msg_type"), _argument(call, signature.name, "topic")]
        if signature.qos is not None:
            parts.append(_argument(call, signature.qos, "qos_profile"))
        owner = module
    elif isinstance(call.func, ast.Attribute) and name in wrappers:
        wrapper = wrappers[name]
        said = dict(zip(wrapper.parameters, call.args)) | {k.arg: k.value for k in call.keywords}
        signature, owner = wrapper.signature, wrapper.module
        inner = [wrapper.call.args[signature.type], wrapper.call.args[signature.name]]
        if signature.qos is not None:
            inner.append(wrapper.call.args[signature.qos])
        copies = [ast.parse(ast.unparse(part), mode="eval").body for part in inner]
        parts = [_Substitute(said).visit(part) for part in copies]
    else:
        return []
    parameters = [a.arg for a in function.args.args if a.arg != "self"]
    if ast.unparse(parts[1]) in parameters and function.name != "__init__":
        flat = ast.Call(call.func, [ast.Constant(None)] * 4, [])
        places = (signature.type, signature.name, *([signature.qos] if signature.qos is not None else []))
        for place, part in zip(places, parts):
            flat.args[place] = part
        wrappers[function.name] = _Wrapper(parameters, flat, signature, module)
        return []
    scope = {**_globals(owner), **_globals(module)}
    where = f"{module}.py:{call.lineno}"
    return [_endpoint(signature.kind, parts, scope | turn, where) for turn in _bindings(call, module)]


def _endpoint(kind: str, parts: list[ast.expr], scope: dict[str, Any], where: str) -> Endpoint:
    values = [_value(part, scope, where) for part in parts]
    profile = qos_text(values[2]) if len(values) > 2 else ""
    return Endpoint(kind, values[1], type_name(values[0]), profile)


def _value(part: ast.expr, scope: dict[str, Any], where: str) -> Any:
    text = ast.unparse(part)
    try:
        return eval(text, scope)
    except Exception:
        if text in SYMBOLS:
            return SYMBOLS[text]
        raise ValueError(
            f"{where}: spiking_wm_ros/graph/endpoints.py cannot tell what '{text}' is: see SYMBOLS"
        ) from None


def type_name(message: Any) -> str:
    """The ROS name of a type of messages, ``package/Name``; a text is returned as it is."""
    if isinstance(message, str):
        return message
    return f"{message.__module__.partition('.')[0]}/{message.__name__}"


def profiles() -> dict[str, Any]:
    """The QoS profiles that the nodes share, by name."""
    shared = _globals("qos")
    return {name: value for name, value in shared.items() if isinstance(value, shared["QoSProfile"])}


def qos_text(profile: Any) -> str:
    """A QoS profile in words; a number is the depth of ROS's default profile."""
    if isinstance(profile, str):
        return profile
    if isinstance(profile, int):
        return f"reliable, volatile, last {profile}"
    keep = "all" if profile.history.name == "KEEP_ALL" else f"last {profile.depth}"
    kind = {"TRANSIENT_LOCAL": "transient local", "VOLATILE": "volatile"}[profile.durability.name]
    return f"{profile.reliability.name.lower().replace('_', ' ')}, {kind}, {keep}"


def option_classes(module: str) -> list[type | str]:
    """The options dataclasses that a node declares as parameters; a text for what the algorithm decides."""
    _, definition = _classes()[node_classes()[module]]
    found: list[type | str] = []
    for call in ast.walk(definition):
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "declare":
            said = ast.unparse(call.args[1])
            algorithm = said.startswith("options_class(")
            found.append("algorithm" if algorithm else eval(said, dict(_globals(module))))
    return found
