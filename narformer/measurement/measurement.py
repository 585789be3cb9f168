"""One measurement: a Graph timed once on one target, or the reason why it could not be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Measurement:
    """One timed run of one Graph, at its batch size, on one target.

    graph: hash of the network (frontends.canonical.network_hash).
    model: what people call it (a path, a family's variant).
    device: id of the target (prediction/target.py), or whatever others call what they measured on.
    latency_ms: median over the repeats, already divided by `drift`; None where the run failed.
    spread_ms: half the distance between the quartiles of the repeats. repeats: timed runs behind the median.
    drift: how slow the device was at that moment (the reference network's time over its first time); 1 where unknown.
    peak_memory_bytes: highest resident memory of the measuring process, above what it had before loading the network.
    failure: why there is no latency; empty where there is one.
    session: id of the process run that measured; measured_at: UTC, ISO 8601.
    min_ms, p90_ms, p99_ms, mean_ms: of all repeats, divided by `drift` like the median; None where nobody told them.
    batch_size: the Graph's. precision: the numbers it computed in (fp32, int8, …); empty where that is not known.

    >>> Measurement("9c1f…", "resnet18.onnx", "epyc-turin:onnxruntime-1.32:fp32:1t", 16.2, batch_size=1).failure
    ''
    """

    graph: str
    model: str
    device: str
    latency_ms: float | None
    spread_ms: float | None = None
    repeats: int = 0
    drift: float = 1.0
    peak_memory_bytes: int | None = None
    failure: str = ""
    session: str = ""
    measured_at: str = ""
    batch_size: int = 1
    precision: str = ""
    min_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    mean_ms: float | None = None

    @property
    def throughput(self) -> float | None:
        """Inputs a second, one run after another: the batch size over the mean."""
        return None if not self.mean_ms else 1e3 * self.batch_size / self.mean_ms

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return asdict(self)

    def record(self) -> dict[str, Any]:
        """The same under the names that every command uses; `graph` and `device` are what two of them were called."""
        source = "failed" if self.failure else "measured"
        named = {"hash": self.graph, "model": self.model, "target": self.device}
        return {**named, **self.to_dict(), "throughput": self.throughput, "source": source}
