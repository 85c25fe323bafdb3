"""Draws what a node's camera has seen: ``python -m spiking_wm_ros.nodes.camera_child FILE-DESCRIPTOR``.

A process of its own, which gives way to all others: a thread of a node that acts in real time would hold up
that node whenever it is not its turn.
"""

import signal
import sys
from io import BytesIO
from multiprocessing.connection import Connection

from PIL import Image

from spiking_wm.envs.camera import Painter, State

_QUALITY = 80  # of JPEG, percent


def main(descriptor: int) -> None:
    """Answer every state, or picture, with a JPEG, until there is nobody any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this process ends
    pipe = Connection(descriptor)
    try:
        model, camera = pipe.recv()
        painter = Painter(model, camera) if model is not None else None
        while True:
            seen = pipe.recv()
            picture = painter.draw(seen) if isinstance(seen, State) else seen
            file = BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY)
            pipe.send_bytes(file.getvalue())
    except (EOFError, OSError):
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]))
