"""Losses. Targets that were not measured are NaN and count for nothing."""

from __future__ import annotations

import torch
from torch import Tensor


def relative_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of (prediction / target − 1)² over the measured targets (NAR-Former V2, section 3.4): (B, K) -> ()."""
    measured = torch.isfinite(target)
    error = prediction / torch.where(measured, target, 1.0) - 1
    return (error.square() * measured).sum() / measured.sum().clamp_min(1)
