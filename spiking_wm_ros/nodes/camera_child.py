"""Renders a node's camera: ``python -m spiking_wm_ros.nodes.camera_child FILE-DESCRIPTOR``.

It is a separate process with the lowest priority, because a thread would delay the node.
"""

import signal
import sys
from io import BytesIO
from multiprocessing.connection import Connection

from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.envs.camera import Painter, State

_QUALITY = 80  # of JPEG, percent


def main(descriptor: int) -> None:
    """Answer every state or picture with a JPEG until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this process ends
    pipe = Connection(descriptor)
    try:
        with missing_extra():
            from PIL import Image
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return
    try:
        model, camera = pipe.recv()
        painter = Painter(model, camera) if model is not None else None
        while True:
            seen = pipe.recv()
            picture = painter.draw(seen) if isinstance(seen, State) else seen
            file = BytesIO()
            Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY)
            pipe.send_bytes(file.getvalue())
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has ended
    except Exception as error:  # of OpenGL, MuJoCo or Pillow: without images, everything else goes on
        print(f"error: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
