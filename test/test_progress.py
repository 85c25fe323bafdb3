"""Progress bars as they are seen."""

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from spiking_wm.core.progress import TextBars, bars


def test_bars_that_are_not_shown_count_all_the_same(capsys):
    with bars(shown=False) as progress:
        task = progress.add_task("training", total=10)
        progress.update(task, completed=4)
    assert progress.tasks[0].completed == 4
    assert capsys.readouterr().out == ""


def test_in_a_notebook_without_widgets_a_text_is_replaced():
    seen = []
    with TextBars(
        seen.append, TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    ) as progress:
        task = progress.add_task("training", total=1000)
        for step in range(1, 1001):
            progress.update(task, completed=step)
    assert "training" in seen[0] and "1/1000" in seen[0]
    assert "1000/1000" in seen[-1]
    assert len(seen) < 100  # not one for each step
