"""Run a program of ``bench/`` or ``experiments/``; user errors and Ctrl-C end it with one line."""

import runpy
import signal
import sys
from pathlib import Path

from spiking_wm.core.errors import UserError


def main() -> None:
    """Run the file named by the first argument with the other arguments."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also if the parent shell ignores SIGINT
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
