"""The runtimes by name."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.errors import ConfigError, did_you_mean
from narformer.measurement.runtimes.onnxruntime import OnnxRuntime
from narformer.measurement.runtimes.openvino import OpenVino
from narformer.measurement.runtimes.pytorch import PyTorch
from narformer.measurement.runtimes.runtime import Runtime

_ALL: tuple[Runtime, ...] = (OnnxRuntime(), OpenVino(), PyTorch(), PyTorch(compiled=True))
RUNTIMES: Mapping[str, Runtime] = {runtime.name: runtime for runtime in _ALL}


def runtime(name: str) -> Runtime:
    """Raises ConfigError for a runtime that does not exist."""
    if name not in RUNTIMES:
        raise ConfigError(f"unknown runtime {name!r}; {did_you_mean(name, RUNTIMES)}known are {', '.join(RUNTIMES)}")
    return RUNTIMES[name]
