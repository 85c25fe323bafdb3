"""Declare ROS parameters from options dataclasses: dotted name, description and range."""

import sys
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import Option, canonical, known, override, parse, suggestion
from spiking_wm_ros.nodes.parameter_origin import set_for

_LARGEST = 2**63 - 1


def declare(node: Node, options_class: type, on_change: Callable[[Any], None] | None = None) -> Any:
    """Declare every option as a parameter and return the options with the values that were set.

    Parameters are read-only unless ``on_change`` is given. It is called with the new options after every
    accepted change; an invalid change is refused with the reason.

    Raises:
        UserError: for a value of a wrong type or outside its range.
    """
    found = {}
    for o in known(options_class).values():
        default = list(o.default) if isinstance(o.default, tuple) else o.default
        try:
            found[o.name] = node.declare_parameter(o.name, default, _descriptor(o, on_change is None)).value
        except (InvalidParameterTypeException, InvalidParameterValueException):
            given = _given(node)[o.name].value  # rclpy's message lacks name and fix
            parse(options_class, o.name, given)
            raise UserError(f"{o.name}:={given} is not accepted: {o.text}") from None
    options = override(options_class(), found)
    if on_change:
        _watch(node, options, on_change)
    return options


def _watch(node: Node, options: Any, on_change: Callable[[Any], None]) -> None:
    def check(parameters: list[Parameter]) -> SetParametersResult:
        nonlocal options
        names = known(type(options))
        changes = {p.name: p.value for p in parameters if p.name in names}
        try:
            options = override(options, changes)
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(lambda _: on_change(options))


def refuse_unknown(node: Node, *options_classes: type) -> None:
    """Check that the node has every parameter that was set for it; call it after the last `declare`.

    Those that were set for all nodes (``/**``) may be other nodes': they are ignored, with a warning if the
    name is similar to one of this node's.

    Args:
        node: the node.
        options_classes: the error for a flat or former name of their options gives the current name.

    Raises:
        UserError: for an unknown parameter; the message names a similar one.
    """
    unknown = [name for name in _given(node) if not node.has_parameter(name) and name != "use_sim_time"]
    own = set_for(node.get_name(), sys.argv) if unknown else set()
    for name in unknown:
        names = [n for n in node.get_parameters_by_prefix("") if not n.startswith("qos_overrides")]
        current = [now for each in options_classes if (now := canonical(each, name))]
        text = f"unknown parameter '{name}'{suggestion(name, names)}"
        if current:
            text = f"the parameter '{name}' is called '{current[0]}' now"
        if name in own:
            raise UserError(f"{node.get_name()}: {text}")
        if current or get_close_matches(name, names):
            node.get_logger().warning(f"{text}; it is ignored")


def _given(node: Node) -> dict[str, Parameter]:
    """The parameters that were set for a node, declared or not; rclpy has no public name for them."""
    return node._parameter_overrides


def _descriptor(o: Option, read_only: bool) -> ParameterDescriptor:
    bounds, kind = o.range, type(o.default)
    descriptor = ParameterDescriptor(name=o.name, description=o.text, read_only=read_only)
    if kind is tuple or bounds.low is None:
        return descriptor
    if kind is int:
        high = _LARGEST if bounds.high is None else int(bounds.high)
        descriptor.integer_range = [IntegerRange(from_value=int(bounds.low), to_value=high)]
    if kind is float:
        high = float("inf") if bounds.high is None else float(bounds.high)
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(bounds.low), to_value=high)]
    return descriptor
