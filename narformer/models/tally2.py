"""Tally's second generation: the sum of what a runtime's kernels take, for targets that share what they can.

Ours. Tokens of kernels of the canonical form (tokens/runtime_kernels.py). A kernel's milliseconds are a roofline's: so
much a MAC, a byte read, a byte written, a byte of weights, an operation, a byte within the kernel and a call, by kind
of kernel and target; times e to a correction that two rounds of directed message passing learn. A call and a run have
a floor: nothing is free.

Targets are related (the same hardware, runtime, kind of hardware, precision). Every price is a sum, in ln, of what the
groups say to which a target belongs; what a group says costs, so that it is said where it serves most targets, and a
target with few measurements has the prices of its relatives. The correction is read off a kernel's vector the same way.

Prices are fitted first, to all networks at once (price_fit.py): they hold for kernels unlike any seen. What they leave
is the correction's, learned batch by batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.models.interface import KernelSum, register
from narformer.models.layers import degree, full_precision, pool_sum
from narformer.models.price_fit import fit_prices
from narformer.models.tally import DirectedRound, place_of, size_of
from narformer.tokens import runtime_kernels as tokens

# Work of a kernel: a column of its tokens, or what `amounts` makes of several; ln of the ms a unit of it takes, from
# which training starts; and what it costs, in mean |ln| error, that a price differs by a factor e from its group's.
_TERMS = (
    ("inside", -17.8, 3e-3),  # MACs on numbers
    ("padding", -18.5, 3e-3),  # MACs on what convolutions are padded with
    ("idle", -19.0, 3e-3),  # MACs that lanes of a vector unit could do in that time, but idle
    ("idle columns", -19.5, 3e-3),  # the same of tiles of 64 columns, of 32 numbers of depth, of 64 rows
    ("idle depth", -19.5, 3e-3),
    ("idle rows", -19.5, 3e-3),
    ("scores", -17.5, 3e-3),  # of attention: numbers that say how much a position heeds another
    ("unblocked", -18.5, 3e-3),  # MACs of convolutions, and operations of pools, that no blocks of channels take
    ("unfolded", -15.5, 3e-3),
    ("read", -15.8, 6e-3),
    ("written", -15.8, 6e-3),
    ("beyond L2", -18.0, 6e-3),  # bytes read and written beyond a megabyte, and beyond 32: what caches do not hold
    ("beyond L3", -17.5, 6e-3),
    ("weights", -16.0, 3e-3),
    ("streamed", -16.6, 6e-3),
    ("operations", -16.4, 3e-3),
    ("scalar", -15.5, 3e-3),
    ("within", -18.0, 3e-3),
    ("absorbed", -8.0, 3e-3),
    ("reordered", -17.5, 6e-3),
    ("pieces", -15.0, 3e-3),
    ("steps", -8.5, 3e-3),
    ("calls", -6.0, 2e-3),
)
# Work that there is on some kinds of hardware alone: how a CPU's vector units and caches are used says nothing of GPUs.
_ONLY_ON: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("idle", "unblocked", "unfolded", "scalar", "reordered", "pieces"), ("cpu", "")),
    **dict.fromkeys(("beyond L2", "beyond L3"), ("cpu", "gpu", "")),
}
_TILE_COLUMNS, _TILE_DEPTH, _TILE_ROWS = 64, 32, 64
WORK = tuple(name for name, _, _ in _TERMS)
_START = tuple(start for _, start, _ in _TERMS)
_PENALTIES = tuple(penalty for _, _, penalty in _TERMS)
_L2, _L3 = float(2**20), float(2**25)
# Kinds of numbers: floating-point; integers that become integers; integers that become floating-point numbers or wide
# integers. Prices of a kind differ among them.
_NUMBERS = 3
_SPEED = 3.0  # prices are parameters times this
_AFTERWARDS = 0.1  # how fast prices are learned beside the correction, once they are fitted
_ODD_PENALTY = 3e-3
_TERM_PENALTY = 0.3  # what a group says of all kernels alike is cheaper than what it says of a kind
# What a group says costs so much where the group has so many measurements; with more it is cheaper, with fewer dearer,
# within these limits: what many say is believed sooner.
_USUAL, _CHEAPEST, _DEAREST = 1000.0, 0.05, 3.0
_BOUND = 3.0  # of the correction, in ln
_CORRECTION_PENALTY = 0.02
# Factors of tiles (see models/tally.py): by window and height, sixteenths of an octave of channels read and written.
_HEIGHTS, _CHANNELS = 8, 256
_SHAPES = (len(tokens.WINDOWS) + 2) * _HEIGHTS
_TILE_SPEED, _TILE_PENALTY, _TILE_STEP_PENALTY = 4.0, 0.1, 0.8
_ATTENTION = tokens.KINDS.index("attention")
_CONVOLVED = [tokens.KINDS.index(n) for n in ("convolution", "pointwise", "grouped convolution")]
_PRODUCTS = ("transposed convolution", "fully connected", tokens.LINEAR, "matrix product")
_TILED = [*_CONVOLVED, *(tokens.KINDS.index(n) for n in _PRODUCTS), _ATTENTION]
# What is looked at to tell kernels apart from those of training, and how far from them is still near, in ln.
_REGION = ("work", "rows", "columns")
_NEAR = 0.7
# Columns of numbers as the correction hears them: ln(1 + x) over this.
_SCALES = {
    "macs": 20,
    "operations": 20,
    "read": 20,
    "written": 20,
    "within": 20,
    "scalar": 20,
    "idle": 20,
    "padding": 20,
    "unblocked": 20,
    "unfolded": 20,
    "reordered": 20,
    "pieces": 20,
    "weights": 20,
    "streamed": 20,
    "held": 20,
}
_SCALE = tuple(float(_SCALES.get(name, 6)) for name in tokens.COLUMNS)


@dataclass(frozen=True)
class Tally2Config:
    """groups: for each output the numbers of the groups to which its target belongs; without, each is its own.

    least_run, least_call: ms that a run and a call take at least, by output. tiled: outputs that have factors of tiles,
    for which thousands of networks were measured. kind_dropout: how often training hides a kernel's kind.
    hardware: the kind of hardware of each output ("cpu", "gpu", "npu"; "" where it is not known).
    """

    groups: tuple[tuple[int, ...], ...] = ()
    least_run: tuple[float, ...] = ()
    least_call: tuple[float, ...] = ()
    tiled: tuple[int, ...] = ()
    token_width: int = tokens.WIDTH
    static_width: int = tokens.STATIC_WIDTH
    hidden: int = 64
    rounds: int = 2
    kind_dropout: float = 0.05
    hardware: tuple[str, ...] = ()
    outputs: int = 1


class Prices(nn.Module):
    """Milliseconds a unit of work of each kind of kernel on each target, from what groups of targets say."""

    belongs: Tensor
    class_of: Tensor
    start: Tensor
    there: Tensor
    least: Tensor

    def __init__(self, config: Tally2Config) -> None:
        super().__init__()
        count, terms = config.outputs, len(WORK)
        groups = self.groups = config.groups or tuple((k,) for k in range(count))
        self.least_run = config.least_run or (1e-3,) * count
        self.least_call = config.least_call or (1e-4,) * count
        hardware = config.hardware or ("",) * count
        total = 1 + max((g for each in groups for g in each), default=0)
        belongs = torch.zeros(count, total)
        for output, each in enumerate(groups):
            belongs[output, list(each)] = 1
        self.register_buffer("belongs", belongs, persistent=False)
        self.measured = torch.ones(count)
        self.asked: Tensor | None = None  # the outputs that are asked for; None for all
        self.register_buffer("class_of", torch.tensor(tokens.CLASS_OF_KIND), persistent=False)
        self.register_buffer("start", torch.tensor(_START)[:, None, None], persistent=False)
        there = torch.tensor([[float(of in _ONLY_ON.get(term, (of,))) for of in hardware] for term in WORK])
        self.register_buffer("there", there[:, None], persistent=False)
        least = torch.tensor(self.least_call).repeat(len(tokens.KINDS), 1)
        least[0] = torch.tensor(self.least_run)
        self.register_buffer("least", least, persistent=False)
        self.scale = nn.Parameter(torch.zeros(count))
        self.target = nn.Parameter(torch.zeros(terms, count))
        self.by_term = nn.Parameter(torch.zeros(terms, total))
        self.by_class = nn.Parameter(torch.zeros(terms, len(tokens.CLASSES), total))
        self.by_kind = nn.Parameter(torch.zeros(terms, len(tokens.KINDS), total))
        self.by_numbers = nn.Parameter(torch.zeros(_NUMBERS - 1, terms, len(tokens.KINDS), total))
        self.by_oddity = nn.Parameter(torch.zeros(len(tokens.KINDS), total))

    def of_asked(self, tensor: Tensor) -> Tensor:
        """Of a tensor whose last axis is outputs, those asked for."""
        return tensor if self.asked is None else tensor.index_select(-1, self.asked)

    def prices(self) -> Tensor:
        """(terms, numbers x kinds, outputs asked for)."""
        said = self.by_class[:, self.class_of] + self.by_kind + self.by_term[:, None]
        said = torch.cat([said, *(said + more for more in self.by_numbers)], dim=1) @ self.of_asked(self.belongs.T)
        own = self.of_asked(self.scale + self.target)[:, None]
        return torch.exp(self.start + _SPEED * (own + said)) * self.of_asked(self.there)

    def oddity(self) -> Tensor:
        """ln of a factor for kernels that read channels that four does not divide, (kinds, outputs asked for)."""
        return _SPEED * self.by_oddity @ self.of_asked(self.belongs.T)

    def table(self) -> Tensor:
        """What a unit of work takes, (2 x terms x numbers x kinds, outputs): of all kernels, then of odd ones.

        Beside `work`, whose order it has. Calls take what a kernel takes at least, too.
        """
        prices = self.prices()
        prices = torch.cat([prices[:-1], prices[-1:] + self.least.repeat(_NUMBERS, 1)])
        return torch.stack([prices, prices * torch.exp(self.oddity()).repeat(_NUMBERS, 1)]).flatten(0, 2)

    def count(self, measured: Tensor) -> None:
        """Tell how many networks were measured on each target, (outputs,)."""
        self.measured = measured

    def penalty(self) -> Tensor:
        """What differing prices cost; free for the run, a target's constant, and for all of a target's prices alike."""
        outputs = self.belongs.shape[0]
        measured = self.measured.to(self.belongs)
        groups = (_USUAL / (measured @ self.belongs).clamp_min(1)).clamp(_CHEAPEST, _DEAREST)
        own = (_USUAL / measured.clamp_min(1)).clamp(_CHEAPEST, _DEAREST)
        sizes = (size_of(_SPEED * self.target) * own).sum(dim=1)
        sizes = sizes + _TERM_PENALTY * (size_of(_SPEED * self.by_term) * groups).sum(dim=1)
        for each in (self.by_class, self.by_kind, *self.by_numbers):
            sizes = sizes + (size_of(_SPEED * each[:, 1:]) * groups).sum(dim=(1, 2))
        odd = _ODD_PENALTY * (size_of(_SPEED * self.by_oddity) * groups).sum()
        return (odd + (sizes * sizes.new_tensor(_PENALTIES)).sum()) / outputs


@register(
    "tally2",
    Tally2Config,
    "runtime_kernels",
    related=True,
    training={"loss": "log_l1", "learning_rate": 3e-3, "kernels": 1.0, "precision": "float32"},
)
class Tally2(KernelSum):
    """Latency in ms on each target. node_strange (T, outputs): 1 for a kernel unlike those measured there."""

    extra_outputs: ClassVar[tuple[str, ...]] = ("node_latency", "node_strange")
    seen: Tensor
    scale: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, config: Tally2Config) -> None:
        super().__init__()
        self.config = config
        self.prices = Prices(config)
        self.numbers = len(tokens.COLUMNS)
        self.register_buffer("scale", torch.tensor(_SCALE), persistent=False)
        self.embedding = nn.Linear(config.token_width + 1, config.hidden)
        # What training never shows (a kind, a window) must add nothing later, rather than something at random.
        self.register_buffer("seen", torch.zeros(tokens.WIDTH - self.numbers))
        self.rounds = nn.ModuleList(DirectedRound(config.hidden) for _ in range(config.rounds))
        self.norm = nn.LayerNorm(config.hidden)
        self.correction = nn.Linear(config.hidden, self.prices.belongs.shape[1])
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)
        self.by_tile = nn.Parameter(torch.zeros(2 * _SHAPES * _CHANNELS, len(config.tiled)))
        self.corrected = torch.zeros(())  # mean squared correction of the last batch in training
        # The kernels of each kind that were measured on each target, (region, kinds, outputs); none: lowest > highest.
        region = (len(_REGION), len(tokens.KINDS), config.outputs)
        self.register_buffer("lowest", torch.full(region, 1e3))
        self.register_buffer("highest", torch.full(region, -1e3))

    def restrict(self, outputs: Tensor | None) -> Tensor | None:
        """Give these outputs alone: a batch has few of many targets, and the work of a step grows with them."""
        self.prices.asked = outputs
        return outputs

    def from_embedding(self, vector: Tensor) -> Tensor:
        """Latencies from the vector of `embed`, (B, outputs asked for)."""
        return torch.exp(vector[:, : vector.shape[1] - self.config.hidden])

    def begin(
        self, batch: Callable[[npt.NDArray[np.int64]], tuple[Tensor, ...]], targets: Tensor, weights: Tensor
    ) -> Iterator[tuple[int, int, float]]:
        """Fit prices to all networks at once, with no correction."""
        self.prices.count(torch.isfinite(targets).sum(dim=0))

        def work_of(rows: npt.NDArray[np.int64]) -> Tensor:
            features, _, graph, _ = batch(rows)
            return work(features, graph, len(rows))

        yield from fit_prices(self.prices, work_of, targets, weights)

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """Prices are fitted already and learn slowly."""
        prices = list(self.prices.parameters())
        mine = {id(parameter) for parameter in prices}
        return [([p for p in self.parameters() if id(p) not in mine], 1.0), (prices, _AFTERWARDS)]

    def schedule(self, share: float, measured: Tensor) -> None:
        """Before an epoch: factors of tiles are learned in the second half. share: of the epochs that are done."""
        self.prices.count(measured)
        self.by_tile.requires_grad_(share >= 0.5)

    def penalty(self, networks: int) -> Tensor:
        """Added to the loss of a batch in training. networks: how many there are to learn from."""
        total = self.prices.penalty() + _CORRECTION_PENALTY * self.corrected
        if self.config.tiled:
            tile = _TILE_SPEED * self.by_tile.view(-1, _CHANNELS, self.by_tile.shape[1])
            share = len(self.config.tiled) / self.config.outputs
            for weight, factors in ((_TILE_PENALTY, tile), (_TILE_STEP_PENALTY, tile.diff(dim=1))):
                total = total + share * weight / networks * size_of(factors).sum(dim=(0, 1)).mean()
        return total

    def node_vectors(self, features: Tensor, edges: Tensor) -> Tensor:
        """What is known of each kernel in its place, (T, hidden)."""
        numbers, told = features[:, : self.numbers], features[:, self.numbers :]
        if self.training:
            self.seen = torch.maximum(self.seen, told.amax(dim=0))
            hidden = torch.rand(len(features), 1, device=features.device) < self.config.kind_dropout
            flags = len(tokens.FLAGS)
            kinds = told[:, flags : flags + len(tokens.KINDS)].masked_fill(hidden, 0.0)
            told = torch.cat([told[:, :flags], kinds, told[:, flags + len(tokens.KINDS) :]], dim=1)
        else:
            told = told * self.seen
        logs = torch.log1p(numbers)
        moved = numbers[:, [tokens.COLUMN[n] for n in ("read", "written", "weights", "streamed")]].sum(dim=1)
        intensity = (logs[:, tokens.COLUMN["macs"]] - torch.log1p(moved))[:, None] / 10
        sources = 1 / degree(edges, features.shape[0], features.dtype).clamp_min(1).sqrt().unsqueeze(1)
        readers = 1 / degree(edges.flip(0), features.shape[0], features.dtype).clamp_min(1).sqrt().unsqueeze(1)
        x = self.embedding(torch.cat([logs / self.scale, intensity, told], dim=1))
        for each in self.rounds:
            x = each(x, edges, sources, readers)
        return self.norm(x)

    def roofline(self, features: Tensor) -> Tensor:
        """Milliseconds of each token from its work, (T, outputs); 0 for one without a kind, which fills a batch up."""
        kind = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW]
        each_kind = by_numbers(features)
        prices = self.prices.prices()
        each = each_kind @ prices[-1] + kind @ self.prices.of_asked(self.prices.least)
        for term, amount in enumerate(amounts(features)):
            each = each + amount[:, None] * (each_kind @ prices[term])
        ln = odd(features)[:, None] * (kind @ self.prices.oddity())
        asked = range(self.config.outputs) if self.prices.asked is None else self.prices.asked.tolist()
        tiled = [(asked.index(output), k) for k, output in enumerate(self.config.tiled) if output in asked]
        if tiled:
            to, of = torch.tensor(tiled, device=ln.device).T
            ln = ln.index_add(1, to, self.tiles(features, kind).index_select(1, of))
        return each * torch.exp(ln)

    def tiles(self, features: Tensor, kind: Tensor) -> Tensor:
        """ln of the factors of tiles, for outputs that have them, (T, tiled)."""
        window = features[:, tokens.FIRST_WINDOW :].argmax(dim=1)
        multiply = kind[:, tokens.KINDS.index("multiply")]
        window = torch.where(multiply > 0, len(tokens.WINDOWS) + 1, window)
        height = torch.round(torch.log(features[:, tokens.COLUMN["height"]].clamp_min(1)) / math.log(2))
        group = window * _HEIGHTS + height.clamp(0, _HEIGHTS - 1).long()
        read, written = features[:, tokens.COLUMN["widest"]], features[:, tokens.COLUMN["channels"]]
        factors = self.by_tile.index_select(0, group * _CHANNELS + place_of(read))
        factors = factors + self.by_tile.index_select(0, (_SHAPES + group) * _CHANNELS + place_of(written))
        convolutions = [tokens.KINDS.index(n) for n in ("convolution", "pointwise", "depthwise", "multiply")]
        return _TILE_SPEED * kind[:, convolutions].sum(dim=1, keepdim=True) * factors

    @torch.no_grad()
    def observe(self, features: Tensor, graph: Tensor, measured: Tensor) -> None:
        """Widen the region of kernels seen by those of training networks. measured (B, outputs): where each was."""
        kind = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW]
        there = kind.sum(dim=1) > 0
        of, where = kind[there].argmax(dim=1), measured[graph[there]]
        for k, values in enumerate(_region(features[there]).T):
            for number in sorted(set(of.tolist())):
                mine = of == number
                each = values[mine, None].expand(-1, where.shape[1])
                low = torch.where(where[mine], each, 1e3).amin(dim=0)
                high = torch.where(where[mine], each, -1e3).amax(dim=0)
                self.lowest[k, number] = torch.minimum(self.lowest[k, number], low)
                self.highest[k, number] = torch.maximum(self.highest[k, number], high)

    def unfamiliar(self, features: Tensor) -> Tensor:
        """1 for each kernel that is unlike all of its kind that were measured on a target, (T, outputs)."""
        kind = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW]
        beyond = torch.zeros(1, 1)
        for k, values in enumerate(_region(features).unbind(dim=1)):
            under = (kind @ self.lowest[k]) - _NEAR - values[:, None]
            over = values[:, None] - (kind @ self.highest[k]) - _NEAR
            beyond = torch.maximum(beyond, torch.maximum(under, over))
        return (beyond > 0).to(features.dtype) * kind[:, 1:].sum(dim=1, keepdim=True)

    def with_relative(self, output: int, factors: Mapping[str, float]) -> Tally2:
        """The model with one more output: a target that nothing was measured on, from a measured one.

        output: the measured target's. factors: how many times as long a unit of work of each term takes there, by the
        names of WORK; "others" stands for all terms that are not named. Facts of datasheets decide them.
        """
        config = replace(
            self.config,
            outputs=self.config.outputs + 1,
            groups=(*self.prices.groups, self.prices.groups[output]),
            least_run=(*self.prices.least_run, self.prices.least_run[output]),
            least_call=(*self.prices.least_call, self.prices.least_call[output]),
            hardware=(*self.config.hardware, self.config.hardware[output]) if self.config.hardware else (),
        )
        wider = Tally2(config)
        state = self.state_dict()
        for name in ("lowest", "highest"):
            state[name] = torch.cat([state[name], state[name][..., output, None]], dim=2)
        times = torch.tensor([factors.get(name, factors.get("others", 1.0)) for name in WORK])
        mine = state["prices.target"][:, output] + torch.log(times) / _SPEED
        state["prices.target"] = torch.cat([state["prices.target"], mine[:, None]], dim=1)
        state["prices.scale"] = torch.cat([state["prices.scale"], state["prices.scale"][output, None]])
        wider.load_state_dict(state)
        return wider.eval()

    def parts(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """What `embed` returns, and the milliseconds of each token that it sums, (T, outputs)."""
        networks = static.shape[0]
        vectors = self.node_vectors(features, edges)
        with full_precision(vectors):
            wide = vectors.float()
            there = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW].sum(dim=1, keepdim=True)
            correction = _BOUND * torch.tanh(
                (self.correction(wide) @ self.prices.of_asked(self.prices.belongs.T)) / _BOUND
            )
            if self.training:
                self.corrected = (correction.square() * there).sum() / there.sum() / correction.shape[1]
            each = self.roofline(features) * torch.exp(correction)
            total = pool_sum(each, graph, networks).clamp_min(1e-9)
            mean = pool_sum(wide * there, graph, networks) / pool_sum(there, graph, networks).clamp_min(1)
            return torch.cat([torch.log(total), mean], dim=1), each

    def answers(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, ...]:
        """Latency, embedding, the latency of each token, and which are unlike those that were measured."""
        return *super().answers(features, edges, graph, static), self.unfamiliar(features)


def amounts(features: Tensor) -> list[Tensor]:
    """Work of each token by the terms of WORK but for the last, its call: (T,) each."""
    column = {name: features[:, place] for name, place in tokens.COLUMN.items()}
    moved = column["read"] + column["written"]
    kind = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW]
    tiled, convolved, attends = (kind[:, of].sum(dim=1) for of in (_TILED, _CONVOLVED, [_ATTENTION]))
    macs = column["macs"] * tiled
    # A convolution goes through its channels tap by tap of its window.
    taps = torch.where(convolved > 0, column["window"].clamp_min(1).square(), 1)
    amount = {
        **column,
        "inside": column["macs"] - column["padding"],
        "idle columns": macs * _unfilled(column["columns"], _TILE_COLUMNS),
        "idle depth": macs * _unfilled(column["depth"] / taps, _TILE_DEPTH),
        "idle rows": macs * _unfilled(column["rows"], _TILE_ROWS),
        "scores": column["rows"] * column["columns"] * column["products"] * attends,
        "beyond L2": (moved - _L2).clamp_min(0),
        "beyond L3": (moved - _L3).clamp_min(0),
    }
    return [amount[name] for name in WORK[:-1]]


def _unfilled(size: Tensor, tile: int) -> Tensor:
    """How much of tiles is left empty, for each unit that is full."""
    size = size.clamp_min(1)
    return torch.ceil(size / tile) * tile / size - 1


def by_numbers(features: Tensor) -> Tensor:
    """Which kind of kernel a token is, on which kind of numbers, (T, numbers x kinds)."""
    kind = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW]
    # Recurrent kernels with integer weights make integers of their data at each step.
    recurrent = kind[:, tokens.KINDS.index("recurrent"), None] * features[:, tokens.FLAG["integer weights"], None]
    integers = torch.maximum(features[:, tokens.FLAG["integer data"], None], recurrent)
    narrow = integers * features[:, tokens.FLAG["integer result"], None]
    return torch.cat([kind * (1 - integers), kind * narrow, kind * (integers - narrow)], dim=1)


def odd(features: Tensor) -> Tensor:
    """1 for a kernel that reads channels that four does not divide, (T,)."""
    there = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW].sum(dim=1)
    return (1 - features[:, tokens.FLAG["reads by 4"]]) * there * (features[:, tokens.COLUMN["widest"]] >= 8)


def work(features: Tensor, graph: Tensor, networks: int) -> Tensor:
    """Work of each network, (networks, 2 x terms x numbers x kinds): of kernels that are not odd, then of odd ones."""
    there = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW].sum(dim=1)
    amount = torch.stack([*amounts(features), torch.ones_like(there)], dim=1)
    kinds = _NUMBERS * len(tokens.KINDS)
    row = 2 * len(WORK) * kinds
    first = graph * row + odd(features).long() * len(WORK) * kinds + by_numbers(features).argmax(dim=1)
    place = first[:, None] + kinds * torch.arange(len(WORK), device=graph.device)
    mine = there > 0
    total = torch.zeros(networks * row, dtype=torch.float64, device=features.device)
    total.index_add_(0, place[mine].flatten(), amount[mine].double().flatten())
    return total.view(networks, row).float()


def _region(features: Tensor) -> Tensor:
    """ln of the work of each kernel (MACs, operations and bytes), of its rows and columns, (T, region)."""
    work = features[:, [tokens.COLUMN[n] for n in ("macs", "operations", "read", "written")]].sum(dim=1)
    shape = features[:, [tokens.COLUMN["rows"], tokens.COLUMN["columns"]]]
    return torch.log1p(torch.cat([work[:, None], shape], dim=1))
