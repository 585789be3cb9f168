"""PyTorch, eager or compiled, on CPU or CUDA. Times on CUDA are those between two events on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from narformer.errors import MissingExtraError, ModelError
from narformer.measurement.runtimes.runtime import processor_of
from narformer.measurement.timing import Run
from narformer.measurement.weights import Runnable
from narformer.prediction.target import Target

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class PyTorch:
    """Runs a network operator by operator as PyTorch's own, or compiles it as a whole (TorchInductor).

    TF32 is off on GPUs: an id that says fp32 means it.
    """

    compiled: bool = False
    install: str = "pip install torch"

    @property
    def name(self) -> str:
        """`pytorch`, or `torchcompile`."""
        return "torchcompile" if self.compiled else "pytorch"

    def version(self) -> str:
        """Version of the runtime. Raises MissingExtraError where it is not installed."""
        try:
            import torch
        except ImportError as error:
            raise MissingExtraError(f"PyTorch is not installed: {self.install}") from error
        return str(torch.__version__)

    def processors(self) -> tuple[str, ...]:
        """Names of the processors that it can run on here."""
        import torch

        return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    def load(self, network: Runnable, target: Target) -> Run:
        """Make a network ready to run, as `Runtime.load` says."""
        import torch

        from narformer.measurement.runtimes.torch_network import TorchNetwork

        processor = processor_of(target, ())
        torch.set_num_threads(target.threads or 1)
        # Random weights may lead to numbers that trained ones would not; those too small to be normal are zero.
        torch.set_flush_denormal(True)
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        place = torch.device(processor)
        inputs = [torch.from_numpy(array).to(place) for array in network.inputs.values()]
        with torch.inference_mode():
            module: torch.nn.Module = TorchNetwork(network.model, dict(network.inputs), network.graph.name, place)
            module.eval()
        if self.compiled:
            module = _compile(module)

        @torch.inference_mode()
        def run() -> None:
            module(*inputs)

        @torch.inference_mode()
        def run_between_events() -> float:
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            module(*inputs)
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) / 1e3

        try:
            run()  # compiles, where it is to
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error)) from error
        except Exception as error:
            raise ModelError(f"{network.graph.name}: {self.name} rejects it: {error}") from error
        return run_between_events if processor == "cuda" else run


def _compile(module: torch.nn.Module) -> torch.nn.Module:
    import torch
    import torch._dynamo
    import torch._inductor.config

    torch._dynamo.reset()  # what was compiled for the network before
    torch._inductor.config.compile_threads = 1  # a pool of compilers would go on using cores while runs are timed
    return torch.compile(module, dynamic=False)  # type: ignore[return-value]
