"""Tally: a network's latency as the sum of its kernels', each known from what it does and where it stands.

Ours. Tokens of kernels (tokens/kernels.py); a roofline in milliseconds a kernel: so much a MAC, a byte moved, a byte of
weights and a call, by kind of kernel and device; times the exponential of a correction that two rounds of directed
message passing learn. The sum extrapolates with depth, the roofline with width, and every node's share is known.

A kind's prices start from its class's, those from the device's own, and differing costs (`penalty`): so few networks
that hold a kind cannot give it a price that no other would bear out, and a kind never seen has the price of its class.
Kernels that read a number of channels that vectors do not divide run on other code: a factor by kind and device.
Devices cut convolutions into tiles, and cost jumps where one more is needed: factors by window, size and channels;
products element by element, squeeze-and-excite's among them, have factors of their own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.interface import KernelSum, register
from narformer.models.layers import degree, full_precision, neighbour_sum, pool_sum
from narformer.tokens.kernels import COLUMN, COLUMNS

# MACs, bytes moved and bytes of weights, one beside the other and of one scale.
_WORK = slice(COLUMN["macs"], COLUMN["weights"] + 1)
# ln of ms a MAC, a byte moved, a byte of weights, a call, from which training starts: 33 GMAC/s, 5 GB/s, 10 µs.
_START = (-17.3, -15.4, -15.4, -4.6)
_MOVED = 1
# What it costs, in mean |ln| error, that a price differs by a factor e: bytes vary least between kinds, calls most.
_PENALTIES = (1e-3, 2e-3, 1e-3, 7e-4)
_ODD_PENALTY = 1e-3
_SPEED = 20.0  # prices are learned so many times faster than weights
# Factors of tiles: for each window (as tokens tell them apart) and for products element by element, power of two of the
# height and sixteenth of an octave of the channels read, and again for those written.
_WINDOWS, _HEIGHTS, _CHANNELS = 5, 8, 256
_SHAPES = (_WINDOWS + 1) * _HEIGHTS
_TILE_SPEED = 4.0
# What a factor of a tile costs, and a step from one to the next number of channels: cost is a sawtooth of the channels,
# level between its teeth. Divided by the number of networks: so many must bear a factor out, however many there are.
_TILE_PENALTY = 0.1
_TILE_STEP_PENALTY = 0.8
TILE_NETWORKS = 5000  # where fewer were measured on a device, it has no such factors
# Weights that serve one position each are read once, in a stream; what windows read, they read again and again. So a
# byte of the former starts from so much of the price of the latter.
_STREAM = 0.3
_BOUND = 3.0  # of the correction, in ln
_CORRECTION_PENALTY = 0.1  # so that the roofline explains what it can, and stands where a network is unlike any seen


@dataclass(frozen=True)
class TallyConfig:
    """Sizes of the model, and of its tokens: `numbers` columns, then one a kind, then others (tokens/kernels.py).

    The last number says whether a kernel reads an odd number of channels. class_of: the class of each kind. unmoved:
    kinds that have calls alone. streamed: the kind whose weights serve one position each. multiply: the kind of
    products element by element. kind_dropout: how often training hides a kernel's kind from the correction.
    """

    token_width: int = 47
    static_width: int = 4
    numbers: int = 20
    class_of: tuple[int, ...] = (0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5)
    unmoved: tuple[int, ...] = (0, 19)
    streamed: int = 4
    multiply: int = 9
    hidden: int = 64
    rounds: int = 2
    kind_dropout: float = 0.05
    outputs: int = 1


class DirectedRound(nn.Module):
    """One round: each token hears the scaled sums of its producers and of its consumers. (T, D) -> (T, D)."""

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


class Roofline(nn.Module):
    """Milliseconds of kernels from their work: prices by kind and device, tied to those of the kind's class."""

    class_of: Tensor
    priced: Tensor
    ceiling: Tensor
    tiled: Tensor
    many: Tensor

    def __init__(self, config: TallyConfig) -> None:
        super().__init__()
        self.numbers, self.multiply = config.numbers, config.multiply
        terms, kinds, outputs = len(_START), len(config.class_of), config.outputs
        self.register_buffer("class_of", torch.tensor(config.class_of), persistent=False)
        # Views and inputs move nothing. A stream of weights is at most as dear as what else moves.
        priced, ceiling = torch.ones(terms, kinds, 1), torch.full((terms, kinds, 1), torch.inf)
        priced[:-1, list(config.unmoved)] = 0
        priced[_MOVED, config.streamed] = _STREAM
        ceiling[_MOVED, config.streamed] = -math.log(_STREAM) / _SPEED
        tiled = (self.class_of == 1).float()  # products of matrices but fully connected layers
        tiled[[config.streamed, config.multiply]] = torch.tensor([0.0, 1.0])
        self.register_buffer("priced", priced, persistent=False)
        self.register_buffer("ceiling", ceiling, persistent=False)
        self.register_buffer("tiled", tiled, persistent=False)
        self.register_buffer("many", torch.ones(outputs), persistent=False)
        self.device = nn.Parameter(torch.tensor(_START)[:, None, None].repeat(1, 1, outputs) / _SPEED)
        self.by_class = nn.Parameter(torch.zeros(terms, max(config.class_of) + 1, outputs))
        self.by_kind = nn.Parameter(torch.zeros(terms, kinds, outputs))
        self.by_oddity = nn.Parameter(torch.zeros(kinds, outputs))
        self.by_tile = nn.Parameter(torch.zeros(2 * _SHAPES * _CHANNELS, outputs))

    def prices(self) -> Tensor:
        """Milliseconds a unit of work, (terms, kinds, outputs)."""
        differs = torch.minimum(self.by_class[:, self.class_of] + self.by_kind, self.ceiling)
        return self.priced * torch.exp(_SPEED * (self.device + differs))

    def penalty(self, networks: int) -> Tensor:
        """What differing prices cost: nearly the sum of |ln|, but free for the call of inputs, a network's constant.

        networks: how many there are to learn from.
        """
        total = _ODD_PENALTY * size_of(_SPEED * self.by_oddity).sum(dim=0).mean()
        tile = _TILE_SPEED * self.by_tile.view(-1, _CHANNELS, self.by_tile.shape[1])
        for weight, factors in ((_TILE_PENALTY, tile), (_TILE_STEP_PENALTY, tile.diff(dim=1))):
            total = total + weight / networks * size_of(factors).sum(dim=(0, 1)).mean()
        for each in (self.by_class, self.by_kind):
            size = size_of(_SPEED * each[:, 1:])
            total = total + (size.sum(dim=1).mean(dim=1) * size.new_tensor(_PENALTIES)).sum()
        return total

    def kinds(self, features: Tensor) -> Tensor:
        """1 for the kind of each token, (T, kinds)."""
        return features[:, self.numbers : self.numbers + len(self.class_of)]

    def forward(self, features: Tensor) -> Tensor:
        """Milliseconds of each token of tokens/kernels.py, (T, outputs). One without a kind takes no time."""
        kind = self.kinds(features)
        odd = features[:, COLUMN["odd"], None]
        work = torch.expm1(COLUMNS["macs"] * features[:, _WORK].clamp(0.0, 2.0))  # up to e⁴⁰ MACs or bytes
        macs, moved, weights, calls = self.prices().unbind(0)
        even = (
            work[:, :1] * (kind @ macs) + work[:, 1:2] * (kind @ moved) + work[:, 2:] * (kind @ weights) + kind @ calls
        )
        read, written = self.tiles(features)
        tile = self.many * (self.by_tile.index_select(0, read) + self.by_tile.index_select(0, written))
        return even * torch.exp(
            _SPEED * odd * (kind @ self.by_oddity) + _TILE_SPEED * (kind @ self.tiled)[:, None] * tile
        )

    def tiles(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of `by_tile` for what each token reads and for what it writes, (T,) each."""
        ln_channels, ln_height, ln_widest = (
            COLUMNS[name] * features[:, COLUMN[name]] for name in ("channels", "height", "widest")
        )
        written, read = torch.exp(ln_channels), torch.expm1(ln_widest)
        windows = self.numbers + len(self.class_of)
        window = features[:, windows : windows + _WINDOWS].argmax(dim=1)
        window = torch.where(features[:, self.numbers + self.multiply] > 0, _WINDOWS, window)
        height = torch.round(ln_height / math.log(2)).clamp(0, _HEIGHTS - 1).long()
        group = window * _HEIGHTS + height
        return group * _CHANNELS + place_of(read), (_SHAPES + group) * _CHANNELS + place_of(written)


def place_of(channels: Tensor) -> Tensor:
    """Sixteenths of an octave up to a number of channels, (T,)."""
    octaves = torch.log(torch.round(channels).clamp_min(1)) / math.log(2)
    # A power of two ends its octave, however the logarithm is rounded.
    return torch.ceil(16 * octaves - 0.01).clamp(0, _CHANNELS - 1).long()


def size_of(ln: Tensor) -> Tensor:
    """Nearly |ln| of a factor, smooth at 0."""
    return torch.sqrt(ln.square() + 0.01) - 0.1


@register(
    "tally",
    TallyConfig,
    "kernels",
    training={"loss": "log_l1", "learning_rate": 3e-3, "precision": "bfloat16"},
)
class Tally(KernelSum):
    """Latency in ms on each device."""

    seen: Tensor

    def __init__(self, config: TallyConfig) -> None:
        super().__init__()
        self.config = config
        self.roofline = Roofline(config)
        self.embedding = nn.Linear(config.token_width, config.hidden)
        # What training never shows (a kind, a window) must add nothing later, rather than something at random.
        self.register_buffer("seen", torch.zeros(config.token_width - config.numbers))
        self.rounds = nn.ModuleList(DirectedRound(config.hidden) for _ in range(config.rounds))
        self.norm = nn.LayerNorm(config.hidden)
        self.correction = nn.Linear(config.hidden, config.outputs)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.corrected = torch.zeros(())  # mean squared correction of the last batch in training

    def schedule(self, share: float, measured: Tensor) -> None:
        """Before an epoch: factors of tiles are learned in the second half, for devices with many networks.

        share: of the epochs that are done. measured: how many networks there are to learn from, (outputs,).
        """
        self.roofline.by_tile.requires_grad_(share >= 0.5)
        self.roofline.many.copy_(measured >= TILE_NETWORKS)

    def penalty(self, networks: int) -> Tensor:
        """Added to the loss of a batch in training: for differing prices, and for its mean squared correction.

        networks: how many there are to learn from.
        """
        return self.roofline.penalty(networks) + _CORRECTION_PENALTY * self.corrected

    def node_vectors(self, features: Tensor, edges: Tensor) -> Tensor:
        """What is known of each token in its place, (T, hidden)."""
        numbers, told = features[:, : self.config.numbers], features[:, self.config.numbers :]
        if self.training:
            self.seen = torch.maximum(self.seen, told.amax(dim=0))
            hidden = torch.rand(len(features), 1, device=features.device) < self.config.kind_dropout
            kinds = len(self.config.class_of)
            told = torch.cat([told[:, :kinds].masked_fill(hidden, 0.0), told[:, kinds:]], dim=1)
        else:
            told = told * self.seen
        sources = 1 / degree(edges, features.shape[0], features.dtype).clamp_min(1).sqrt().unsqueeze(1)
        readers = 1 / degree(edges.flip(0), features.shape[0], features.dtype).clamp_min(1).sqrt().unsqueeze(1)
        x = self.embedding(torch.cat([numbers, told], dim=1))
        for each in self.rounds:
            x = each(x, edges, sources, readers)
        return self.norm(x)

    def parts(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """What `embed` returns, and the milliseconds of each token that it sums, (T, outputs)."""
        networks = static.shape[0]
        vectors = self.node_vectors(features, edges)
        with full_precision(vectors):
            wide = vectors.float()
            kind = self.roofline.kinds(features)
            correction = _BOUND * torch.tanh(self.correction(wide) / _BOUND)
            each = self.roofline(features) * torch.exp(correction)
            total = pool_sum(each, graph, networks).clamp_min(1e-9)
            there = kind.sum(dim=1, keepdim=True)
            if self.training:
                self.corrected = (correction.square() * there).sum() / there.sum() / self.config.outputs
            mean = pool_sum(wide * there, graph, networks) / pool_sum(there, graph, networks).clamp_min(1)
            return torch.cat([torch.log(total), mean], dim=1), each

    def embed(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """ln of the latencies, then the mean of the kernels' vectors: (B, outputs + hidden)."""
        if self.training:  # tokens within another's kernel are empty: half the work, for the same answer
            kept = features.any(dim=1).nonzero().squeeze(1)
            place = torch.cumsum(features.any(dim=1), 0) - 1
            features, edges, graph = features[kept], place[edges], graph[kept]
        return self.parts(features, edges, graph, static)[0]
