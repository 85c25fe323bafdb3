"""`./swm train --in-process`: the same learning without ROS."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from spiking_wm_ros.agents.run import Run
from spiking_wm_ros.agents.trainer import train
from spiking_wm_ros.cli.console import conclude
from spiking_wm_ros.graph.train import TRAIN, subject


def train_in_process(given: dict[str, str]) -> None:
    """Train in this process, with the arguments of the train graph."""
    declared = {a.name: a.default for a in TRAIN.arguments}
    arguments = declared | {k: v for k, v in given.items() if k in declared}
    chosen = subject(arguments, {k: v for k, v in given.items() if k not in declared})
    run = Run.create(chosen.run, chosen.setup, chosen.env)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, refresh_per_second=2) as progress:
        first = progress.add_task("demonstrations", total=None, visible=False)
        task = progress.add_task("training", total=chosen.setup.run_options.steps)
        train(
            run,
            chosen.checkpoint,
            lambda step: progress.update(task, completed=step),
            lambda updates, of: progress.update(first, completed=updates, total=of, visible=of > 0),
        )
    conclude(run.path, Console())
