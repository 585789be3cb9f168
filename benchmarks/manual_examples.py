"""Examples in docstrings as code blocks, for the reference of the Python API: an extension of griffe (mkdocs.yml)."""

from __future__ import annotations

import re
from typing import Any

import griffe

# A prompt and what follows it, up to an empty line.
_EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


def fenced(text: str) -> str:
    """The same docstring with fences around its examples, which Markdown would else take for quotations."""
    return _EXAMPLE.sub(lambda match: f"\n```pycon\n{match[0]}\n```\n", text)


class Examples(griffe.Extension):
    """Puts fences around the examples of every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring and ">>> " in obj.docstring.value:
            obj.docstring.value = fenced(obj.docstring.value)
