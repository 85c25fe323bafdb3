"""Process of a simulated chip: ``python -m spiking_wm.chips.backends.loihi_sim.child FILE-DESCRIPTOR``.

`simulator` starts it and uses the other end of the pipe. Lava's processes belong to its process group.
"""

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

_REMEMBERED = 4  # courses (see `backend`) whose state is kept while another one runs


def main(descriptor: int) -> None:
    """Build a chip from the first message, then answer requests until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this process ends
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    pipe = Connection(descriptor)
    from spiking_wm.chips.backends.loihi_sim.chip import Chip

    network, options, probes = pipe.recv()
    chip = Chip(network, options, probes)
    pipe.send("ready")
    kept: dict[int, Any] = {}  # state of each course
    now = None  # course whose state is on the chip
    try:
        while True:
            if (request := pipe.recv()) == "saturated":
                pipe.send(chip.saturated())
                continue
            inputs, course, fresh = request
            if network.carried and (fresh or course != now):
                if now is not None:
                    kept[now] = chip.state()
                chip.load(None if fresh else kept.pop(course, None))
                now = course
                while len(kept) > _REMEMBERED:
                    kept.pop(next(iter(kept)))
            pipe.send(chip.run(inputs))
    except (EOFError, OSError):
        chip.stop()


def _end_with_parent(parent: int) -> None:
    """End the process group when the parent has ended, even if a run hangs."""
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(2)  # first let it end by itself
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
