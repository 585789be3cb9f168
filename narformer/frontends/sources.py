"""Networks as callers give them: paths of ONNX files, their bytes, models in memory, Graphs; one or several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, cast

import onnx

from narformer.errors import ConfigError
from narformer.frontends.onnx import read_onnx
from narformer.frontends.sizes import Sizes
from narformer.frontends.torch import read_torch
from narformer.graph import Graph

Source: TypeAlias = str | Path | bytes | onnx.ModelProto | Graph
_ONE = (str, Path, bytes, bytearray, memoryview, onnx.ModelProto, Graph)


def several(models: object) -> list[Source]:
    """The networks, one or several, in a list. Raises ConfigError, with what to give instead, for anything else."""
    if isinstance(models, str) and not models:
        raise ConfigError("'': no network; give the path of an .onnx file")
    if isinstance(models, _ONE):
        return [models]
    if hasattr(models, "state_dict") or hasattr(models, "read") or not isinstance(models, Iterable):
        raise _refused(models)
    found = list(models)
    for model in found:
        if not isinstance(model, _ONE):
            raise _refused(model)
    return found


def _refused(model: object) -> ConfigError:
    kind = type(model).__name__
    if kind == "ExportedProgram":
        return ConfigError(f"{kind}: give the module that it was made of, and its example inputs")
    if hasattr(model, "state_dict"):
        return ConfigError(
            f"{kind}: a PyTorch module needs example_inputs, what it would be called with: "
            "narformer.predict(module, example_inputs), or narformer.read_torch for its Graph"
        )
    if hasattr(model, "read"):
        return ConfigError(f"{kind}: a file that is open is not read; give its path, or the bytes that it reads")
    return ConfigError(
        f"{kind}: a network is the path of an ONNX file, its bytes, an onnx.ModelProto or a Graph, or a list of these"
    )


def graph_of(source: Source, sizes: Sizes) -> Graph:
    """The Graph of one network. A Graph can be had at another batch size, but not with other sizes: ConfigError."""
    if not isinstance(source, Graph):
        return read_onnx(source, batch_size=sizes.batch_size, input_shapes=sizes.input_shapes, dims=sizes.dims)
    if sizes.input_shapes or sizes.dims:
        raise ConfigError(
            f"{source.name or 'Graph'}: a Graph has its sizes; give them where it is read, "
            "as in read_onnx(path, dims={'sequence': 128})"
        )
    return source if sizes.batch_size is None else source.with_batch(sizes.batch_size)


def graphs_of(models: object, sizes: Sizes | None = None) -> list[Graph]:
    """The Graphs of one network or several."""
    return [graph_of(source, sizes or Sizes()) for source in several(models)]


def traced(module: Any, example_inputs: Any, sizes: Sizes) -> Graph:
    """The Graph of a PyTorch module. Raises ConfigError where this is none, or sizes are given besides its inputs."""
    listed = example_inputs if isinstance(example_inputs, list | tuple) else [example_inputs]
    if any(isinstance(one, str) for one in listed):
        raise ConfigError(f"{example_inputs!r}: devices are given by name, as in predict(model, devices={listed[0]!r})")
    if not hasattr(module, "state_dict"):
        raise ConfigError(f"{type(module).__name__}: example_inputs are for a PyTorch module; leave them out")
    if sizes:
        raise ConfigError(
            f"{type(module).__name__}: a module has the sizes of its example inputs; give example inputs of the sizes "
            "that you want, without batch_size, input_shapes and dims"
        )
    return read_torch(module, example_inputs)


def one_graph(model: object, example_inputs: object, sizes: Sizes) -> Graph:
    """The Graph of one network, or of a PyTorch module with example inputs. Raises ConfigError for several."""
    if example_inputs is not None:
        return traced(model, example_inputs, sizes)
    networks = several(model)
    if len(networks) != 1:
        raise ConfigError(f"{len(networks)} networks: give one")
    return graph_of(networks[0], sizes)


def names_of(devices: object) -> list[str] | None:
    """Devices, one or several, in a list; None for all. Raises ConfigError for what is no name."""
    if devices is None:
        return None
    names: list[object] = [devices] if isinstance(devices, str) or not isinstance(devices, Iterable) else list(devices)
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"devices={devices!r}: give the name of a device, or a list of names, as `narformer devices` shows them"
        )
    return cast("list[str]", names)
