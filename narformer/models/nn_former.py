"""NN-Former (Xu et al., CVPR 2025, arXiv 2507.00880): attention over children, parents and siblings, directed.

Head k looks only along relation k; each relation also holds the token itself. The channel mixer sums over children and
parents inside its hidden layer.
"""

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
    full_precision,
    neighbour_sum,
    pool_sum,
    widened,
)


@dataclass(frozen=True)
class NnFormerConfig:
    """Sizes of the model; the defaults are those for whole networks, with one output a device."""

    token_width: int = 152
    static_width: int = 40
    hidden: int = 512
    layers: int = 2
    expansion: int = 4
    dropout: float = 0.05
    layer_scale: float = 1e-4
    outputs: int = 1


def relations(edges: Tensor, tokens: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The four relations of the paper, as edges (2, E) from the token looked at to the token that looks.

    Children A, parents Aᵀ, siblings by a parent AᵀA and by a child AAᵀ, each with every token itself, without doubles.
    """
    itself = torch.arange(tokens, device=edges.device).repeat(2, 1)
    children = torch.cat([edges.flip(0), itself], dim=1)
    parents = torch.cat([edges, itself], dim=1)
    by_parent = _unique(torch.cat([_pairs(edges[0], edges[1], tokens), itself], dim=1), tokens)
    by_child = _unique(torch.cat([_pairs(edges[1], edges[0], tokens), itself], dim=1), tokens)
    return children, parents, by_parent, by_child


def _pairs(group: Tensor, member: Tensor, groups: int) -> Tensor:
    """All ordered pairs of members of the same group: (E,), (E,) -> (2, P)."""
    order = torch.argsort(group, stable=True)
    group, member = group[order], member[order]
    size = torch.bincount(group, minlength=groups)
    start = torch.cumsum(size, 0) - size
    repeats = size[group]
    left = torch.repeat_interleave(torch.arange(len(group), device=group.device), repeats)
    place = torch.arange(len(left), device=group.device) - (torch.cumsum(repeats, 0) - repeats)[left]
    return torch.stack([member[start[group[left]] + place], member[left]])


def _unique(pairs: Tensor, tokens: int) -> Tensor:
    keys = torch.unique(pairs[0] * tokens + pairs[1])
    return torch.stack([torch.div(keys, tokens, rounding_mode="floor"), keys % tokens])


def edge_softmax(scores: Tensor, readers: Tensor, tokens: int) -> Tensor:
    """Softmax of scores (E,) over the edges of each reader (E,)."""
    scores = widened(scores)
    # Subtracting the largest score changes nothing but keeps exp finite; no gradient has to pass through it.
    largest = torch.full((tokens,), -torch.inf, dtype=scores.dtype, device=scores.device)
    largest = largest.scatter_reduce(0, readers, scores.detach(), "amax")
    exponentials = torch.exp(scores - largest.index_select(0, readers))
    total = exponentials.new_zeros(tokens).index_add(0, readers, exponentials)
    return exponentials / total.index_select(0, readers)


class RelationAttention(nn.Module):
    """Multi-head attention, a head a relation (paper, section 3.2, ASMA): (T, D) -> (T, D)."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, edges: tuple[Tensor, ...]) -> Tensor:
        tokens, width = x.shape
        head_width = width // self.heads
        query, key, value = self.query_key_value(x).view(tokens, 3, self.heads, head_width).unbind(1)
        outputs = []
        for head, (seen, reader) in enumerate(edges):
            products = query[:, head].index_select(0, reader) * key[:, head].index_select(0, seen)
            weights = self.dropout(edge_softmax(products.sum(dim=1) / head_width**0.5, reader, tokens))
            edge = torch.stack([seen, reader])
            outputs.append(neighbour_sum(value[:, head].contiguous(), edge, weights.to(x.dtype)))
        return self.dropout(self.project(torch.cat(outputs, dim=1)))


class GraphMlp(nn.Module):
    """W2 ReLU(W1 x + [A G1 x ; Aᵀ G2 x]) (paper, section 3.3, BGIFFN): (T, D) -> (T, D)."""

    def __init__(self, width: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.up = nn.Linear(width, expansion * width, bias=False)
        self.neighbours = nn.Linear(width, expansion * width, bias=False)
        self.down = nn.Linear(expansion * width, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        children, parents = self.neighbours(x).chunk(2, dim=1)
        mixed = torch.cat([neighbour_sum(children, edges.flip(0)), neighbour_sum(parents, edges)], dim=1)
        return self.dropout(self.down(self.dropout(functional.relu(self.up(x) + mixed))))


class NnFormerLayer(nn.Module):
    """Pre-norm layer: relation attention, then the graph MLP, each added with a layer scale: (T, D) -> (T, D)."""

    def __init__(self, width: int, expansion: int, dropout: float, layer_scale: float) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = RelationAttention(width, 4, dropout)
        self.attention_scale = nn.Parameter(torch.full((width,), layer_scale))
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp = GraphMlp(width, expansion, dropout)
        self.mlp_scale = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, x: Tensor, edges: Tensor, related: tuple[Tensor, ...]) -> Tensor:
        x = x + self.attention_scale.to(x.dtype) * self.attention(self.attention_norm(x), related)
        return x + self.mlp_scale.to(x.dtype) * self.mlp(self.mlp_norm(x), edges)


class Reduction(nn.Module):
    """What stands before the sum over tokens: x ← 0.01 LayerNorm(x), then a residual MLP of twice the width."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x) * 0.01
        return x + self.down(self.dropout(functional.relu(self.up(x))))


@register("nn_former", NnFormerConfig, "narformer_v2")
class NnFormer(PooledModel):
    """Latency in ms on each device, positive; reads the direction of the edges."""

    sign = 1.0

    def __init__(self, config: NnFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.token_width, config.hidden)
        self.layers = nn.ModuleList(
            NnFormerLayer(config.hidden, config.expansion, config.dropout, config.layer_scale)
            for _ in range(config.layers)
        )
        self.reduction = Reduction(config.hidden, config.dropout)
        self.static = StaticBranch(config.static_width, config.hidden, config.dropout)
        self.head = Head(2 * config.hidden, config.hidden, config.outputs, config.dropout)

    def pooled(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """Sum over tokens beside the static branch, (B, 2·hidden)."""
        related = relations(edges, features.shape[0])
        x = self.embedding(features)
        for layer in self.layers:
            x = layer(x, edges, related)
        x = self.reduction(x)
        with full_precision(x):
            return torch.cat([pool_sum(x, graph, static.shape[0]), self.static(static)], dim=1)
