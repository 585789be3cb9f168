"""Sizes that nobody has bound: one message that lists them all, and an example of what binds them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from narformer.errors import ShapeError
from narformer.frontends.sizes import Size, Sizes

WORD = re.compile(r"[^\W\d][\w.:]*(?![\w.:]*\()")  # a name within a sum or product of sizes; no function
SUM = re.compile(r"[\w.:\s+*/(),-]+")
IMAGE, LENGTH, SAMPLES = 224, 128, 16_000
# Sizes to try, of images and of lengths: the first with which the network can be read makes the example.
TRIED = ((IMAGE, LENGTH), (IMAGE, 1), (256, 64), (640, 16), (32, 32), (1, 1))


class Open(NamedTuple):
    """An input whose shape is not known. sizes: as declared, None for none; wanted: what is known of it."""

    name: str
    sizes: tuple[Size, ...] | None
    wanted: tuple[Size, ...] | None


class UnboundError(ShapeError):
    """Sizes that stay open. example: what would bind them; told: the message without it."""

    def __init__(
        self,
        label: str,
        inputs: Sequence[Open],
        known: Mapping[str, int],
        file: str = "",
        example: Sizes | None = None,
    ) -> None:
        """file: where the network lies; "" for one in memory. example: one that was tried."""
        self.label, self.inputs, self.known, self.file = label, tuple(inputs), dict(known), file
        self.told = printable(f"{label}: {', '.join(map(_told, inputs))}")
        self.example = example or next(self.examples())
        super().__init__(self._message())

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.label, self.inputs, self.known, self.file, self.example)

    def with_example(self, example: Sizes, file: str) -> UnboundError:
        """The same error with another example, for a network in a file."""
        return UnboundError(self.label, self.inputs, self.known, file, example)

    def _message(self) -> str:
        example = in_python(self.example)
        if self.file:
            command = f"narformer inspect {shlex.quote(self.file)} {as_options(self.example)}"
            example = f"{command} (in Python: {example})"
        return printable(f"{self.told}; bind them, for example: {example}")

    def examples(self, tried: Sequence[tuple[int, int]] = TRIED) -> Iterator[Sizes]:
        """What would bind all that is open, the most likely first. tried: sizes of images and of lengths."""
        for image, length in tried:
            names: dict[str, int] = {}
            for one in self.inputs:
                for axis, size in enumerate(one.wanted or ()):
                    for name in self._asked_for(size):
                        value = SAMPLES if _is_sound(one, name) else image if _is_image(one, axis, name) else length
                        names.setdefault(name, value)
            names = _consistent({**self.known, **names}, names)
            shapes = {
                one.name: _example_shape(one, {**self.known, **names}, image, length)
                for one in self.inputs
                if one.wanted is None or "" in one.wanted
            }
            yield Sizes(None, shapes, names)

    def _asked_for(self, size: Size) -> list[str]:
        """Names that have to be bound before a size is known: its own, or in a sum of sizes those that are not yet."""
        if not isinstance(size, str) or not size:
            return []
        words = WORD.findall(size) if SUM.fullmatch(size) else []
        plain = {s for one in self.inputs for s in one.wanted or () if isinstance(s, str)} - {size}
        if words == [size]:
            return words
        unknown = [word for word in words if word not in self.known]
        return unknown if unknown and plain.union(self.known).intersection(words) else [size]


def printable(text: str) -> str:
    """Names in a file may hold anything; a message is one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _told(one: Open) -> str:
    if one.sizes is None:
        return f"input {one.name!r} has no shape"
    return f"input {one.name!r} has dynamic sizes {spelled(one.sizes)}"


def spelled(shape: Sequence[Size]) -> str:
    """A shape as a message has it: [batch, 3, ?, ?]."""
    return f"[{', '.join(str(size) or '?' for size in shape)}]"


def _example_shape(one: Open, known: Mapping[str, int], image: int, length: int) -> tuple[Size, ...]:
    if one.wanted is None:
        return (1, 3, image, image)
    return tuple(
        size
        if isinstance(size, int)
        else known.get(size, image if _is_image(one, axis, size) else length)
        if not size or size in known
        else size
        for axis, size in enumerate(one.wanted)
    )


def _is_image(one: Open, axis: int, name: str) -> bool:
    """Whether a size is likely a height or a width: it is called so, or is one of four behind or before channels."""
    if name.lower() in ("h", "w") or any(word in name.lower() for word in ("height", "width", "image")):
        return True
    if any(word in name.lower() for word in ("seq", "len", "past", "total", "token", "step", "head")):
        return False
    sizes = one.wanted or ()
    return len(sizes) == 4 and ((axis >= 2 and sizes[1] in (1, 3, 4)) or (axis in (1, 2) and sizes[3] in (1, 3, 4)))


def _is_sound(one: Open, name: str) -> bool:
    return any(word in f"{one.name} {name}".lower() for word in ("audio", "sample", "wave"))


def _consistent(known: Mapping[str, int], names: Mapping[str, int]) -> dict[str, int]:
    """Of a cache, what is past and what is new make up the total."""
    past = [name for name in names if "past" in name.lower()]
    if not past:
        return dict(names)
    total = next((known[name] for name in known if name not in names and "total" in name.lower()), LENGTH)
    new = next((size for name, size in known.items() if name not in names and _is_new(name)), 1)
    found = dict(names)
    for name in names:
        lower = name.lower()
        if "past" in lower and "total" not in lower:
            found[name] = max(total - new, 0)
        elif "total" in lower or "mask" in lower:
            found[name] = total
        elif _is_new(name):
            found[name] = new
    return found


def _is_new(name: str) -> bool:
    lower = name.lower()
    others = ("past", "total", "mask", "encoder", "max")
    return ("seq" in lower or "len" in lower) and not any(word in lower for word in others)


def as_options(example: Sizes) -> str:
    """Options of a command: --dim sequence=128 --input-shape x=1,3,224,224."""
    words = [f"--dim {shlex.quote(f'{name}={size}')}" for name, size in example.dims.items()]
    for name, shape in example.input_shapes.items():
        words.append(f"--input-shape {shlex.quote(f'{name}=' + ','.join(map(str, shape)))}")
    return " ".join(words)


def in_python(example: Sizes) -> str:
    """Arguments: dims={'sequence': 128}, input_shapes={'x': (1, 3, 224, 224)}."""
    told = [f"dims={dict(example.dims)!r}"] if example.dims else []
    return ", ".join([*told, *([f"input_shapes={dict(example.input_shapes)!r}"] if example.input_shapes else [])])
