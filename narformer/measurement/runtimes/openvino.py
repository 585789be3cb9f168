"""OpenVINO: CPU, and Intel's GPUs and NPUs where their drivers are present."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

from narformer.errors import MissingExtraError, ModelError
from narformer.measurement.runtimes.runtime import processor_of
from narformer.measurement.timing import Run
from narformer.measurement.weights import MAX_BYTES, Runnable
from narformer.prediction.target import Target


@dataclass(frozen=True)
class OpenVino:
    """One stream, tuned for latency. Computes in float32 even where the processor could use bfloat16."""

    name: str = "openvino"
    install: str = "pip install openvino"

    def version(self) -> str:
        """Version of the runtime. Raises MissingExtraError where it is not installed."""
        try:
            return str(_imported().__version__)
        except ImportError as error:
            raise MissingExtraError(f"OpenVINO is not installed: {self.install}") from error

    def processors(self) -> tuple[str, ...]:
        """Names of the processors that it can run on here."""
        openvino = _imported()
        # "GPU.0" and "GPU.1" are two of a kind: the first is meant.
        return tuple(dict.fromkeys(name.partition(".")[0].lower() for name in openvino.Core().available_devices))

    def load(self, network: Runnable, target: Target) -> Run:
        """Make a network ready to run, as `Runtime.load` says."""
        openvino = _imported()
        processor = processor_of(target, ("gpu", "npu"))
        if network.model.ByteSize() > MAX_BYTES:
            raise ModelError(f"{network.graph.name}: its weights are beyond 2 GB, more than can be handed over at once")
        settings: dict[str, str | int | bool] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if processor == "cpu":
            # The process is pinned as a whole; OpenVINO is not to choose other cores.
            settings |= {"INFERENCE_NUM_THREADS": target.threads or 1, "NUM_STREAMS": 1, "ENABLE_CPU_PINNING": False}
        try:
            core = openvino.Core()
            model = core.read_model(network.model.SerializeToString(), b"")
            request = core.compile_model(model, processor.upper(), settings).create_infer_request()
            for name, array in network.inputs.items():
                request.set_tensor(name, openvino.Tensor(array))
            request.infer()
        except Exception as error:  # OpenVINO raises RuntimeError and classes of its own
            raise ModelError(f"{network.graph.name}: OpenVINO rejects it: {error}") from error

        def run() -> None:
            request.infer()

        return run


def _imported() -> Any:
    """OpenVINO, imported as if its telemetry were not installed, which it allows: importing it reports to its makers.

    Nothing else turns that off but a file in the user's home directory, which is the user's.
    """
    absent = "openvino_telemetry" not in sys.modules
    if absent:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino

        return openvino
    finally:
        if absent:
            del sys.modules["openvino_telemetry"]
