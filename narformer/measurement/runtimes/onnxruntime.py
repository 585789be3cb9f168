"""ONNX Runtime: CPU, and whatever other execution providers the installed build has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from narformer.errors import MissingExtraError, ModelError
from narformer.measurement.runtimes.runtime import processor_of
from narformer.measurement.timing import Run
from narformer.measurement.weights import MAX_BYTES, Runnable
from narformer.prediction.target import Target
from narformer.telemetry import onnxruntime_without_telemetry

_PROVIDERS: Mapping[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "dml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}


@dataclass(frozen=True)
class OnnxRuntime:
    """All graph optimisations, sequential execution. TF32 is off on GPUs: an id that says fp32 means it."""

    name: str = "onnxruntime"
    install: str = "pip install onnxruntime   (onnxruntime-gpu for CUDA)"

    def version(self) -> str:
        """Version of the runtime. Raises MissingExtraError where it is not installed."""
        try:
            onnxruntime = onnxruntime_without_telemetry()
        except ImportError as error:
            raise MissingExtraError(f"ONNX Runtime is not installed: {self.install}") from error
        return str(onnxruntime.__version__)

    def processors(self) -> tuple[str, ...]:
        """Names of the processors that it can run on here."""
        available = onnxruntime_without_telemetry().get_available_providers()
        return tuple(name for name, provider in _PROVIDERS.items() if provider in available)

    def load(self, network: Runnable, target: Target) -> Run:
        """Make a network ready to run, as `Runtime.load` says."""
        onnxruntime = onnxruntime_without_telemetry()
        processor = processor_of(target, _PROVIDERS)
        if network.model.ByteSize() > MAX_BYTES:
            raise ModelError(f"{network.graph.name}: its weights are beyond 2 GB, more than can be handed over at once")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = target.threads or 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        # Random weights may lead to numbers that trained ones would not; those too small to be normal are zero.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        provider = _PROVIDERS[processor]
        wanted = (provider, {"use_tf32": "0"}) if processor == "cuda" else provider
        try:
            session = onnxruntime.InferenceSession(network.model.SerializeToString(), options, providers=[wanted])
        except Exception as error:  # ONNX Runtime raises classes of its own for each way to be rejected
            raise ModelError(f"{network.graph.name}: ONNX Runtime rejects it: {error}") from error
        if session.get_providers()[0] != provider:
            raise ModelError(f"{network.graph.name}: ONNX Runtime could not start {provider}; check its driver")
        if processor == "cpu":
            outputs, feed = None, dict(network.inputs)

            def run() -> None:
                session.run(outputs, feed)

            return run

        # Inputs and outputs stay on the device: copies over the bus are not the network's time.
        place = "cuda" if processor in ("cuda", "tensorrt", "rocm") else processor
        binding = session.io_binding()
        for name, array in network.inputs.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, place, 0))
        for output in session.get_outputs():
            binding.bind_output(output.name, place)

        def run_bound() -> None:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()

        return run_bound
