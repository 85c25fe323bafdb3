"""`./swm train --in-process`: training without ROS; `./swm train bag:=…`: training from recordings."""

from collections import ChainMap
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

from rich.console import Console

from spiking_wm.core.contract import Transition
from spiking_wm.core.errors import UserError
from spiking_wm.core.progress import bars
from spiking_wm.core.spaces import Spaces
from spiking_wm.runs.folder import Run
from spiking_wm.runs.in_process import train, train_offline
from spiking_wm_ros.cli.conclude import conclude
from spiking_wm_ros.cli.signals import noting
from spiking_wm_ros.graph.checks import check_folder
from spiking_wm_ros.graph.parts import bag_of
from spiking_wm_ros.graph.train import TRAIN, Subject, subject


def train_in_process(given: dict[str, str]) -> None:
    """Train in this process, with the arguments of the train graph except those for its nodes.

    Raises:
        UserError: for an argument of the nodes, or invalid arguments.
    """
    chosen = _subject(given, ("algorithm", "env", "run", "resume"))
    check_folder(chosen.run)
    run = Run.create(chosen.run, chosen.setup, chosen.env)
    with noting() as signals, bars() as progress:
        first = progress.add_task("demonstrations", total=None, visible=False)
        task = progress.add_task("training", total=chosen.setup.schedule.steps)
        learner = train(
            run,
            chosen.checkpoint,
            lambda step: progress.update(task, completed=step),
            lambda updates, of: progress.update(first, completed=updates, total=of, visible=of > 0),
            lambda: bool(signals),
        )
    if signals and not learner.finished:
        kept = f"; resume it by resume:={run.path}" if run.checkpoints.all() else ""
        print(f"stopped after {learner.step} steps{kept}")
    conclude(run.path, Console(markup=False, emoji=False))


def train_from_bag(bag: str, given: dict[str, str]) -> None:
    """Train a new agent from recorded transitions; only the final evaluation uses the environment.

    A signal ends the learning; what was learned is evaluated and saved.

    Raises:
        UserError: if there are no recordings of that environment, or for an argument of the nodes.
    """
    folder = Path(bag_of({"bag": bag}))
    chosen = _subject(given, ("algorithm", "env", "run"))
    chosen.setup.schedule.check_one_copy()
    from spiking_wm_ros.nodes.bag import transitions  # imports ROS

    check_folder(chosen.run)
    run = Run.create(chosen.run, chosen.setup, chosen.env)
    with noting() as signals, bars() as progress:

        def recorded(spaces: Spaces) -> Iterator[Transition]:
            return takewhile(lambda _: not signals, transitions(folder, spaces))

        task = progress.add_task("learning from recordings", total=None)
        learner = train_offline(run, recorded, lambda step: progress.update(task, completed=step))
    if signals:
        print(f"stopped after {learner.step} transitions")
    conclude(run.path, Console(markup=False, emoji=False))


def _subject(given: dict[str, str], heeded: tuple[str, ...]) -> Subject:
    """Make a `Subject` from arguments, of which only the ``heeded`` ones are allowed."""
    declared = {a.name: a.default for a in TRAIN.arguments}
    for name, value in given.items():
        if declared.get(name, value) != value and name not in heeded:
            raise UserError(f"{name}:={value} has no effect without nodes: leave it out")
    arguments = ChainMap({k: v for k, v in given.items() if k in declared}, declared)
    return subject(arguments, {k: v for k, v in given.items() if k not in declared})
