"""Tally: a network's latency as the sum of its nodes', each known from what the node does and where it stands.

Ours. Physical tokens (tokens/physical.py); a few rounds of directed message passing, so that a node knows what it can
be fused with; then milliseconds a node and device, as a roofline (so much a MAC, so much a byte, so much a call) times
the exponential of a learned correction. The sum extrapolates with depth, the roofline with width, and every node's
share of the latency is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.layers import degree, full_precision, neighbour_sum, pool_sum


@dataclass(frozen=True)
class TallyConfig:
    """Sizes of the model. group_dropout: how often training hides a node's group, so that its class stands in."""

    token_width: int = 43
    static_width: int = 4
    numbers: int = 18  # columns of a token before its operator's class, then its group
    classes: int = 6
    groups: int = 14
    hidden: int = 128
    rounds: int = 3
    group_dropout: float = 0.05
    outputs: int = 1


class DirectedRound(nn.Module):
    """One round: each token hears the mean and the sum of its producers, and of its consumers. (T, D) -> (T, D)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(3 * width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, edges: Tensor, sources: Tensor, readers: Tensor) -> Tensor:
        y = self.norm(x)
        before = neighbour_sum(y, edges) * sources
        after = neighbour_sum(y, edges.flip(0)) * readers
        return x + self.down(functional.silu(self.up(torch.cat([y, before, after], dim=1))))


class Tally(nn.Module):
    """Latency in ms on each device, positive; arguments as every model of whole networks takes them."""

    seen: Tensor

    def __init__(self, config: TallyConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.token_width, config.hidden)
        # What training never shows (a group, a kernel size) must add nothing later, rather than something at random.
        self.register_buffer("seen", torch.zeros(config.token_width - config.numbers - config.classes))
        self.rounds = nn.ModuleList(DirectedRound(config.hidden) for _ in range(config.rounds))
        self.norm = nn.LayerNorm(config.hidden)
        self.correction = nn.Linear(config.hidden, config.outputs)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        # ln of ms a MAC, a byte and a call, a column a class of operators and device. Starts: 10 GMAC/s, 5 GB/s, 1 µs.
        start = torch.log(torch.tensor([1e-7, 2e-7, 1e-3]))
        self.roofline = nn.Parameter(start[:, None, None].repeat(1, config.classes, config.outputs))

    def node_vectors(self, features: Tensor, edges: Tensor) -> Tensor:
        """What is known of each token in its place, (T, hidden)."""
        first = self.config.numbers + self.config.classes
        numbers, told = features[:, :first], features[:, first:]
        if self.training:
            self.seen = torch.maximum(self.seen, told.amax(dim=0))
            hidden = torch.rand(len(features), 1, device=features.device) < self.config.group_dropout
            group = told[:, : self.config.groups].masked_fill(hidden, 0.0)
            features = torch.cat([numbers, group, told[:, self.config.groups :]], dim=1)
        else:
            features = torch.cat([numbers, told * self.seen], dim=1)
        sources = 1 / degree(edges, features.shape[0], features.dtype).clamp_min(1).sqrt().unsqueeze(1)
        readers = 1 / degree(edges.flip(0), features.shape[0], features.dtype).clamp_min(1).sqrt().unsqueeze(1)
        x = self.embedding(features)
        for each in self.rounds:
            x = each(x, edges, sources, readers)
        return self.norm(x)

    def node_latency(self, features: Tensor, vectors: Tensor) -> Tensor:
        """Milliseconds of each token on each device, (T, outputs)."""
        work = torch.expm1(20 * features[:, :2].clamp(0.0, 2.0))  # up to e⁴⁰ MACs or bytes
        kind = features[:, self.config.numbers : self.config.numbers + self.config.classes]
        per_mac, per_byte, per_call = (kind @ torch.exp(r) for r in self.roofline.unbind(0))
        physical = work[:, :1] * per_mac + work[:, 1:] * per_byte + per_call
        # An empty token, which fills a batch up, has no class, and so takes no time.
        return physical * torch.exp(6 * torch.tanh(self.correction(vectors) / 6))

    def parts(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """What `embed` returns, and the milliseconds of each token that it sums, (T, outputs)."""
        networks = static.shape[0]
        vectors = self.node_vectors(features, edges)
        with full_precision(vectors):
            wide = vectors.float()
            each = self.node_latency(features, wide)
            total = pool_sum(each, graph, networks).clamp_min(1e-9)
            count = pool_sum(torch.ones_like(features[:, :1]), graph, networks).clamp_min(1)
            return torch.cat([torch.log(total), pool_sum(wide, graph, networks) / count], dim=1), each

    def embed(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """ln of the latencies, then the mean of the node vectors: (B, outputs + hidden)."""
        return self.parts(features, edges, graph, static)[0]

    def from_embedding(self, vector: Tensor) -> Tensor:
        """Latency from the vector of `embed`, (B, outputs)."""
        return torch.exp(vector[:, : self.config.outputs])

    def forward(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        return self.from_embedding(self.embed(features, edges, graph, static))
