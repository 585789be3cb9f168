"""NAR-Former V2 (Yi et al., NeurIPS 2023, arXiv 2306.10792): a transformer whose attention is aided by the graph.

Whole networks only see their direct neighbours; scores are non-negative and normalised by their sum instead of a
softmax, so attention costs one dot product an edge and a batch needs no padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.interface import register
from narformer.models.layers import (
    Dropout,
    GroupedFeedForward,
    Head,
    PooledModel,
    StaticBranch,
    degree,
    full_precision,
    neighbour_sum,
    pool_sum,
    undirected,
    unit_length,
    widened,
)


@dataclass(frozen=True)
class NarformerV2Config:
    """Sizes of the model; the defaults are the paper's for whole networks, with one output a device."""

    token_width: int = 152
    static_width: int = 40
    hidden: int = 512
    blocks: int = 2
    groups: int = 8
    expansion: int = 4
    dropout: float = 0.05
    outputs: int = 1


class GraphAidedAttention(nn.Module):
    """Attention between neighbours, gated by degree (paper, section 3.3): (T, inputs) -> (T, outputs), unit length."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.degree = nn.Linear(1, inputs)
        self.score = nn.Linear(inputs, inputs)
        self.aggregate = nn.Linear(inputs, outputs)
        self.root = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """x (T, inputs); edges (2, E), both directions."""
        tokens, width = x.shape
        gate = torch.sigmoid(self.degree(degree(edges, tokens, x.dtype).unsqueeze(1)))
        x = x.to(gate.dtype) * gate
        s = torch.sigmoid(self.score(x))
        products = s.index_select(0, edges[0]) * s.index_select(0, edges[1])
        scores = widened(products.sum(dim=1)) / math.sqrt(width)
        total = scores.new_zeros(tokens).index_add(0, edges[1], scores)
        weights = scores / (total.index_select(0, edges[1]) + 1e-6)
        out = self.aggregate(neighbour_sum(x, edges, weights.to(x.dtype))) + self.root(x)
        return unit_length(out)


class GraphAidedBlock(nn.Module):
    """Graph-aided attention, then the grouped feed-forward network with a layer scale: (T, inputs) -> (T, hidden)."""

    def __init__(self, inputs: int, hidden: int, groups: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.attention = GraphAidedAttention(inputs, hidden)
        self.norm = nn.LayerNorm(hidden)
        self.feed_forward = GroupedFeedForward(hidden, expansion, groups, dropout)
        self.dropout = Dropout(dropout)
        self.scale = nn.Parameter(torch.full((hidden,), 1e-4))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        h = self.dropout(functional.relu(self.attention(x, edges)))
        return h + self.scale.to(h.dtype) * self.feed_forward(self.norm(h))


@register("narformer_v2", NarformerV2Config, "narformer_v2")
class NarformerV2(PooledModel):
    """The paper's model for whole networks: latency in ms on each device, positive."""

    def __init__(self, config: NarformerV2Config) -> None:
        super().__init__()
        self.config = config
        widths = [config.token_width] + [config.hidden] * (config.blocks - 1)
        self.blocks = nn.ModuleList(
            GraphAidedBlock(width, config.hidden, config.groups, config.expansion, config.dropout) for width in widths
        )
        self.static = StaticBranch(config.static_width, config.hidden, config.dropout)
        self.head = Head(2 * config.hidden, config.hidden, config.outputs, config.dropout)

    def pooled(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """Sum over tokens beside the static branch, (B, 2·hidden): what the head reads."""
        both = undirected(edges)
        x = features
        for block in self.blocks:
            x = block(x, both)
        with full_precision(x):
            return torch.cat([pool_sum(x, graph, static.shape[0]), self.static(static)], dim=1)
