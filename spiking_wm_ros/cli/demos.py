"""`./swm demos`: collect demonstrations."""

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from spiking_wm.core.errors import UserError
from spiking_wm.core.extras import missing_extra
from spiking_wm.core.options import suggestion
from spiking_wm.envs.demonstrations import collect
from spiking_wm.envs.make import check_env

_DEFAULTS = {"env": "CartPole-v1", "seed": "0", "episodes": "100"}


def collect_demonstrations(given: dict[str, str]) -> None:
    """Train an expert, store episodes of it and of weaker policies, and print a table of the data sets.

    Raises:
        UserError: for an unknown argument or environment, or an invalid number.
    """
    with missing_extra():
        import minari

    for name in given:
        if name not in _DEFAULTS:
            raise UserError(f"unknown argument '{name}'{suggestion(name, _DEFAULTS)}")
    chosen = _DEFAULTS | given
    check_env(chosen["env"])
    for name, least in (("seed", 0), ("episodes", 1)):
        if not chosen[name].isdecimal() or int(chosen[name]) < least:
            raise UserError(f"{name}:={chosen[name]} is not a whole number from {least} on")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, refresh_per_second=2) as progress:
        tasks = {}

        def show(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=of)
            progress.update(tasks[what], completed=done)

        names = collect(chosen["env"], int(chosen["seed"]), int(chosen["episodes"]), show)
    table = Table("data set", "episodes", "steps", "mean return", "least", "most", box=None)
    for name in names:
        data = minari.load_dataset(name)
        returns = np.array([episode.rewards.sum() for episode in data.iterate_episodes()])
        figures = (f"{x:.1f}" for x in (returns.mean(), returns.min(), returns.max()))
        table.add_row(name, str(len(returns)), str(data.total_steps), *figures)
    console = Console(markup=False, emoji=False)
    console.print(table)
    console.print(f"to learn from them: ./swm train algorithm:=spiking_dt env:={chosen['env']}")
