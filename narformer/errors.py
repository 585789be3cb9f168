"""One exception tree. Every message names the file, the node, and what to do about it.

`UserError` and its children are the user's mistakes: safe to show as one line, exit code 2.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Real


class NarformerError(Exception):
    """Base of every error raised on purpose by narformer."""


class UserError(NarformerError):
    """Something the caller can mend: a wrong path, a broken file, a missing option."""


class ModelError(UserError):
    """A network that cannot be read: corrupt, cyclic, of unknown shapes."""


class ShapeError(ModelError):
    """A network whose shapes are not known until the caller binds them (`--input-shape`, `--batch-size`)."""


class DataError(UserError):
    """A dataset file that is absent, malformed, or not what the code expects."""


class StoreError(UserError):
    """A store of measurements that cannot be opened, read or written."""


class ConfigError(UserError):
    """A configuration file or an option with a value that cannot be used."""


class BindingError(ShapeError, ConfigError):
    """Sizes that a caller gives and that are not the network's: an unknown name, another rank, a contradiction."""


class UnknownDeviceError(UserError):
    """A device that the predictor does not know."""


class MissingExtraError(UserError):
    """A feature whose optional dependencies are not installed; `installing` says how they are."""


class ModelWarning(UserWarning):
    """Something in a network's file that is wrong, and was read as a runtime reads it; told once a file."""


def installing(extra: str) -> str:
    """How optional dependencies are installed; narformer is in no package index.

    >>> installing("plot")
    "pip install '.[plot]' in a copy of narformer's repository"
    """
    return f"pip install '.[{extra}]' in a copy of narformer's repository"


def within(name: str, value: object, least: float, most: float) -> None:
    """Raises ConfigError, with what to write instead, for an argument that is neither None nor a number in bounds."""
    number = not isinstance(value, bool) and isinstance(value, Real)
    if value is not None and not (number and least <= value <= most):  # type: ignore[operator]
        bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"of at least {least:g}"
        raise ConfigError(f"{name}={value!r}: give a number {bounds}")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest of some names as a question with a blank behind it, for a message; empty where none is near.

    >>> did_you_mean("onnxruntme", ["onnxruntime", "openvino"]), did_you_mean("abacus", ["onnxruntime"])
    ('did you mean onnxruntime? ', '')
    """
    near = difflib.get_close_matches(name.lower(), list(known), n=2)
    return f"did you mean {' or '.join(near)}? " if near else ""
