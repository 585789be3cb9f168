"""Losses. Targets that were not measured are NaN and count for nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


def relative_mse(prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of (prediction / target − 1)² over the measured targets (NAR-Former V2, section 3.4): (B, K) -> ().

    weights (K,): of each target's.
    """
    measured = torch.isfinite(target)
    error = (prediction / torch.where(measured, target, 1.0) - 1).square() * measured
    return (error if weights is None else error * weights).sum() / measured.sum().clamp_min(1)


def log_l1(prediction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of |ln(prediction / target)| over the measured targets: (B, K) -> (). weights (K,): of each target's."""
    measured = torch.isfinite(target)
    error = torch.log(prediction) - torch.log(torch.where(measured, target, 1.0))
    error = torch.where(measured, error.abs(), 0.0)
    return (error if weights is None else error * weights).sum() / measured.sum().clamp_min(1)


FEW = 300  # networks; targets with fewer weigh no more each


def balanced(counts: Tensor, power: float) -> Tensor:
    """Weights of targets by how many networks were measured on each, (K,): mean 1 over all measurements.

    power: 0 for equal weights of measurements, 1 for equal weights of targets.
    """
    weights = counts.clamp_min(FEW).double() ** -power
    return (weights * counts.sum() / (weights * counts).sum()).float()


LOSSES: Mapping[str, Callable[..., Tensor]] = {"relative_mse": relative_mse, "log_l1": log_l1}
