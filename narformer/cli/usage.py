"""A command line that cannot be read: one line that names the mistake, the nearest that exists, and where to look."""

from __future__ import annotations

import difflib
import re
import shlex
import sys
from typing import Any

import typer

# Not `click.ClickException`: typer has had a copy of click of its own since 0.26.
UsageMistake: Any = next(each for each in typer.BadParameter.__mro__ if each.__name__ == "ClickException")
NEAR = 0.75  # of two options: how alike they have to be for one to be meant by the other


def tell_mistake(error: Any) -> None:
    """Print the line on standard error; a command that was given nothing at all prints its help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return
    told = str(error.message if hasattr(error, "possibilities") else error.format_message())
    told = told.replace("Value error, ", "").strip().rstrip(".")
    asked = str(getattr(error, "option_name", ""))
    near = sorted(difflib.get_close_matches(asked, getattr(error, "possibilities", None) or (), cutoff=NEAR))
    if near:
        told += f"; did you mean {' or '.join(near)}?"
    context = getattr(error, "ctx", None)
    unknown = re.fullmatch(r"No such command '(.+\.onnx)'", told)
    if unknown:
        told += f"; did you mean `narformer predict {shlex.quote(unknown[1])}`?"
    command = context.command_path if context is not None else "narformer"
    told = told if told.endswith("?") else f"{told}."
    print(f"narformer: {told[:1].lower()}{told[1:]} See `{command} --help`", file=sys.stderr)
