"""Which parameters a command line sets for one node, and not for all nodes that may be started beside it."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spiking_wm.core.options import flattened, read_yaml
from spiking_wm_ros.graph.log import LAUNCHED


def set_for(node: str, arguments: Sequence[str]) -> set[str]:
    """Names of the parameters that are set for a node: by ``-p``, in a file under its name, or one named so.

    Under `launch`, ``-p`` comes from `SetParameter`, which is for all nodes.

    Args:
        node: name of the node, without namespace.
        arguments: command line with ROS arguments.
    """
    names: set[str] = set()
    for flag, value in zip(arguments, arguments[1:]):
        if flag == "--params-file":
            file = Path(value)  # `graph.processes.write_parameters` names files after nodes
            entries = _entries(read_yaml(file))
            names.update(*(flattened(found) for path, found in entries if node in (path[-1], file.stem)))
        elif flag in ("-p", "--param") and LAUNCHED not in os.environ:
            names.add(value.partition(":=")[0].rpartition(":")[2])
    return names


def _entries(
    file: Mapping[str, Any], path: tuple[str, ...] = ("",)
) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Names of nodes, with their namespaces, and their parameters in a ROS parameter file."""
    for key, value in file.items():
        if key == "ros__parameters":
            yield path, value or {}
        elif isinstance(value, dict):
            yield from _entries(value, (*path, *key.split("/")))
