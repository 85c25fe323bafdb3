"""ROS parameters from options dataclasses: declared once, with description and range."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from spiking_wm.core.errors import UserError
from spiking_wm.core.options import known, override, parse, suggestion

_LARGEST = 2**63 - 1


def declare(node: Node, options_class: type, on_change: Callable[[Any], None] | None = None) -> Any:
    """Declare every field as a parameter and return the options as they were set.

    Parameters are read-only unless ``on_change`` takes new options; it is called with those only
    that pass all checks, others are refused with the reason.

    Raises:
        UserError: for a value of a wrong type or outside its range.
    """
    values = {}
    for f in fields(options_class):
        default = list(f.default) if isinstance(f.default, tuple) else f.default
        try:
            value = node.declare_parameter(f.name, default, _descriptor(f, read_only=on_change is None)).value
        except (InvalidParameterTypeException, InvalidParameterValueException):
            given = node._parameter_overrides[f.name].value  # rclpy's message lacks name and fix
            parse(options_class, f.name, given)
            raise UserError(f"{f.name}:={given} is not accepted: {f.metadata['text']}") from None
        values[f.name] = parse(options_class, f.name, value)
    options = options_class(**values)
    if on_change:
        _watch(node, options, on_change)
    return options


def _watch(node: Node, options: Any, on_change: Callable[[Any], None]) -> None:
    settled = options

    def check(parameters: list[Parameter]) -> SetParametersResult:
        nonlocal settled
        names = known(type(options))
        changes = {p.name: p.value for p in parameters if p.name in names}
        try:
            settled = override(settled, changes)
        except UserError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(check)
    node.add_post_set_parameters_callback(lambda _: on_change(settled))


def refuse_unknown(node: Node) -> None:
    """Raise for a parameter that was set but that the node does not have.

    Raises:
        UserError: naming the nearest one.
    """
    for name in node._parameter_overrides:
        if not node.has_parameter(name) and name != "use_sim_time":
            names = [n for n in node._parameters if "." not in n]
            raise UserError(f"{node.get_name()}: unknown parameter '{name}'{suggestion(name, names)}")


def _descriptor(f, read_only: bool) -> ParameterDescriptor:
    bounds, kind = f.metadata["range"], type(f.default)
    descriptor = ParameterDescriptor(name=f.name, description=f.metadata["text"], read_only=read_only)
    if kind is tuple or bounds.low is None:
        return descriptor
    if kind is int:
        high = _LARGEST if bounds.high is None else int(bounds.high)
        descriptor.integer_range = [IntegerRange(from_value=int(bounds.low), to_value=high)]
    if kind is float:
        high = float("inf") if bounds.high is None else float(bounds.high)
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(bounds.low), to_value=high)]
    return descriptor
