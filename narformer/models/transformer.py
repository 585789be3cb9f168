"""A plain transformer encoder over the same tokens: the baseline that tells what graph aid is worth.

It sees no edge. Order reaches it through the sinusoidal code of a token's place in the sequence (Vaswani et al., 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from narformer.models.interface import register
from narformer.models.layers import Head, PooledModel, StaticBranch, full_precision, pool_sum


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of the model, chosen to cost about what NAR-Former V2 does."""

    token_width: int = 152
    static_width: int = 40
    hidden: int = 256
    layers: int = 2
    heads: int = 4
    expansion: int = 4
    dropout: float = 0.05
    outputs: int = 1


@register("transformer", TransformerConfig, "narformer_v2")
class Transformer(PooledModel):
    """Latency in ms on each device, positive; the edges are not looked at."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Linear(config.token_width, config.hidden)
        layer = nn.TransformerEncoderLayer(
            config.hidden,
            config.heads,
            config.hidden * config.expansion,
            config.dropout,
            batch_first=True,
            norm_first=True,
        )
        # Normalised and made small before the sum, as in NN-Former: without it the first latencies are so far off that
        # the relative loss drives the output to 0 for good.
        self.encoder = nn.TransformerEncoder(layer, config.layers, nn.LayerNorm(config.hidden), False)
        self.static = StaticBranch(config.static_width, config.hidden, config.dropout)
        self.head = Head(2 * config.hidden, config.hidden, config.outputs, config.dropout)

    def pooled(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """Sum over tokens beside the static branch, (B, 2·hidden)."""
        networks = static.shape[0]
        sizes = torch.bincount(graph, minlength=networks)
        place = torch.arange(len(graph), device=graph.device) - (torch.cumsum(sizes, 0) - sizes)[graph]
        embedded = self.embedding(features) + place_code(place, self.config.hidden)
        # Full attention needs the networks side by side: padded to the longest, the padding masked.
        padded = embedded.new_zeros(networks, int(sizes.max()), self.config.hidden)
        padded[graph, place] = embedded
        padding = torch.arange(padded.shape[1], device=graph.device) >= sizes.unsqueeze(1)
        x = self.encoder(padded, src_key_padding_mask=padding)[graph, place] * 0.01
        with full_precision(x):
            return torch.cat([pool_sum(x, graph, networks), self.static(static)], dim=1)


def place_code(place: Tensor, width: int) -> Tensor:
    """Sinusoidal position code: (T,) -> (T, width)."""
    frequency = torch.exp(torch.arange(0, width, 2, device=place.device) * (-math.log(10000) / width))
    angle = place.unsqueeze(1) * frequency
    return torch.stack([torch.sin(angle), torch.cos(angle)], dim=2).flatten(1)
