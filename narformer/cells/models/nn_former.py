"""NN-Former for cells (Xu et al., CVPR 2025): twelve layers of relation attention and graph MLP."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from narformer.models.layers import Head, full_precision, pool_sum
from narformer.models.nn_former import NnFormerLayer, relations


@dataclass(frozen=True)
class NnFormerCellsConfig:
    """Sizes of the model; the defaults are the paper's."""

    token_width: int = 128
    hidden: int = 192
    layers: int = 12
    expansion: int = 4
    dropout: float = 0.1


class NnFormerCells(nn.Module):
    """Accuracy of cells, a positive number; arguments as in NarformerV2Cells."""

    def __init__(self, config: NnFormerCellsConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.token_width, config.hidden)
        self.layers = nn.ModuleList(
            NnFormerLayer(config.hidden, config.expansion, config.dropout, 1.0) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.hidden)
        self.head = Head(config.hidden, config.hidden, 1, config.dropout)

    def forward(self, features: Tensor, edges: Tensor, graph: Tensor, cells: int) -> Tensor:
        related = relations(edges, features.shape[0])
        x = self.embedding(features)
        for layer in self.layers:
            x = layer(x, edges, related)
        with full_precision(x):
            x = self.norm(x.float())
            sizes = pool_sum(x.new_ones(len(x), 1), graph, cells).clamp_min(1)
            return functional.softplus(self.head(pool_sum(x, graph, cells) / sizes)).squeeze(1)
