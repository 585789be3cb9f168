"""`--quiet`, an option of every command: no notes, no progress, no summary; the answer and errors alone."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from narformer.cli.notes import be_quiet, quiet

QUIET = typer.Option(False, "--quiet", "-q", help="Print the answer and errors alone: no notes, no progress.")


def add_quiet(app: typer.Typer) -> None:
    """Give the option to every command of an application and of those below it."""
    for command in app.registered_commands:
        if command.callback is not None:
            command.callback = _quietly(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            add_quiet(group.typer_instance)


def _quietly(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same command with one option more, which typer reads off its signature."""
    signature = inspect.signature(command)
    option = inspect.Parameter("be_still", inspect.Parameter.KEYWORD_ONLY, default=QUIET, annotation="bool")

    @functools.wraps(command)
    def call(*arguments: Any, be_still: bool = False, **options: Any) -> Any:
        be_quiet(be_still or quiet())
        return command(*arguments, **options)

    call.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    call.__annotations__ = {**command.__annotations__, "be_still": "bool"}
    return call
