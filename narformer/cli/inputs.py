"""What several commands do with options, and with the devices that they name."""

from __future__ import annotations

import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import typer

from narformer.cli.completion import hardware_names, predictor_names
from narformer.cli.notes import tell
from narformer.cli.progress import track
from narformer.errors import ConfigError, DataError, NarformerError, ShapeError

if TYPE_CHECKING:
    from narformer.frontends.onnx.unbound import UnboundError
    from narformer.frontends.sizes import Sizes
    from narformer.graph import Graph
    from narformer.prediction.predictor import Predictor


NOTHING: Mapping[Path, bytes] = MappingProxyType({})
BATCH_SIZE = typer.Option(None, "--batch-size", "-b", min=1, help="Override the first input dimension.")
BATCH_SIZES = typer.Option(
    None, "--batch-size", "-b", metavar="N[,N...]", help="Override the first input dimension; several, as in 1,8,64."
)
DEVICES = typer.Option(
    [],
    "--device",
    "--target",
    "-d",
    help="Target, or hardware for all its targets; repeat for several. Default: all.",
    autocompletion=hardware_names,
)
PREDICTOR = typer.Option(
    None,
    "--predictor",
    help="Name of a shipped predictor, or path of an .onnx.",
    autocompletion=predictor_names,
)
INPUT_SHAPE = typer.Option([], "--input-shape", help="NAME=1,3,224,224; bind or override an input's shape.")
DIM = typer.Option([], "--dim", help="NAME=128; bind a named size of the inputs, wherever it stands; repeatable.")


def sizes_from(batch_size: int | None, input_shape: Sequence[str], dim: Sequence[str]) -> Sizes:
    """What --batch-size, --input-shape and --dim say. Raises ConfigError where they are written otherwise."""
    from narformer.frontends.sizes import Sizes

    return Sizes(batch_size, parse_input_shapes(input_shape), parse_dims(dim))


def parse_batch_sizes(text: str | None) -> tuple[int | None, ...]:
    """`1,8,64`, each once; (None,) for none given. Raises ConfigError for what is written otherwise."""
    return (None,) if text is None else parse_numbers(text, "--batch-size")


def parse_numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,8,64`, each once. Raises ConfigError for what is written otherwise."""
    if not re.fullmatch(r"\s*[1-9]\d{0,17}\s*(,\s*[1-9]\d{0,17}\s*)*", text):
        raise ConfigError(f"{option} {text!r}: write whole numbers of at least 1, as in 8 or 1,8,64")
    return tuple(dict.fromkeys(int(number) for number in text.split(",")))


def parse_input_shapes(texts: Sequence[str]) -> dict[str, tuple[int | str, ...]]:
    """`NAME=1,3,224,224`, or `1,3,224,224` (name "") for a network with one input. Raises ConfigError otherwise.

    A size may be a name, or -1 for what the file says; `x` may stand for the commas between numbers.
    """
    shapes: dict[str, tuple[int | str, ...]] = {}
    for text in texts:
        name, _, written = text.rpartition("=")
        sizes = re.sub(r"(?<=\d)\s*x\s*(?=-?\d)", ",", written).split(",")
        shape = tuple(int(s) if re.fullmatch(r"\s*-?\d{1,18}\s*", s) else s.strip() for s in sizes)
        if any(
            s == "" or (isinstance(s, int) and s < -1) or (isinstance(s, str) and s[0] in "-.0123456789") for s in shape
        ):
            raise ConfigError(f"--input-shape {text!r}: write it as NAME=1,3,224,224; a size is a number, or a name")
        if name in shapes and shapes[name] != shape:
            raise ConfigError(f"--input-shape {text!r}: {name or 'the input'!r} was given another shape before")
        shapes[name] = shape
    return shapes


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """`NAME=128`. Raises ConfigError otherwise."""
    dims: dict[str, int] = {}
    for text in texts:
        name, _, size = text.rpartition("=")
        if not name or not re.fullmatch(r"\s*\d{1,18}\s*", size):
            raise ConfigError(f"--dim {text!r}: write it as NAME=128, with a number that is not negative")
        if dims.setdefault(name, int(size)) != int(size):
            raise ConfigError(f"--dim {text!r}: {name!r} was given as {dims[name]} before")
    return dims


def parse_sizes(text: str) -> Sizes:
    """Sizes in a cell of a table: `sequence=128 x=1x3x224x224`, separated by spaces or semicolons.

    One number is the size of that name (or of the input of that name, if that has one dimension), several are the shape
    of an input. Raises ConfigError for what is written otherwise.
    """
    words = re.split(r"[;\s]+", text.strip().strip(";"))
    dims = [word for word in words if re.fullmatch(r".+=\d+", word)]
    return sizes_from(None, [word for word in words if word and word not in dims], dims)


def as_words(sizes: Sizes) -> str:
    """The same sizes as `parse_sizes` reads them."""
    shapes = [f"{name}={'x'.join(map(str, shape))}" for name, shape in sizes.input_shapes.items()]
    return " ".join([*(f"{name}={size}" for name, size in sizes.dims.items()), *shapes])


def read_each(
    paths: Sequence[Path], sizes: Sizes, among: Sequence[Path] = (), contents: Mapping[Path, bytes] = NOTHING
) -> list[Graph]:
    """The networks of files, with the sizes that a command was given.

    among: all its files, where these are some. contents: of files that lie on another machine.
    """
    from narformer.frontends.onnx import read_onnx
    from narformer.frontends.onnx.unbound import UnboundError

    graphs = []
    for path in track(paths, "reading", len(paths)):
        try:
            source, name = (contents[path], str(path)) if path in contents else (path, None)
            graphs.append(
                read_onnx(
                    source, batch_size=sizes.batch_size, input_shapes=sizes.input_shapes, dims=sizes.dims, name=name
                )
            )
        except UnboundError as error:
            raise ShapeError(asked_for(error, among or paths)) from None
    return graphs


def files_of(models: Sequence[Path]) -> list[Path]:
    """Files, and the .onnx files below directories, in order. Raises DataError for a directory without any."""
    return [path for model in models for path in (files_below(model) if model.is_dir() else [model])]


def files_below(directory: Path) -> list[Path]:
    """The .onnx files below a directory, sorted. Raises DataError where there are none."""
    found = sorted(directory.rglob("*.onnx"))
    if not found:
        raise DataError(f"{directory}: no .onnx files below this directory")
    return found


def each_graph(paths: Sequence[Path], sizes: Sizes, failed: list[str]) -> Iterator[tuple[Path, Graph]]:
    """Files with their networks, one read after another; one that cannot be is told, and goes to `failed`."""
    # Where the answers scroll by on a terminal, they are the progress.
    for path in track(paths, "reading", len(paths), least=len(paths) + 1 if sys.stdout.isatty() else 2):
        try:
            (graph,) = read_each([path], sizes, paths)
        except NarformerError as error:
            failed.append(str(path))
            print(f"narformer: {error}", file=sys.stderr)
        else:
            yield path, graph


@contextmanager
def noted() -> Iterator[list[str]]:
    """A list that gets what is worth knowing of the files that are read meanwhile."""
    from narformer.errors import ModelWarning

    notes: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", ModelWarning)
        shown = warnings.showwarning

        def keep(message: Any, category: Any, *more: Any, **how: Any) -> None:
            if issubclass(category, ModelWarning):
                notes.append(str(message))
            else:
                shown(message, category, *more, **how)

        warnings.showwarning = keep
        yield notes


def asked_for(error: UnboundError, paths: Sequence[Path]) -> str:
    """What is open, and this command line, for the one file of these `paths`, with options that bind it."""
    from narformer.frontends.onnx.unbound import as_options

    others = {str(path) for path in paths} - {str(Path(error.file))}
    words = [word for word in sys.argv[1:] if str(Path(word)) not in others]
    command = f"narformer {shlex.join(words)} {as_options(error.example)}"
    return f"{error.told}; bind them, for example: {command}"


def plot_option(what: str) -> Any:
    """`--plot PATH`; what cannot be drawn or written there is told before the command begins."""
    return typer.Option(None, "--plot", help=f"Save a plot (.svg or .png) of {what}.", callback=_checked)


def _checked(path: Path | None) -> Path | None:
    if path is not None:
        from narformer.plotting import check_plot

        check_plot(path)
    return path


def tell_unusable(predictor: Predictor) -> None:
    """A line on standard error for each adapted device that is left out, and why."""
    for reason in predictor.further.unusable.values():
        tell(f"narformer: left out: {reason}")
