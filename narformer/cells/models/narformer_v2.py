"""NAR-Former V2 for cells (Yi et al., NeurIPS 2023): accuracy of a NAS-Bench cell, from six graph-aided blocks.

Each block's tokens are averaged; learned weights, one a block and cell, mix the six averages before the head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.layers import Head, full_precision, pool_sum, undirected
from narformer.models.narformer_v2 import GraphAidedBlock


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
            weights = torch.sigmoid(self.fusion_2(functional.relu(self.fusion_1(torch.cat(averages, dim=1)))))
            return (torch.stack(averages, dim=1) * weights.unsqueeze(2)).sum(dim=1)

    def forward(self, features: Tensor, edges: Tensor, graph: Tensor, cells: int) -> Tensor:
        pooled = self.pooled(features, edges, graph, cells)
        with full_precision(pooled):
            return functional.softplus(-self.head(pooled)).squeeze(1)
