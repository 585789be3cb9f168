"""NN-Former for cells (Xu et al., CVPR 2025): twelve layers of relation attention and graph MLP."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.layers import Head, full_precision, pool_sum
from narformer.models.nn_former import GraphMlp, NnFormerLayer, RelationAttention, relations


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

    def dense(self, features: Tensor, adjacency: Tensor, present: Tensor) -> Tensor:
        """The same from arrays of one shape: features (B, V, token_width), adjacency (B, V, V), present (B, V) -> (B,).

        adjacency: 1 from producer (row) to consumer (column); present: 1 where the cell has a node, 0 elsewhere.
        """
        itself = torch.eye(adjacency.shape[1], device=adjacency.device)
        children, parents = adjacency, adjacency.transpose(1, 2)
        related = torch.stack([children, parents, parents @ children, children @ parents], dim=1) + itself > 0
        x = self.embedding(features)
        for layer in self.layers:
            x = _dense_layer(layer, x, adjacency, related)
        x = self.norm(x) * present.unsqueeze(2)
        average = x.sum(dim=1) / present.sum(dim=1, keepdim=True).clamp_min(1)
        return functional.softplus(self.head(average)).squeeze(1)


def _dense_layer(layer: nn.Module, x: Tensor, adjacency: Tensor, related: Tensor) -> Tensor:
    """NnFormerLayer on x (B, V, D): related (B, 4, V, V), which token (last axis) each token looks at, a head each."""
    assert isinstance(layer, NnFormerLayer)
    x = x + layer.attention_scale * _dense_attention(layer.attention, layer.attention_norm(x), related)
    return x + layer.mlp_scale * _dense_mlp(layer.mlp, layer.mlp_norm(x), adjacency)


def _dense_attention(attention: RelationAttention, x: Tensor, related: Tensor) -> Tensor:
    cells, places, width = x.shape
    query, key, value = (
        attention.query_key_value(x).view(cells, places, 3, attention.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    )
    scores = query @ key.transpose(2, 3) / (width // attention.heads) ** 0.5
    weights = attention.dropout(scores.masked_fill(~related, -torch.inf).softmax(dim=3))
    mixed = (weights @ value).transpose(1, 2).reshape(cells, places, width)
    return attention.dropout(attention.project(mixed))  # type: ignore[no-any-return]


def _dense_mlp(mlp: GraphMlp, x: Tensor, adjacency: Tensor) -> Tensor:
    children, parents = mlp.neighbours(x).chunk(2, dim=2)
    mixed = torch.cat([adjacency @ children, adjacency.transpose(1, 2) @ parents], dim=2)
    return mlp.dropout(mlp.down(mlp.dropout(functional.relu(mlp.up(x) + mixed))))  # type: ignore[no-any-return]
