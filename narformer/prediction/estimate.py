"""What is predicted of one network on one device."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Estimate:
    """One predicted (or measured, or adapted) latency.

    low_ms, high_ms: interval that holds the truth for `level` of networks like those the predictor was tested on.
    held_out_mape: the predictor's measured error on held-out networks of this device, in percent.
    """

    model: str
    device: str
    latency_ms: float
    low_ms: float
    high_ms: float
    source: str = "predicted"
    level: float = 0.9
    held_out_mape: float | None = None
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The Estimate as JSON's types."""
        return {**asdict(self), "warnings": list(self.warnings)}
