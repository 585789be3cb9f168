"""What the process that keeps results and the one that runs networks say to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from narformer.graph import Shape
from narformer.measurement.timing import Plan


@dataclass(frozen=True)
class Setup:
    """What the worker runs networks with.

    cores: those it is pinned to; none: wherever the system puts it. first_reference_s: how long the reference network
    is timed before the first job; 0 where its first time on this device is known.
    """

    runtime: str
    processor: str
    threads: int
    cores: tuple[int, ...]
    plan: Plan
    first_reference_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """One network. source: a path, or the bytes of an ONNX file.

    input_shapes: of every input, in place of a batch size. data: an .npz file with what the inputs hold.
    """

    name: str
    source: Path | bytes
    batch_size: int | None = None
    input_shapes: Mapping[str, Shape] | None = None
    data: Path | None = None


@dataclass(frozen=True)
class Result:
    """What came of a job. failure: `kind: reason`.

    reference_ms: typical time of the reference network meanwhile; first_reference_ms: that when the worker started,
        if it was taken. min_ms, p90_ms, p99_ms, mean_ms: as a Timing's.
    """

    median_ms: float | None = None
    spread_ms: float | None = None
    repeats: int = 0
    reference_ms: float | None = None
    peak_memory_bytes: int | None = None
    failure: str = ""
    first_reference_ms: float | None = None
    min_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None

    def more_ms(self) -> dict[str, float | None]:
        """What is known of the repeats besides their median and spread."""
        return {"min_ms": self.min_ms, "p90_ms": self.p90_ms, "p99_ms": self.p99_ms, "mean_ms": self.mean_ms}
