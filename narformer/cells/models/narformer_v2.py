"""NAR-Former V2 for cells (Yi et al., NeurIPS 2023): accuracy of a NAS-Bench cell, from six graph-aided blocks.

Each block's tokens are averaged; learned weights, one a block and cell, mix the six averages before the head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.layers import Head, full_precision, pool_sum, undirected, unit_length
from narformer.models.narformer_v2 import GraphAidedAttention, GraphAidedBlock


@dataclass(frozen=True)
class NarformerV2CellsConfig:
    """Sizes of the model; the defaults are the paper's."""

    token_width: int = 128
    hidden: int = 512
    blocks: int = 6
    groups: int = 8
    expansion: int = 4
    dropout: float = 0.05


class NarformerV2Cells(nn.Module):
    """Accuracy of cells, a positive number (targets are fractions of 1).

    forward: features (T, token_width), edges (2, E) producer -> consumer, graph (T,) the cell of each token,
    cells B -> (B,).
    """

    def __init__(self, config: NarformerV2CellsConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.token_width] + [config.hidden] * (config.blocks - 1)
        self.blocks = nn.ModuleList(
            GraphAidedBlock(width, config.hidden, config.groups, config.expansion, config.dropout) for width in widths
        )
        mixed = config.blocks * config.hidden
        self.fusion_1 = nn.Linear(mixed, mixed // 4)
        self.fusion_2 = nn.Linear(mixed // 4, config.blocks)
        self.head = Head(config.hidden, config.hidden, 1, config.dropout)

    def pooled(self, features: Tensor, edges: Tensor, graph: Tensor, cells: int) -> Tensor:
        """The weighted sum of the blocks' averages, (B, hidden)."""
        both = undirected(edges)
        sizes = pool_sum(torch.ones_like(features[:, :1]), graph, cells).clamp_min(1)
        x, averages = features, []
        for block in self.blocks:
            x = block(x, both)
            averages.append(pool_sum(x, graph, cells) / sizes)
        with full_precision(x):
            return self.fused(averages)

    def fused(self, averages: list[Tensor]) -> Tensor:
        """The blocks' averages, (B, hidden) each, by weights that depend on them: (B, hidden)."""
        weights = torch.sigmoid(self.fusion_2(functional.relu(self.fusion_1(torch.cat(averages, dim=1)))))
        return (torch.stack(averages, dim=1) * weights.unsqueeze(2)).sum(dim=1)

    def forward(self, features: Tensor, edges: Tensor, graph: Tensor, cells: int) -> Tensor:
        pooled = self.pooled(features, edges, graph, cells)
        with full_precision(pooled):
            return functional.softplus(-self.head(pooled)).squeeze(1)

    def dense(self, features: Tensor, adjacency: Tensor, present: Tensor) -> Tensor:
        """The same from arrays of one shape: features (B, V, token_width), adjacency (B, V, V), present (B, V) -> (B,).

        adjacency: 1 from producer (row) to consumer (column); present: 1 where the cell has a node, 0 elsewhere.
        """
        cells, places, _ = features.shape
        both = adjacency + adjacency.transpose(1, 2)
        sizes = present.sum(dim=1, keepdim=True).clamp_min(1)
        x, averages = features, []
        for block in self.blocks:
            assert isinstance(block, GraphAidedBlock)
            attended = _dense_attention(block.attention, x, both).flatten(0, 1)
            h = block.dropout(functional.relu(attended))
            x = (h + block.scale * block.feed_forward(block.norm(h))).view(cells, places, -1)
            averages.append((x * present.unsqueeze(2)).sum(dim=1) / sizes)
        return functional.softplus(-self.head(self.fused(averages))).squeeze(1)


def _dense_attention(attention: GraphAidedAttention, x: Tensor, both: Tensor) -> Tensor:
    """GraphAidedAttention on x (B, V, inputs); both (B, V, V): 1 between neighbours."""
    x = x * torch.sigmoid(attention.degree(both.sum(dim=2, keepdim=True)))
    s = torch.sigmoid(attention.score(x))
    scores = s @ s.transpose(1, 2) / math.sqrt(x.shape[2]) * both
    weights = scores / (scores.sum(dim=2, keepdim=True) + 1e-6)
    out = attention.aggregate(weights @ x) + attention.root(x)
    return unit_length(out.flatten(0, 1)).view(out.shape)
