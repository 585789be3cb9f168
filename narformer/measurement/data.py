"""What a network's inputs hold while it is timed, from an .npz file of the user's: an array an input."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.errors import DataError
from narformer.graph import Graph, Shape

Array = npt.NDArray[Any]
ALONE = "arr_0"  # what NumPy calls an array that is saved without a name


def own_data(path: Path, graph: Graph) -> Mapping[str, Array]:
    """The arrays of a file by the names of a network's inputs; one without a name stands for the only input.

    Raises DataError where one is missing or too many, or has another shape or dtype than the input.
    """
    arrays = _loaded(path)
    names = graph.input_names
    if list(arrays) == [ALONE] and len(names) == 1:
        arrays = {names[0]: arrays[ALONE]}
    if set(arrays) != set(names):
        raise DataError(f"{path}: has {', '.join(sorted(arrays))}, and {graph.name} takes {', '.join(names)}")
    for name, tensor in zip(names, graph.inputs, strict=True):
        array = arrays[name]
        if (str(array.dtype), array.shape) != (tensor.dtype, tensor.shape):
            there, wanted = (f"{dtype} of {list(shape)}" for dtype, shape in ((array.dtype, array.shape), tensor[:2]))
            raise DataError(f"{path}: {name} is {there}, and {graph.name} takes {wanted}")
    return {name: np.ascontiguousarray(arrays[name]) for name in names}


def data_shapes(path: Path) -> dict[str, Shape]:
    """The shapes of the arrays in a file, by name; the name "" for one without. Raises DataError."""
    return {"" if name == ALONE else name: array.shape for name, array in _loaded(path).items()}


def _loaded(path: Path) -> dict[str, Array]:
    try:
        with np.load(path) as file:
            if isinstance(file, np.ndarray):
                raise DataError(
                    f"{path}: one array; save it with its input's name: numpy.savez({path.stem!r}, NAME=array)"
                )
            return {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(f"{path}: not an .npz file of arrays; write one with numpy.savez") from error
