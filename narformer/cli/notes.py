"""What a command tells besides its answer, on standard error; nothing of it where the user wants quiet.

Errors are no notes: they are printed whatever was asked for.
"""

from __future__ import annotations

import sys

_quiet = False


def be_quiet(quiet: bool) -> None:
    """Whether notes and progress are kept back from now on."""
    global _quiet
    _quiet = quiet


def quiet() -> bool:
    """Whether they are."""
    return _quiet


def note(text: str) -> None:
    """Tell what is worth knowing of an input or an answer."""
    tell(f"narformer: note: {text}")


def tell(text: str) -> None:
    """A line of progress, or a summary."""
    if not _quiet:
        print(text, file=sys.stderr, flush=True)
