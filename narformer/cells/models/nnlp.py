"""A GraphSAGE baseline for cells, in the manner of NNLP (Liu et al., ICPP 2022): two layers, sum, head."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from narformer.models.layers import Dropout, Head, full_precision, pool_sum, undirected
from narformer.models.nnlp import SageLayer


@dataclass(frozen=True)
class NnlpCellsConfig:
    """Sizes of the model."""

    token_width: int = 128
    hidden: int = 512
    layers: int = 2
    dropout: float = 0.05


class NnlpCells(nn.Module):
    """Accuracy of cells, a positive number; arguments as in NarformerV2Cells."""

    def __init__(self, config: NnlpCellsConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.token_width] + [config.hidden] * (config.layers - 1)
        self.layers = nn.ModuleList(SageLayer(width, config.hidden) for width in widths)
        self.dropout = Dropout(config.dropout)
        self.head = Head(config.hidden, config.hidden, 1, config.dropout)

    def forward(self, features: Tensor, edges: Tensor, graph: Tensor, cells: int) -> Tensor:
        both = undirected(edges)
        x = features
        for layer in self.layers:
            x = self.dropout(functional.relu(layer(x, both)))
        with full_precision(x):
            return functional.softplus(-self.head(pool_sum(x, graph, cells))).squeeze(1)
