"""What a caller says of the sizes of a network's inputs: a batch size, whole shapes by input, sizes by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from narformer.errors import ConfigError

Size = int | str


@dataclass(frozen=True)
class Sizes:
    """Sizes as a caller gives them, checked; see `sizes_of`.

    batch_size: of every input. input_shapes: whole shapes by input, the name "" for the only one; a size may be a name,
    or -1 for what the file says. dims: sizes by the names that files give them.
    """

    batch_size: int | None = None
    input_shapes: Mapping[str, tuple[Size, ...]] = field(default_factory=dict)
    dims: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return self.batch_size is not None or bool(self.input_shapes) or bool(self.dims)


def sizes_of(batch_size: object = None, input_shapes: object = None, dims: object = None) -> Sizes:
    """The arguments of these names. Raises ConfigError, with what to write instead, for any that is not meant so."""
    if batch_size is not None and (not _whole(batch_size) or int(batch_size) < 1):  # type: ignore[call-overload]
        raise ConfigError(f"batch_size={batch_size!r}: give a whole number of at least 1, as in batch_size=4")
    return Sizes(
        None if batch_size is None else int(batch_size),  # type: ignore[call-overload]
        {name: _shape(name, shape) for name, shape in _named(input_shapes, "input_shapes", '{"x": (1, 3, 224, 224)}')},
        {name: _size(name, size) for name, size in _named(dims, "dims", '{"sequence": 128}')},
    )


def _named(given: object, what: str, example: str) -> list[tuple[str, object]]:
    if given is None:
        return []
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise ConfigError(f"{what}={given!r}: give a dictionary with names, as in {what}={example}")
    return list(given.items())


def _shape(name: str, shape: object) -> tuple[Size, ...]:
    sizes = shape.tolist() if isinstance(shape, np.ndarray) else shape
    if isinstance(sizes, list | tuple) and all(isinstance(s, str) or (_whole(s) and s >= -1) for s in sizes):
        return tuple(s if isinstance(s, str) else int(s) for s in sizes)
    raise ConfigError(
        f"input_shapes: {name!r} cannot have the shape {shape!r}; a shape is a tuple of sizes, as in (1, 3, 224, 224), "
        'each a whole number, a name as in (1, "sequence"), or -1 for what the file says'
    )


def _size(name: str, size: object) -> int:
    if _whole(size) and int(size) >= 0:  # type: ignore[call-overload]
        return int(size)  # type: ignore[call-overload, no-any-return]
    raise ConfigError(
        f"dims: {name!r} cannot be {size!r}; a size is a whole number, not negative, as in dims={{{name!r}: 128}}"
    )


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
