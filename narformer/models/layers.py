"""Layers that several models share. A batch is packed: the tokens of all its networks one after another, no padding.

Shapes: T tokens in the batch, E directed edges, B networks, D hidden width.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from narformer.models.interface import LatencyModel


def undirected(edges: Tensor) -> Tensor:
    """Both directions of directed edges: (2, E) producer, consumer -> (2, 2E). No doubles: no cycles."""
    return torch.cat([edges, edges.flip(0)], dim=1)


def widened(x: Tensor) -> Tensor:
    """Half-precision values as float32, for sums; float32 and float64 stay as they are."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def degree(edges: Tensor, tokens: int, dtype: torch.dtype) -> Tensor:
    """Number of edges that end at each token: (2, E) -> (T,)."""
    ones = torch.ones(edges.shape[1], dtype=dtype, device=edges.device)
    return torch.zeros(tokens, dtype=dtype, device=edges.device).index_add(0, edges[1], ones)


def neighbour_sum(x: Tensor, edges: Tensor, weights: Tensor | None = None) -> Tensor:
    """Sum of the features of each token's predecessors along `edges`, each times its edge's weight.

    x (T, D), edges (2, E) from, to, weights (E,) -> (T, D).
    """
    messages = x.index_select(0, edges[0])
    if weights is not None:
        messages = messages * weights.unsqueeze(1).to(x.dtype)
    return torch.zeros_like(x).index_add(0, edges[1], messages)


def pool_sum(x: Tensor, graph: Tensor, graphs: int) -> Tensor:
    """Sum over the tokens of each network, never in half precision: x (T, D), graph (T,) its network -> (B, D)."""
    wide = widened(x)
    return wide.new_zeros(graphs, x.shape[1]).index_add(0, graph, wide)


def unit_length(x: Tensor) -> Tensor:
    """Each row divided by its Euclidean length,  (T, D) -> (T, D)."""
    length = torch.linalg.vector_norm(widened(x), dim=1, keepdim=True)
    return x / length.clamp_min(1e-12).to(x.dtype)


class Dropout(nn.Module):
    """Dropout; on a CPU its masks are slices, at random places, of one long random mask that a model's layers share.

    Drawing a number for each element took as long there as all matrix products.
    """

    LENGTH = 1 << 24

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.masks: dict[tuple[float, torch.dtype], Tensor] = {}

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        if x.device.type != "cpu" or x.numel() >= self.LENGTH:
            return functional.dropout(x, self.rate)
        key = (self.rate, x.dtype)
        if key not in self.masks:
            self.masks[key] = torch.empty(self.LENGTH, dtype=x.dtype).bernoulli_(1 - self.rate).div_(1 - self.rate)
        start = int(torch.randint(self.LENGTH - x.numel(), ()))
        return x * self.masks[key][start : start + x.numel()].view(x.shape)


def renew_masks(model: nn.Module) -> None:
    """Have the long mask of a model's Dropout layers drawn anew, and shared.

    A training loop calls it once an epoch, after seeding, so that a resumed run repeats the masks of the killed one.
    """
    masks: dict[tuple[float, torch.dtype], Tensor] = {}
    for layer in model.modules():
        if isinstance(layer, Dropout):
            layer.masks = masks


class GroupedLinear(nn.Module):
    """A linear map for each of G groups of features, then a LayerNorm whose parameters the groups share.

    NAR-Former V2, section 3.3 (GFFN). x (G, T, inputs/G) -> (G, T, outputs/G); weight (G, inputs/G, outputs/G),
    bias (G, 1, outputs/G). With the group as first axis two maps in a row need no copy between them.
    """

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(groups, inputs // groups, outputs // groups))
        self.bias = nn.Parameter(torch.zeros(groups, 1, outputs // groups))
        self.norm = nn.LayerNorm(outputs // groups)
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        # The bias in the product's own precision: otherwise mixed precision would widen the largest array of the model.
        mapped = torch.bmm(x, self.weight)
        return self.norm(mapped + self.bias.to(mapped.dtype))


class GroupedFeedForward(nn.Module):
    """Grouped linear, ReLU, dropout, grouped linear, dropout (GFFN): (T, width) -> (T, width)."""

    def __init__(self, width: int, expansion: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.groups = groups
        self.up = GroupedLinear(width, width * expansion, groups)
        self.down = GroupedLinear(width * expansion, width, groups)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        grouped = x.view(x.shape[0], self.groups, -1).transpose(0, 1).contiguous()
        wide = self.dropout(functional.relu(self.up(grouped)))
        return self.dropout(self.down(wide)).transpose(0, 1).flatten(1)


class Head(nn.Module):
    """Two hidden layers with ReLU and dropout, one output a target: (B, inputs) -> (B, outputs).

    NAR-Former V2 and NNLP share it. Weights start uniform in ±1/√inputs and biases in ±1/√outputs of their layer.
    """

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.hidden_1 = nn.Linear(inputs, hidden)
        self.hidden_2 = nn.Linear(hidden, hidden)
        self.output = nn.Linear(hidden, outputs)
        self.dropout = Dropout(dropout)
        for layer in (self.hidden_1, self.hidden_2, self.output):
            uniform_start(layer)

    def features(self, x: Tensor) -> Tensor:
        """What the output layer reads: the embedding of a network, (B, hidden)."""
        x = self.dropout(functional.relu(self.hidden_1(x)))
        return self.dropout(functional.relu(self.hidden_2(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.features(x))


class StaticBranch(nn.Module):
    """The branch of the static features: linear, dropout, ReLU, in this order. (B, inputs) -> (B, hidden)."""

    def __init__(self, inputs: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, hidden)
        self.dropout = Dropout(dropout)
        uniform_start(self.linear)

    def forward(self, static: Tensor) -> Tensor:
        return functional.relu(self.dropout(self.linear(static)))


def full_precision(x: Tensor) -> AbstractContextManager[object]:
    """A context in which mixed precision is off: for the few small layers whose outputs are milliseconds."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.autocast(x.device.type, enabled=False)
    return nullcontext()


def uniform_start(layer: nn.Linear) -> None:
    """The start that NNLP's and NAR-Former V2's heads use: weights ±1/√inputs, biases ±1/√outputs."""
    nn.init.uniform_(layer.weight, -1 / math.sqrt(layer.in_features), 1 / math.sqrt(layer.in_features))
    nn.init.uniform_(layer.bias, -1 / math.sqrt(layer.out_features), 1 / math.sqrt(layer.out_features))


class PooledModel(LatencyModel):
    """A model that makes one vector a network, of which a head makes latencies.

    A subclass sets `head` and defines `pooled`.
    """

    head: Head
    # Sign of the head's output z in softplus(±z), which makes it positive.
    sign = -1.0

    @abstractmethod
    def pooled(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """What the head reads, (B, inputs of the head)."""

    def embed(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> Tensor:
        """The vector from which the last layer computes every latency, (B, hidden)."""
        pooled = self.pooled(features, edges, graph, static)
        with full_precision(pooled):
            return self.head.features(pooled)

    def from_embedding(self, vector: Tensor) -> Tensor:
        """Latency from the vector of `embed`, (B, outputs)."""
        # softplus(−z) is −logsigmoid(z), in a form that does not overflow in ONNX Runtime beyond 88 ms.
        with full_precision(vector):
            return functional.softplus(self.sign * self.head.output(vector))
