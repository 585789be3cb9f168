"""Modules as training leaves them."""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def as_if_trained(fresh: Module, scale: float = 1.0) -> Module:
    """A copy, each parameter off by a normal number times `scale`."""
    trained = copy.deepcopy(fresh)
    with torch.no_grad():
        for parameter in trained.parameters():
            parameter.add_(torch.randn_like(parameter) * scale)
    return trained
