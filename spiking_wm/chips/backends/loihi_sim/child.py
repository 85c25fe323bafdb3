"""The chip's own process: ``python -m spiking_wm.chips.backends.loihi_sim.child FILE-DESCRIPTOR``.

`simulator` is the other end. Whatever Lava starts is in this process's group, and ends with it.
"""

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection

_REMEMBERED = 4  # courses of events that have been left and may go on


def main(descriptor: int) -> None:
    """Build a chip of what comes first, then run what comes, until there is nobody any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when this process ends
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    pipe = Connection(descriptor)
    from spiking_wm.chips.backends.loihi_sim.chip import Chip

    network, options, probes = pipe.recv()
    chip = Chip(network, options, probes)
    pipe.send("ready")
    kept, now = {}, None  # states by the course of events that they are of, and which one is on
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
    """End it all when the parent is gone, also where a run hangs."""
    while os.getppid() == parent:
        time.sleep(0.5)
    time.sleep(2)  # by now it should have ended by itself
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
