"""Imports from lava-nc 0.10.0, with workarounds for Python 3.11."""

import dataclasses
import functools
import multiprocessing
from unittest.mock import patch

multiprocessing.set_start_method(None, force=True)  # lava sets a start method, which fails if one is set
# its dataclasses have unhashable defaults, which Python 3.11 rejects
with patch.object(dataclasses, "dataclass", functools.partial(dataclasses.dataclass, unsafe_hash=True)):
    from lava.magma.core.decorator import implements, requires, tag
    from lava.magma.core.model.py.ports import PyInPort, PyOutPort
    from lava.magma.core.model.py.type import LavaPyType
    from lava.magma.core.process.ports.ports import InPort
    from lava.magma.core.process.variable import Var
    from lava.magma.core.resources import CPU
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.magma.core.sync.protocols.loihi_protocol import LoihiProtocol
    from lava.proc.dense.process import Dense
    from lava.proc.io.extractor import Extractor, PyLoihiExtractorModel
    from lava.proc.io.injector import Injector, PyLoihiInjectorModel
    from lava.proc.lif.models import AbstractPyLifModelFixed, AbstractPyLifModelFloat
    from lava.proc.lif.process import AbstractLIF, LIFReset
    from lava.proc.sparse.process import Sparse
    from lava.utils.weightutils import SignMode

__all__ = [
    "CPU",
    "AbstractLIF",
    "AbstractPyLifModelFixed",
    "AbstractPyLifModelFloat",
    "Dense",
    "Extractor",
    "InPort",
    "Injector",
    "LIFReset",
    "LavaPyType",
    "Loihi2SimCfg",
    "LoihiProtocol",
    "PyInPort",
    "PyLoihiExtractorModel",
    "PyLoihiInjectorModel",
    "PyOutPort",
    "RunSteps",
    "SignMode",
    "Sparse",
    "Var",
    "implements",
    "requires",
    "tag",
]
