"""The command `narformer`. One file a command; heavy imports happen inside the command that needs them."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any, NoReturn

import typer

from narformer.cli.adapt import adapt, validate
from narformer.cli.cells import fit_cells, predict_cell, rank, search
from narformer.cli.choose import choose
from narformer.cli.compare import compare
from narformer.cli.devices import devices
from narformer.cli.embed import embed
from narformer.cli.evaluate import evaluate
from narformer.cli.explain import explain
from narformer.cli.families import app as families
from narformer.cli.fleet import app as fleet
from narformer.cli.inspect import inspect
from narformer.cli.measure import measure
from narformer.cli.neighbours import neighbours
from narformer.cli.notes import be_quiet, note
from narformer.cli.predict import predict
from narformer.cli.quiet import QUIET, add_quiet
from narformer.cli.report import report
from narformer.cli.serve import serve
from narformer.cli.store import app as store
from narformer.cli.terminal import make_output_readable
from narformer.cli.train import train
from narformer.cli.usage import UsageMistake, tell_mistake
from narformer.errors import ConfigError, ModelWarning, NarformerError

app = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="How fast will this network run there, and how good will it be?",
)
app.command()(predict)
app.command()(inspect)
app.command()(explain)
app.command()(choose)
app.command()(compare)
app.command()(devices)
app.command()(measure)
app.command()(adapt)
app.command()(validate)
app.command()(embed)
app.command()(neighbours)
app.command(name="predict-cell")(predict_cell)
app.command()(rank)
app.command()(search)
app.command()(train)
app.command(name="fit-cells")(fit_cells)
app.command()(evaluate)
app.command()(report)
app.command()(serve)
app.add_typer(families, name="families")
app.add_typer(store, name="store")
app.add_typer(fleet, name="fleet")
add_quiet(app)


@app.callback(invoke_without_command=True)
def version(
    show: bool = typer.Option(False, "--version", "-V", help="Print the version and exit."), quiet: bool = QUIET
) -> None:
    """Options of the command itself: its version."""
    if show:
        from narformer import __version__

        print(f"narformer {__version__}")
        raise typer.Exit
    be_quiet(quiet)


_PACKAGE = str(Path(__file__).parents[1])


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 the user can mend it, 3 a limit was exceeded, 130 interrupted."""
    make_output_readable()
    warnings.simplefilter("always", ModelWarning)
    warnings.showwarning = _note
    sys.unraisablehook = _unraisable
    try:
        if "" in sys.argv[1:]:  # as a path it would be the current directory
            raise ConfigError("an argument is empty; is a variable of the shell not set?")
        code = app(prog_name="narformer", standalone_mode=False)
        if code == 130:  # typer's way to tell of Ctrl-C
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except NarformerError as error:
        print(f"narformer: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("narformer: interrupted", file=sys.stderr)
        _leave(130)
    except BrokenPipeError:
        _stop_quietly()
    except SystemExit as exit:
        if isinstance(exit.__context__, BrokenPipeError):  # typer's way to tell of it, with exit code 1
            _stop_quietly()
        raise
    except UsageMistake as error:
        tell_mistake(error)
        sys.exit(2)
    except OSError as error:
        # A full disk, a directory that nobody may write to: the user's to mend, wherever it was met.
        print(f"narformer: {error.filename or 'the output'}: {error.strerror or error}", file=sys.stderr)
        if error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left of the output cannot go there
        sys.exit(2)


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    """Ctrl-C while an object is taken away, where Python would only print it: it is pressed once more."""
    if not issubclass(told.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(told)
        return
    again = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
    again.daemon = True
    again.start()


def _note(message: Any, category: Any, filename: str, lineno: int, *more: Any, **how: Any) -> None:
    """What is worth knowing of a file or a table, as a line; warnings of others as Python has them."""
    ours = issubclass(category, UserWarning) and filename.startswith(_PACKAGE)
    if ours or issubclass(category, ModelWarning):
        note(str(message))
    else:
        print(warnings.formatwarning(message, category, filename, lineno), end="", file=sys.stderr)


def _leave(code: int) -> NoReturn:
    """End at once. A pool of processes that were killed in the middle of an answer would be waited for for ever."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _stop_quietly() -> NoReturn:
    """The reader of our output (head, less) has gone; nothing is wrong."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    _leave(0)
