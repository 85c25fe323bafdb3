"""`./swm VERB [name:=value …]`."""

import errno
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from spiking_wm.core.errors import UserError
from spiking_wm_ros.cli.signals import Stopped, heeding, stop

ROOT = Path(os.environ.get("SWM_ROOT", Path(__file__).resolve().parents[2]))
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Spiking policies and world models on ROS 2. Arguments are given as in ros2 launch, name:=value.",
)
Arguments = Annotated[list[str] | None, typer.Argument(metavar="[NAME:=VALUE]...", help="arguments")]
ShowArguments = Annotated[
    bool, typer.Option("--show-args", "-s", help="list arguments and options with their values, and end")
]
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NOT_EMPTY = ("resume", "bag", "params_file")  # to leave these out means something else
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True}


def _parse(arguments: list[str] | None) -> dict[str, str]:
    given = {}
    for argument in arguments or []:
        name, mark, value = argument.partition(":=")
        if not mark or not name:
            raise UserError(f"'{argument}' is not of the form name:=value")
        if not value and name in _NOT_EMPTY:
            raise UserError(f"{name}:= is empty: give a value, or leave it out")
        given[name] = value
    return given


def _show(graph_name: str, given: dict[str, str]) -> None:
    from spiking_wm_ros.cli.show_args import show_args

    show_args(graph_name, given)


def _launch(graph_name: str, arguments: list[str] | None, show_args: bool = False) -> None:
    given = _parse(arguments)
    if show_args:
        _show(graph_name, given)
        return
    from spiking_wm_ros.cli.console import watch
    from spiking_wm_ros.graph.specification import claim_domain, resolve_graph

    resolved = resolve_graph(graph_name, given)
    claim = claim_domain(graph_name, resolved.namespace)
    raise typer.Exit(watch(resolved, graph_name in ("train", "dream"), claim))


@app.command()
def setup() -> None:
    """Make the environment and build the interfaces, if that is not done yet."""
    print(f"ready: {sys.prefix}")


@app.command()
def train(
    arguments: Arguments = None,
    show_args: ShowArguments = False,
    in_process: Annotated[bool, typer.Option("--in-process", help="without ROS, in one process")] = False,
) -> None:
    """Train in an environment through ROS 2, awake and in dreams; with bag:=FOLDER from recordings alone."""
    given = _parse(arguments)
    if show_args:
        _show("train", given)
        return
    from spiking_wm_ros.cli.in_process import train_from_bag, train_in_process

    if bag := given.pop("bag", ""):
        train_from_bag(bag, given)
    elif in_process:
        train_in_process(given)
    else:
        _launch("train", arguments)


@app.command()
def demos(arguments: Arguments = None) -> None:
    """Collect demonstrations for offline learning, as Minari keeps them: env:=CartPole-v1 episodes:=100."""
    from spiking_wm_ros.cli.demos import collect_demonstrations

    collect_demonstrations(_parse(arguments))


@app.command(context_settings=_PASS_ON)
def report(context: typer.Context) -> None:
    """Write report.html of a run, all in one file: RUN ...; also written at the end of every training."""
    from spiking_wm_ros.cli.report import write_reports

    write_reports(context.args)


@app.command(context_settings=_PASS_ON)
def compare(context: typer.Context) -> None:
    """Show runs side by side: RUN RUN ... [threshold:=X] [results:=NAME]; a table, a PNG and a CSV."""
    from spiking_wm_ros.cli.compare import compare as compare_runs

    compare_runs(context.args)


@app.command()
def export(arguments: Arguments = None) -> None:
    """Write a policy's network for other chips, and what it costs there: checkpoint:=RUN format:=nir."""
    from spiking_wm_ros.cli.export import export as export_network

    export_network(_parse(arguments))


@app.command()
def launch(
    file: Annotated[str, typer.Argument(help="train, dream, evaluate, deploy or view, and .launch.py")],
    arguments: Arguments = None,
    show_args: ShowArguments = False,
) -> None:
    """Start a launch file's graph, as ros2 launch does."""
    from spiking_wm.core.options import suggestion
    from spiking_wm_ros.graph.specification import GRAPHS

    name = file.removesuffix(".launch.py")
    if name not in GRAPHS:
        known = [f"{graph}.launch.py" for graph in GRAPHS]
        raise UserError(f"unknown launch file '{file}'{suggestion(file, known)}")
    _launch(name, arguments, show_args)


@app.command()
def dream(arguments: Arguments = None, show_args: ShowArguments = False) -> None:
    """Dream from a checkpoint, with no environment: checkpoint:=RUN rollouts:=N."""
    _launch("dream", arguments, show_args)


@app.command()
def evaluate(arguments: Arguments = None, show_args: ShowArguments = False) -> None:
    """Let a checkpoint's policy act greedily: checkpoint:=RUN episodes:=10."""
    _launch("evaluate", arguments, show_args)


@app.command()
def deploy(arguments: Arguments = None, show_args: ShowArguments = False) -> None:
    """Let a policy drive a robot behind a safety gate: robot:=NAME policy:=RUN."""
    _launch("deploy", arguments, show_args)


@app.command()
def view(arguments: Arguments = None, show_args: ShowArguments = False) -> None:
    """Show what runs on this machine on a page: viewer_port:=8642; also with viewer:=true of every graph."""
    _launch("view", arguments, show_args)


@app.command()
def sros2(
    graph: Annotated[str, typer.Argument(help="train, dream, evaluate, deploy or view")],
    arguments: Arguments = None,
) -> None:
    """Print the SROS2 policy of a graph, started with these arguments: what its nodes may say and hear."""
    from spiking_wm.core.options import suggestion
    from spiking_wm_ros.graph.specification import GRAPHS, resolve_graph
    from spiking_wm_ros.graph.sros2 import sros2_policy

    if graph not in GRAPHS:
        raise UserError(f"unknown graph '{graph}'{suggestion(graph, list(GRAPHS))}")
    print(sros2_policy(resolve_graph(graph, _parse(arguments))), end="")


def _call(command: list[str]) -> int:
    """Run a program of the environment; a signal gives it a moment to end first."""
    with heeding(signal.default_int_handler):
        return subprocess.call(command, cwd=ROOT)


@app.command(context_settings=_PASS_ON)
def test(
    context: typer.Context,
    fast: Annotated[bool, typer.Option("--fast", help="what takes neither ROS nor long")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="also benchmarks, experiments and tutorials from beginning to end")
    ] = False,
) -> None:
    """Run linter, import-layer and type checks, and pytest (whose arguments can be given) on two cores."""
    for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports"], ["mypy"]):
        if code := _call(check):
            raise typer.Exit(code)
    named = any(Path(argument.partition("::")[0]).exists() for argument in context.args)
    chosen = [] if everything or named else ["-m", "not long"]
    if fast:
        chosen = ["--ignore", "test/ros", "-m", "not slow and not long"]
    # in their own order: xdist's begins the longest, which are few to a file, at the end
    on_two = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
    tests = [sys.executable, "-m", "pytest", *on_two, *chosen, *context.args]
    raise typer.Exit(_call(tests))


@app.command()
def docs() -> None:
    """Build the documentation, docs/_build/html/index.html; a warning or a dead link inside is an error."""
    build = ["sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", "docs/_build/html"]
    if code := _call(build):
        raise typer.Exit(code)
    print("written: docs/_build/html/index.html")


@app.command()
def bench(
    name: Annotated[
        str,
        typer.Argument(
            help="popsan, peers, ros, deploy, rsnn, rssm, dsqn, spiking_dt, loihi, viewing or published"
        ),
    ],
    arguments: Arguments = None,
) -> None:
    """Run a benchmark of bench/; its last line is JSON."""
    _run_program("benchmark", "bench", name, *(arguments or []))


@app.command()
def experiment(
    name: Annotated[
        str,
        typer.Argument(
            help="rsnn_pong, rsnn_dream, long_sequences, dsqn_vs_dqn, spiking_dt, loihi_parity,"
            " rover_dreaming, frontier_halfcheetah or dream_film"
        ),
    ],
    arguments: Arguments = None,
) -> None:
    """Run an experiment of experiments/; its tables and pictures go to runs/, or to results:=."""
    _run_program("experiment", "experiments", name, *(arguments or []))


def _run_program(kind: str, folder: str, name: str, *arguments: str) -> None:
    from spiking_wm.core.options import suggestion

    known = sorted(path.stem for path in (ROOT / folder).glob("[a-z]*.py"))
    if name not in known:
        raise UserError(f"unknown {kind} '{name}'{suggestion(name, known)}")
    command = [sys.executable, "-m", "spiking_wm_ros.cli.program", str(ROOT / folder / f"{name}.py")]
    os.execv(sys.executable, [*command, *arguments])  # in this process, so that it receives the signals


@app.command(context_settings=_PASS_ON)
def shell(context: typer.Context) -> None:
    """Open a shell, or run a command, in the environment of the nodes."""
    command = context.args or [os.environ.get("SHELL", "/bin/bash")]
    try:
        os.execvp(command[0], command)
    except FileNotFoundError:
        wheels = (
            " (the wheels have no ros2; rclpy, colcon and ./swm are there)" if command[0] == "ros2" else ""
        )
        raise UserError(f"no command '{command[0]}'{wheels}") from None


def _check_text(argument: str) -> None:
    try:
        argument.encode()
    except UnicodeEncodeError:
        raise UserError(f"{argument!r} is no text in UTF-8") from None


def main() -> None:
    """Run a verb; bad input and signals end with one line. Exit codes are those of `graph.ends`."""
    os.environ["SWM_COMMAND"] = shlex.join(["./swm", *sys.argv[1:]])  # runs keep it
    try:
        for argument in sys.argv:
            _check_text(argument)
        with heeding(stop):
            app(prog_name="./swm")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)
    except Exception as error:  # a defect, or a file that cannot be used
        said, code = _in_one_line(error)
        print(f"error: {said}", file=sys.stderr)
        sys.exit(code)


def _in_one_line(error: Exception) -> tuple[str, int]:
    """An exception that is no `UserError` in one line, with its traceback in a file, and the exit code."""
    from spiking_wm.core.files import append_traceback
    from spiking_wm.core.game_loop import told
    from spiking_wm_ros.graph.log import BAD_INPUT, FAILED

    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return f"a path is too long: {str(error.filename)[:60]}…", BAD_INPUT
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return f"{error.filename or 'a file'} is not written: {error.strerror}", BAD_INPUT
    try:
        with tempfile.NamedTemporaryFile(prefix="swm-error-", suffix=".txt", delete=False) as file:
            append_traceback(Path(file.name), error)
    except OSError:  # no room for it
        return told(error), FAILED
    return f"{told(error)} (traceback in {file.name})", FAILED


if __name__ == "__main__":
    main()
