"""What comes after a training: pictures, a report, and the line that says where everything is.

`./swm` calls `conclude`; `graph.launched` runs this module as a process, with the run as its argument.
"""

import signal
import sys
from pathlib import Path

from rich.console import Console

from spiking_wm.core.errors import UserError
from spiking_wm.runs.folder import Run
from spiking_wm_ros.cli.signals import Stopped, heeding, stop


def conclude(run: Path, console: Console) -> None:
    """Draw the pictures of a run, write its report, and print where the files are. A signal skips the report.

    Raises:
        UserError: if they cannot be written.
    """
    from spiking_wm.runs.pictures import draw
    from spiking_wm_ros.cli.report import write_report

    try:
        drawn = ", ".join(path.name for path in [write_report(Run(run)), *draw(run)])
    except UserError as error:  # the run itself is complete
        console.print(f"warning: not all pictures were drawn: {error}", soft_wrap=True)
        drawn = "metrics"
    except Stopped:
        _skip(run, console)
        return
    except OSError as error:
        raise UserError(
            f"report and pictures of {run} are not written ({error.strerror}), all else is: free some disk"
            f" space, then ./swm report {run}"
        ) from None
    shown = run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run
    console.print(f"everything is in {shown} ({drawn}, tables, checkpoints, tensorboard)", soft_wrap=True)


def _skip(run: Path, console: Console) -> None:
    console.print(f"saved in {run}, without a report: ./swm report {run} writes it", soft_wrap=True)


def main() -> None:
    """Conclude the run that the first argument names."""
    run, console = Path(sys.argv[1]), Console(markup=False, emoji=False)
    try:
        with heeding(stop):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # `launch` starts it with it blocked
            conclude(run, console)
    except Stopped:
        _skip(run, console)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
