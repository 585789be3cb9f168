"""Output for terminals and files that cannot show every character: readable, where it would be an error."""

from __future__ import annotations

import codecs
import io
import sys

_ERRORS = "narformer.readable"
# What we write, and rich's bars and spinners, in ASCII.
_SUBSTITUTES = {
    "·": ".",
    "–": "-",
    "—": "-",
    "−": "-",
    "±": "+/-",
    "…": "...",
    "×": "x",
    "²": "2",
    "³": "3",
    "≥": ">=",
    "≤": "<=",
    "≈": "~",
    "→": "->",
    "µ": "u",
    "ν": "nu",
    "δ": "delta",
    "Σ": "sum",
    "•": "*",
    "━": "-",
    "╸": "-",
    "╺": "-",
    "“": '"',
    "”": '"',
    "‘": "'",
    "’": "'",
}


def make_output_readable() -> None:
    """From now on what standard output and error cannot encode is written in ASCII, or as a question mark."""
    codecs.register_error(_ERRORS, _substituted)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _substituted(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # a byte of a file's name that is not in the system's encoding: as it was
        return bytes([ord(character) - 0xDC00]), error.start + 1
    if "\u2800" <= character <= "\u28ff":  # rich's spinner is of Braille's dots
        return "*", error.start + 1
    return _SUBSTITUTES.get(character, "?"), error.start + 1
