"""Losses. Targets that were not measured are NaN and count for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def relative_mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of (prediction / target − 1)² over the measured targets (NAR-Former V2, section 3.4): (B, K) -> ()."""
    measured = torch.isfinite(target)
    error = prediction / torch.where(measured, target, 1.0) - 1
    return (error.square() * measured).sum() / measured.sum().clamp_min(1)


def log_l1(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean of |ln(prediction / target)| over the measured targets: (B, K) -> ()."""
    measured = torch.isfinite(target)
    error = torch.log(prediction) - torch.log(torch.where(measured, target, 1.0))
    return torch.where(measured, error.abs(), 0.0).sum() / measured.sum().clamp_min(1)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"relative_mse": relative_mse, "log_l1": log_l1}
