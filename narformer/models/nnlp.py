"""NNLP (Liu et al., ICPP 2022), the predictor of NNLQP: GraphSAGE over the operators, beside static features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.interface import register
from narformer.models.layers import (
    Dropout,
    Head,
    PooledModel,
    StaticBranch,
    degree,
    full_precision,
    neighbour_sum,
    pool_sum,
    undirected,
    unit_length,
)


@dataclass(frozen=True)
class NnlpConfig:
    """Sizes of the model; the defaults are the paper's, with one output a device."""

    token_width: int = 44
    static_width: int = 4
    hidden: int = 512
    layers: int = 2
    dropout: float = 0.05
    outputs: int = 1


class SageLayer(nn.Module):
    """GraphSAGE with the mean of the neighbours (Hamilton et al., 2017): (T, inputs) -> (T, outputs), unit length."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.neighbours = nn.Linear(inputs, outputs)
        self.root = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        count = degree(edges, x.shape[0], x.dtype).clamp_min(1).unsqueeze(1)
        return unit_length(self.neighbours(neighbour_sum(x, edges) / count) + self.root(x))


@register("nnlp", NnlpConfig, "nnlp")
class Nnlp(PooledModel):
    """Latency in ms on each device, positive; tokens 44 wide and 4 static features."""

    def __init__(self, config: NnlpConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.token_width] + [config.hidden] * (config.layers - 1)
        self.layers = nn.ModuleList(SageLayer(width, config.hidden) for width in widths)
        self.dropout = Dropout(config.dropout)
        self.static = StaticBranch(config.static_width, config.hidden, config.dropout)
        self.head = Head(2 * config.hidden, config.hidden, config.outputs, config.dropout)

    def pooled(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """Sum over tokens beside the static branch, (B, 2·hidden)."""
        both = undirected(edges)
        x = features
        for layer in self.layers:
            x = self.dropout(functional.relu(layer(x, both)))
        with full_precision(x):
            return torch.cat([pool_sum(x, graph, static.shape[0]), self.static(static)], dim=1)
