"""Tally's second generation: the sum of what a runtime's kernels take, for targets that share what they can.

Ours. Tokens of kernels of the canonical form (tokens/runtime_kernels.py). A kernel's milliseconds are so much a MAC, a
byte read, a byte written, a byte of weights, an operation, a byte within the kernel and a call, by kind of kernel and
target. A call and a run have a floor: nothing is free.

Targets are related (the same hardware, runtime, kind of hardware, precision). Every price is a sum, in ln, of what the
groups say to which a target belongs; what a group says costs, so that it is said where it serves most targets, and a
target with few measurements has the prices of its relatives. Prices are fitted to all networks at once (price_fit.py),
then factors of tiles, where thousands of networks were measured. NPUs, of which few were, have prices of fewer kinds
of work instead (npu_prices.py).

What they leave, Gaussian processes tell: on CPUs from kernels of like shape (kernel_processes.py), then from networks
of like composition (gaussian_process.py). Far from all that were measured they say nothing, and how far a network is
from those is told too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from narformer.models.columns import columns, is_among, named, one_hot_kinds, places
from narformer.models.gaussian_process import Processes, coordinates, fit, told
from narformer.models.interface import Batch, KernelSum, register
from narformer.models.kernel_processes import KernelProcesses, Kernels, fit_kernels, kernel_factors
from narformer.models.layers import pool_sum
from narformer.models.npu_prices import NpuPrices
from narformer.models.npu_prices import amounts as npu_amounts
from narformer.models.price_fit import Shares, Tokens, fit_prices, fit_tiles
from narformer.models.tally import place_of, size_of
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
    ("idle inputs", -18.5, 3e-3),  # MACs on what fills up blocks of channels that are read
    ("narrow", -20.0, 3e-3),  # MACs of a last block of channels that is computed by itself,
    ("single", -20.0, 3e-3),  # and of places that are: too few sums at once to hide how long one takes
    ("first blocks", -13.0, 3e-3),  # blocks of channels that are computed from an image that is in none
    ("scores", -17.5, 3e-3),  # of attention: numbers that say how much a position heeds another
    ("unblocked", -18.5, 3e-3),  # MACs of convolutions, and operations of pools, that no blocks of channels take
    ("unfolded", -15.5, 3e-3),
    ("read", -15.8, 6e-3),
    ("written", -15.8, 6e-3),
    ("blank", -16.0, 6e-3),  # bytes that fill up blocks of channels
    ("beyond L2", -18.0, 6e-3),  # bytes read and written beyond a megabyte, and beyond 32: what caches do not hold
    ("beyond L3", -17.5, 6e-3),
    ("weights", -16.0, 3e-3),
    ("far weights", -17.0, 3e-3),  # those of networks whose weights L3 does not hold from one run to the next
    ("streamed", -16.6, 6e-3),
    ("operations", -16.4, 3e-3),
    ("scalar", -15.5, 3e-3),
    ("within", -18.0, 3e-3),
    ("absorbed", -8.0, 3e-3),
    ("reordered", -17.5, 6e-3),
    ("pieces", -15.0, 3e-3),
    ("unfused", -15.5, 1e-3),  # numbers of attention that are kept between kernels
    ("planes", -9.5, 6e-3),  # channels of images that are interpolated one after another
    ("apart", -16.3, 1e-3),  # bytes between nodes that others run as one kernel, and PyTorch as one each
    ("wide", -19.0, 1e-3),  # MACs of depthwise windows beyond 5x5, and beyond 7x7, for which GPUs have no kernel of
    ("widest", -19.0, 1e-3),  # their own
    ("steps", -8.5, 3e-3),
    ("calls", -6.0, 2e-3),
)
# Work that there is on some kinds of hardware alone: how a CPU's vector units and caches are used says nothing of GPUs.
_ONLY_ON: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("idle", "idle inputs", "narrow", "single", "first blocks", "blank"), ("cpu", "")),
    **dict.fromkeys(("unblocked", "unfolded", "scalar", "reordered", "pieces", "far weights"), ("cpu", "")),
    **dict.fromkeys(("unfused", "planes", "apart", "wide", "widest"), ("gpu", "")),
    **dict.fromkeys(("beyond L2", "beyond L3"), ("cpu", "gpu", "")),
}
# Work that there is in some runtimes alone, by how they run: PyTorch without its compiler runs node by node.
_ONLY_BY: Mapping[str, tuple[str, ...]] = dict.fromkeys(("planes", "apart"), ("pytorch eager", ""))
_TILE_COLUMNS, _TILE_DEPTH, _TILE_ROWS = 64, 32, 64
WORK = tuple(name for name, _, _ in _TERMS)
_START = tuple(start for _, start, _ in _TERMS)
_PENALTIES = tuple(penalty for _, _, penalty in _TERMS)
_L2, _L3 = float(2**20), float(2**25)
# Convolutions on x86 processors: channels of a block, blocks that are computed together, places that are.
_BLOCK, _TOGETHER, _PLACES = tokens.LANES, 4, 6
# Kinds of numbers: floating-point; integers that become integers; integers that become floating-point numbers or wide
# integers. Prices of a kind differ among them.
_NUMBERS = 3
_ODD_PENALTY = 3e-3
_LAUNCHING, _LAUNCHING_PENALTY = -3.5, 2e-3  # ln of the ms that a host takes for each kernel of a GPU, and its penalty
_TERM_PENALTY = 0.3  # what a group says of all kernels alike is cheaper than what it says of a kind
# What a group says costs so much where the group has so many measurements; with more it is cheaper, with fewer dearer,
# within these limits: what many say is believed sooner.
_USUAL, _CHEAPEST, _DEAREST = 1000.0, 0.05, 3.0
# Factors of tiles (see models/tally.py): by window and height, sixteenths of an octave of channels read and written.
_HEIGHTS, _CHANNELS = 8, 256
_SHAPES = (len(tokens.WINDOWS) + 2) * _HEIGHTS
_TILE_PENALTY, _TILE_STEP_PENALTY = 0.1, 0.8
_ATTENTION = places("attention")
_CONVOLVED = places("convolution", "pointwise", "grouped convolution")
_DENSE = places("convolution", "pointwise")
_DEPTHWISE = places("depthwise")
_IN_BLOCKS = [*_CONVOLVED, *_DEPTHWISE]
_PRODUCTS = places("transposed convolution", "fully connected", tokens.LINEAR, "matrix product")
_TILED = [*_CONVOLVED, *_PRODUCTS, *_ATTENTION]
_SHAPED = places("convolution", "pointwise", "depthwise", "multiply")  # have factors of tiles
_MULTIPLY, _RECURRENT = places("multiply", "recurrent")
_ANY = range(len(tokens.KINDS))
# What is looked at to tell kernels apart from those of training, and how far from them is still near, in ln.
_REGION = ("work", "rows", "columns")
_NEAR = 0.7
_ROWS = 256  # networks of which something is computed together


@dataclass(frozen=True)
class Tally2Config:
    """What the outputs are; each field has an entry for each.

    groups: the numbers of the groups to which its target belongs; without, each is its own. least_run, least_call: ms
    that a run and a call take at least. hardware: "cpu", "gpu", "npu". runtimes: how they run, "pytorch eager",
    "pytorch compiled" or the name of the runtime. "" stands for what is not known. views: a name of those outputs that
    see a network's composition alike. tiled: the outputs that have factors of tiles. npus: those that have prices of
    NPUs, in order.
    """

    groups: tuple[tuple[int, ...], ...] = ()
    least_run: tuple[float, ...] = ()
    least_call: tuple[float, ...] = ()
    hardware: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    tiled: tuple[int, ...] = ()
    npus: tuple[int, ...] = ()
    token_width: int = tokens.WIDTH
    static_width: int = tokens.STATIC_WIDTH
    outputs: int = 1


class Prices(nn.Module):
    """Milliseconds a unit of work of each kind of kernel on each target, from what groups of targets say."""

    belongs: Tensor
    class_of: Tensor
    start: Tensor
    there: Tensor
    least: Tensor
    launched: Tensor

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
        self.register_buffer("class_of", torch.tensor(tokens.CLASS_OF_KIND), persistent=False)
        self.register_buffer("start", torch.tensor(_START)[:, None, None], persistent=False)
        kinds = list(zip(hardware, config.runtimes or ("",) * count, strict=True))
        there = torch.tensor(
            [
                [float(of in _ONLY_ON.get(term, (of,)) and how in _ONLY_BY.get(term, (how,))) for of, how in kinds]
                for term in WORK
            ]
        )
        self.register_buffer("there", there[:, None], persistent=False)
        least = torch.tensor(self.least_call).repeat(len(tokens.KINDS), 1)
        least[0] = torch.tensor(self.least_run)
        self.register_buffer("least", least, persistent=False)
        self.register_buffer("launched", torch.tensor([float(of == "gpu") for of in hardware]), persistent=False)
        self.host = nn.Parameter(torch.zeros(total))
        self.scale = nn.Parameter(torch.zeros(count))
        self.target = nn.Parameter(torch.zeros(terms, count))
        self.by_term = nn.Parameter(torch.zeros(terms, total))
        self.by_class = nn.Parameter(torch.zeros(terms, len(tokens.CLASSES), total))
        self.by_kind = nn.Parameter(torch.zeros(terms, len(tokens.KINDS), total))
        self.by_numbers = nn.Parameter(torch.zeros(_NUMBERS - 1, terms, len(tokens.KINDS), total))
        self.by_oddity = nn.Parameter(torch.zeros(len(tokens.KINDS), total))

    def prices(self) -> Tensor:
        """(terms, numbers x kinds, outputs)."""
        said = self.by_class[:, self.class_of] + self.by_kind + self.by_term[:, None]
        said = torch.cat([said, *(said + more for more in self.by_numbers)], dim=1) @ self.belongs.T
        own = (self.scale + self.target)[:, None]
        return torch.exp(self.start + (own + said)) * self.there

    def oddity(self) -> Tensor:
        """ln of a factor for kernels that read channels that four does not divide, (kinds, outputs)."""
        return self.by_oddity @ self.belongs.T

    def table(self) -> Tensor:
        """What a unit of work takes, (2 x terms x numbers x kinds, outputs): of all kernels, then of odd ones.

        Beside `work`, whose order it has. Calls take what a kernel takes at least, too.
        """
        prices = self.prices()
        prices = torch.cat([prices[:-1], prices[-1:] + self.least.repeat(_NUMBERS, 1)])
        return torch.stack([prices, prices * torch.exp(self.oddity()).repeat(_NUMBERS, 1)]).flatten(0, 2)

    def launching(self) -> Tensor:
        """ms that a host takes to launch each kernel, (outputs,): a GPU waits where it computes less; 0 elsewhere."""
        return self.launched * torch.exp(_LAUNCHING + self.belongs @ self.host)

    def calls(self) -> Tensor:
        """1 for each column of `work` that counts kernels, the run not among them, (columns,)."""
        counts = torch.zeros(2, len(WORK), _NUMBERS, len(tokens.KINDS))
        counts[:, WORK.index("calls"), :, 1:] = 1
        return counts.flatten()

    def count(self, measured: Tensor) -> None:
        """Tell how many networks were measured on each target, (outputs,)."""
        self.measured = measured

    def penalty(self) -> Tensor:
        """What differing prices cost; free for the run, a target's constant, and for all of a target's prices alike."""
        outputs = self.belongs.shape[0]
        measured = self.measured.to(self.belongs)
        groups = (_USUAL / (measured @ self.belongs).clamp_min(1)).clamp(_CHEAPEST, _DEAREST)
        own = (_USUAL / measured.clamp_min(1)).clamp(_CHEAPEST, _DEAREST)
        sizes = (size_of(self.target) * own).sum(dim=1)
        sizes = sizes + _TERM_PENALTY * (size_of(self.by_term) * groups).sum(dim=1)
        for each in (self.by_class, self.by_kind, *self.by_numbers):
            sizes = sizes + (size_of(each[:, 1:]) * groups).sum(dim=(1, 2))
        odd = _ODD_PENALTY * (size_of(self.by_oddity) * groups).sum()
        odd = odd + _LAUNCHING_PENALTY * (size_of(self.host) * groups).sum()
        return (odd + (sizes * sizes.new_tensor(_PENALTIES)).sum()) / outputs


@register(
    "tally2",
    Tally2Config,
    "runtime_kernels",
    related=True,
    training={"loss": "log_l1", "precision": "float32", "balance": 0.5},
)
class Tally2(KernelSum):
    """Latency in ms on each target.

    node_strange (T, outputs): 1 for a kernel unlike those measured there. network_novelty (B, outputs): 0 for a network
    composed as one that was measured there, 1 for one that is like none.
    """

    extra_outputs: ClassVar[tuple[str, ...]] = ("node_latency", "node_strange", "network_novelty")
    learns_by_epochs: ClassVar[bool] = False
    reference: Tensor
    reference_odd: Tensor
    lowest: Tensor
    highest: Tensor

    def __init__(self, config: Tally2Config) -> None:
        super().__init__()
        self.config = config
        self.prices = Prices(config)
        self.by_tile = nn.Parameter(torch.zeros(2 * _SHAPES * _CHANNELS, len(config.tiled)))
        npus = config.npus
        self.npu_prices = NpuPrices(
            [self.prices.groups[k] for k in npus],
            [self.prices.least_run[k] for k in npus],
            [self.prices.least_call[k] for k in npus],
        )
        views = config.views or ("",) * config.outputs
        self.views = [[k for k, of in enumerate(views) if of == view] for view in dict.fromkeys(views)]
        # What a unit of work takes as the targets of a view see it on average: (terms, numbers x kinds, views).
        kinds = len(tokens.KINDS)
        self.register_buffer("reference", torch.zeros(len(WORK), _NUMBERS * kinds, len(self.views)))
        self.register_buffer("reference_odd", torch.zeros(kinds, len(self.views)))
        self.processes = nn.ModuleList(Processes(kinds * len(WORK), len(view)) for view in self.views)
        # Views of CPUs have processes of kernels; there shapes decide how well a library's loops fit.
        hardware = config.hardware or ("",) * config.outputs
        tiled = set(config.tiled)
        self.by_kernel = [
            p for p, view in enumerate(self.views) if all(hardware[k] == "cpu" and k not in tiled for k in view)
        ]
        self.kernel_processes = nn.ModuleList(KernelProcesses(len(self.views[place])) for place in self.by_kernel)
        # The kernels of each kind that were measured on each target, (region, kinds, outputs); none: lowest > highest.
        region = (len(_REGION), len(tokens.KINDS), config.outputs)
        self.register_buffer("lowest", torch.full(region, 1e3))
        self.register_buffer("highest", torch.full(region, -1e3))

    def from_embedding(self, vector: Tensor) -> Tensor:
        """Latencies from the vector of `embed`, (B, outputs)."""
        return torch.exp(vector[:, : self.config.outputs])

    def begin(
        self, batch: Batch, targets: Tensor, weights: Tensor, shares: Shares | None = None
    ) -> Iterator[tuple[int, int, float]]:
        """Fit prices to all networks at once, then what they leave: of tiles, on NPUs, of kernels, of networks."""
        self.prices.count(torch.isfinite(targets).sum(dim=0))

        def tokens_of(rows: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
            features, _, graph, _ = batch(rows)
            there = graph < len(rows)  # the rest fills the batch up
            return features[there], graph[there]

        yield from fit_prices(self.prices, tokens_of, work, targets, weights, shares)
        if self.config.tiled:
            tiled = targets[:, list(self.config.tiled)]
            yield from fit_tiles(self.by_tile, lambda rows: self._shaped(*tokens_of(rows)), tiled, self._tile_penalty)
        if self.config.npus:
            yield from self._fit_npus(tokens_of, targets[:, list(self.config.npus)])
        for place, process in self._of_kernels():
            yield from self._fit_kernels(place, process, tokens_of, targets, shares)
        with torch.no_grad():
            self._refer()
            self._fit_processes(tokens_of, targets)

    def _fit_npus(self, tokens_of: Tokens, targets: Tensor) -> Iterator[tuple[int, int, float]]:
        rows = _measured(targets)
        parts = [
            pool_sum(npu_amounts(features), graph, len(mine)) for mine, features, graph in _batches(tokens_of, rows)
        ]
        if parts:
            yield from self.npu_prices.fit(torch.cat(parts), targets[torch.from_numpy(rows)])

    def _shaped(self, features: Tensor, graph: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the tokens of a batch: ms without factors (T, tiled), the two places of their factors, and owners."""
        with torch.no_grad():
            each = self.roofline(features, self.prices.prices(), self.prices.oddity())[:, list(self.config.tiled)]
            place, shaped = tile_places(features)
        nothing = 2 * _SHAPES * _CHANNELS  # a place after all factors
        read, written = torch.where(shaped > 0, place, nothing).unbind(dim=1)
        return each, read, written, graph

    def _fit_kernels(
        self,
        place: int,
        process: KernelProcesses,
        tokens_of: Tokens,
        targets: Tensor,
        shares: Shares | None,
    ) -> Iterator[tuple[int, int, float]]:
        """Fit the factors of kernels of a view."""
        view = self.views[place]
        rows = _measured(targets[:, view])
        parts, before = [], 0
        for mine, features, graph in _batches(tokens_of, rows):
            with torch.no_grad():
                ms = self.roofline(features, self.prices.prices(), self.prices.oddity())[:, view]
            parts.append((features.cpu(), ms.cpu(), graph.cpu() + before))
            before += len(mine)
        if not parts:
            return
        kernels = Kernels(*(torch.cat(column) for column in zip(*parts, strict=True)))
        own = None
        if shares is not None and shares.output in view:
            own = shares._replace(output=view.index(shares.output), rows=np.searchsorted(rows, shares.rows))
        yield from fit_kernels(process, kernels, torch.log(targets[torch.from_numpy(rows)][:, view]).cpu(), own)
        process.to(targets.device)

    def _of_kernels(self) -> list[tuple[int, KernelProcesses]]:
        """Views that have processes of kernels, and these."""
        found = []
        for place, process in zip(self.by_kernel, self.kernel_processes, strict=True):
            assert isinstance(process, KernelProcesses)
            found.append((place, process))
        return found

    def _tile_penalty(self, networks: int) -> Tensor:
        tile = self.by_tile.view(-1, _CHANNELS, self.by_tile.shape[1])
        total = torch.zeros((), device=tile.device)
        for weight, factors in ((_TILE_PENALTY, tile), (_TILE_STEP_PENALTY, tile.diff(dim=1))):
            total = total + weight / networks * size_of(factors).sum(dim=(0, 1)).mean()
        return total

    def _refer(self) -> None:
        """Prices of views, from those of their outputs."""
        prices = torch.log(self.prices.prices().clamp_min(1e-30))
        self.reference = torch.stack([prices[..., view].mean(dim=2).exp() for view in self.views], dim=2)
        odd = self.prices.oddity()
        self.reference_odd = torch.stack([odd[:, view].mean(dim=1) for view in self.views], dim=1)

    def _process(self, place: int) -> Processes:
        process = self.processes[place]
        assert isinstance(process, Processes)
        return process

    def _fit_processes(self, tokens_of: Tokens, targets: Tensor) -> None:
        for place, view in enumerate(self.views):
            parts, times, left = [], [], []
            for mine, features, graph in _batches(tokens_of, _measured(targets[:, view])):
                composition, ms = self.compositions(features, graph, len(mine), [place])
                parts.append(composition[:, 0].cpu().double().numpy())
                times.append(ms[:, 0].cpu().double().numpy())
                distinct, which = torch.unique(features, dim=0, return_inverse=True)
                each = self.priced(distinct, place).index_select(0, which)
                each = self.with_waits(each, features, graph, len(mine))
                total = pool_sum(each, graph, len(mine)).clamp_min(1e-9)[:, view]
                left.append(
                    (torch.log(targets[torch.from_numpy(mine)][:, view]) - torch.log(total)).cpu().double().numpy()
                )
            if parts:
                process = self._process(place)
                process.hold(fit(np.concatenate(parts), np.concatenate(times), np.concatenate(left)))
                process.to(targets.device)

    @torch.no_grad()
    def observe(self, features: Tensor, graph: Tensor, measured: Tensor) -> None:
        """Widen the region of kernels seen by those of training networks. measured (B, outputs): where each was."""
        kind = one_hot_kinds(features)
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
        kind, values = one_hot_kinds(features), _region(features)[:, :, None]
        number = kind.argmax(dim=1)
        under = values < self.lowest.transpose(0, 1).index_select(0, number) - _NEAR
        over = values - self.highest.transpose(0, 1).index_select(0, number) > _NEAR
        return (under | over).any(dim=1) * kind[:, 1:].sum(dim=1, keepdim=True)

    def with_relative(self, output: int, factors: Mapping[str, float]) -> Tally2:
        """The model with one more output: a target that nothing was measured on, from a measured one.

        output: the measured target's. factors: how many times as long a unit of work of each term takes there, by the
        names of WORK; "others" stands for all terms that are not named. Facts of datasheets decide them.
        Raises ValueError for an output that has prices of NPUs, which are of other work.
        """
        if output in self.config.npus:
            raise ValueError(f"output {output} has prices of NPUs, which factors by terms of WORK say nothing of")
        config = replace(
            self.config,
            outputs=self.config.outputs + 1,
            groups=(*self.prices.groups, self.prices.groups[output]),
            least_run=(*self.prices.least_run, self.prices.least_run[output]),
            least_call=(*self.prices.least_call, self.prices.least_call[output]),
            hardware=(*self.config.hardware, self.config.hardware[output]) if self.config.hardware else (),
            runtimes=(*self.config.runtimes, self.config.runtimes[output]) if self.config.runtimes else (),
            views=(*self.config.views, self.config.views[output]) if self.config.views else (),
        )
        wider = Tally2(config)
        state = self.state_dict()
        place = next(k for k, view in enumerate(self.views) if output in view)
        for name in ("weights", "measured"):
            held = state[f"processes.{place}.{name}"]
            column = self.views[place].index(output)
            state[f"processes.{place}.{name}"] = torch.cat([held, held[:, column, None]], dim=1)
        if place in self.by_kernel:
            name = f"kernel_processes.{self.by_kernel.index(place)}.weights"
            state[name] = torch.cat([state[name], state[name][:, self.views[place].index(output), None]], dim=1)
        for name in ("lowest", "highest"):
            state[name] = torch.cat([state[name], state[name][..., output, None]], dim=2)
        times = torch.tensor([factors.get(name, factors.get("others", 1.0)) for name in WORK])
        mine = state["prices.target"][:, output] + torch.log(times)
        state["prices.target"] = torch.cat([state["prices.target"], mine[:, None]], dim=1)
        state["prices.scale"] = torch.cat([state["prices.scale"], state["prices.scale"][output, None]])
        wider.load_state_dict(state)
        return wider.eval()

    def priced(self, features: Tensor, asked: int | None = None) -> Tensor:
        """Milliseconds of each token, (T, outputs): of its work, times factors of tiles and kernels.

        0 for one without a kind, which fills a batch up. asked: the view whose factors of kernels are needed; all
        without.
        """
        each = self.roofline(features, self.prices.prices(), self.prices.oddity())
        said: list[Tensor] = []
        of: list[int] = []
        if self.config.tiled:
            tile, shaped = tile_places(features)
            both = self.by_tile.index_select(0, tile.flatten()).view(*tile.shape, len(self.config.tiled))
            said.append(both.sum(dim=1) * shaped)
            of += self.config.tiled
        views = [(number, process) for number, process in self._of_kernels() if asked in (None, number)]
        if views:
            said.append(kernel_factors([process for _, process in views], features))
            of += [output for number, _ in views for output in self.views[number]]
        if said:
            outputs = torch.eye(each.shape[1]).to(each)[of]  # no output has factors of both
            each = each * torch.exp(torch.cat(said, dim=1) @ outputs)
        if self.config.npus:
            place = list(range(each.shape[1]))
            for number, output in enumerate(self.config.npus):
                place[output] = each.shape[1] + number
            both = torch.cat([each, self.npu_prices(features)], dim=1)
            each = both.index_select(1, torch.tensor(place, device=each.device))
        return each

    def with_waits(self, each: Tensor, features: Tensor, graph: Tensor, networks: int) -> Tensor:
        """Milliseconds of tokens (T, outputs) with what GPUs wait for their hosts, shared by a network's kernels alike.

        A host launches kernels one after another, whatever each computes, while the GPU computes those before.
        """
        kernel = features[:, tokens.FIRST_KIND + 1 : tokens.FIRST_WINDOW].sum(dim=1, keepdim=True)
        kernels = pool_sum(kernel, graph, networks)
        waits = (kernels * self.prices.launching() - pool_sum(each, graph, networks)).clamp_min(0)
        return each + kernel * (waits / kernels.clamp_min(1)).index_select(0, graph)

    def roofline(self, features: Tensor, prices: Tensor, oddity: Tensor) -> Tensor:
        """Milliseconds of each token by prices (terms, numbers x kinds, outputs), (T, outputs)."""
        kind = one_hot_kinds(features)
        mine = prices.transpose(0, 1).index_select(0, numbered(features))
        each = torch.bmm(amounts(features)[:, None], mine)[:, 0] + kind @ self.prices.least
        return each * torch.exp(odd(features) * oddity.index_select(0, kind.argmax(dim=1)))

    def compositions(
        self,
        features: Tensor,
        graph: Tensor,
        networks: int,
        asked: Sequence[int] | None = None,
        place: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """How networks' time divides, as views see it: square roots of shares (B, views, kinds x terms), and ms.

        asked: the views; all without. place: where each token is among features; without, one after the other.
        """
        reference, reference_odd = self.reference, self.reference_odd
        if asked is not None:
            reference, reference_odd = reference[..., asked], reference_odd[..., asked]
        number = one_hot_kinds(features).argmax(dim=1)
        mine = reference.permute(1, 2, 0).index_select(0, numbered(features))  # (T, views, terms)
        factor = torch.exp(odd(features) * reference_odd.index_select(0, number))
        each = amounts(features)[:, None] * mine * factor[:, :, None]
        kinds, terms, views = len(tokens.KINDS), len(WORK), reference.shape[2]
        each = each.flatten(1)
        if place is not None:
            each, number = each.index_select(0, place), number.index_select(0, place)
        sums = pool_sum(each, graph * kinds + number, networks * kinds)
        sums = sums.view(networks, kinds, views, terms).transpose(1, 2).flatten(2)
        ms = sums.sum(dim=2).clamp_min(1e-9)
        return torch.sqrt(sums / ms[:, :, None]), ms

    def parts(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, Tensor]:
        """What `embed` returns, and the milliseconds of each token that it sums, (T, outputs)."""
        distinct, place = torch.unique(features, dim=0, return_inverse=True)
        vector, each, _ = self._answer(distinct, place, graph, static.shape[0])
        return vector, each

    def answers(self, features: Tensor, edges: Tensor, graph: Tensor, static: Tensor) -> tuple[Tensor, ...]:
        """Latency, embedding, the latency of each token, which are unlike those measured, how novel networks are."""
        distinct, place = torch.unique(features, dim=0, return_inverse=True)
        vector, each, novelty = self._answer(distinct, place, graph, static.shape[0])
        strange = self.unfamiliar(distinct).index_select(0, place)
        return self.from_embedding(vector), vector, each, strange, novelty

    def _answer(self, distinct: Tensor, place: Tensor, graph: Tensor, networks: int) -> tuple[Tensor, Tensor, Tensor]:
        """ln of latencies and coordinates in all views (B, D), ms of tokens (T, outputs), novelty (B, outputs).

        distinct: the kernels that differ; networks repeat themselves. place: where each token is among them, (T,).
        """
        composition, ms = self.compositions(distinct, graph, networks, place=place)
        processes = [self._process(place) for place in range(len(self.views))]
        where = coordinates(processes, composition, ms)
        added, novelty = told(processes, where)
        outputs = [k for view in self.views for k in view]
        order = torch.tensor(sorted(range(len(outputs)), key=outputs.__getitem__), device=distinct.device)
        said = added.index_select(1, order)
        each = self.priced(distinct).index_select(0, place) * torch.exp(said).index_select(0, graph)
        each = self.with_waits(each, distinct.index_select(0, place), graph, networks)
        total = pool_sum(each, graph, networks).clamp_min(1e-9)
        vector = torch.cat([torch.log(total), where.transpose(0, 1).flatten(1)], dim=1)
        return vector, each, novelty.index_select(1, order)


def _measured(targets: Tensor) -> npt.NDArray[np.int64]:
    """Rows that were measured on any of some outputs: targets (rows, outputs), NaN where not."""
    return torch.isfinite(targets).any(dim=1).nonzero()[:, 0].cpu().numpy()


def _batches(tokens_of: Tokens, rows: npt.NDArray[np.int64]) -> Iterator[tuple[npt.NDArray[np.int64], Tensor, Tensor]]:
    """Some rows at a time, with the features and owners of their tokens."""
    for start in range(0, len(rows), _ROWS):
        mine = rows[start : start + _ROWS]
        yield mine, *tokens_of(mine)


def amounts(features: Tensor) -> Tensor:
    """Work of each token by the terms of WORK, (T, terms); 0 for one without a kind."""
    column, full = columns(features), columns(features.clamp_min(1))
    kinds = is_among(features, _TILED, _ATTENTION, _ANY, _DEPTHWISE, _DENSE, _CONVOLVED, _IN_BLOCKS)
    tiled, attends, kernels, depthwise, _, convolved, _ = torch.split(kinds, 1, dim=1)
    # A convolution goes through its channels tap by tap of its window.
    taps = torch.where(convolved > 0, full["window"].square(), 1)
    depth = (column["depth"] / taps).clamp_min(1)
    sizes = (full["columns"], depth, full["rows"], full["widest"], full["channels"])
    unfilled = _unfilled(sizes, (_TILE_COLUMNS, _TILE_DEPTH, _TILE_ROWS, _BLOCK, _BLOCK))
    idle = column["macs"] * tiled * unfilled[:, :3]
    blank, blocks = _blocks(column, full, kinds[:, 4:], unfilled[:, 3:])
    moved = column["read"] + column["written"] + blank
    beyond = (moved - moved.new_tensor([_L2, _L3])).clamp_min(0)
    amount = {
        **column,
        **blocks,
        **named(("idle columns", "idle depth", "idle rows"), idle),
        **named(("beyond L2", "beyond L3"), beyond),
        "blank": blank,
        "inside": column["macs"] - column["padding"],
        "scores": column["rows"] * column["columns"] * column["products"] * attends,
        "far weights": column["weights"] * ((column["held"] - _L3) / full["held"]).clamp_min(0),
        "wide": column["macs"] * depthwise * (column["window"] > 5),
        "widest": column["macs"] * depthwise * (column["window"] > 7),
        "calls": kernels,
    }
    return torch.cat([amount[name] for name in WORK], dim=1)


def _blocks(
    column: Mapping[str, Tensor], full: Mapping[str, Tensor], kinds: Tensor, unfilled: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Bytes that fill up blocks of channels, and what of convolutions is on them, lacks others beside it or is first.

    Images are kept in blocks of 16 channels, but for those of fewer, which the first convolution reads as they are.
    Multiply-adds of several places and blocks go on at once; what is left of either does by itself, and waits.

    column, full: numbers of tokens by name; the same, at least 1. kinds (T, 3): 1 for tokens whose kind is dense,
    convolved, kept in blocks. unfilled (T, 2): of channels read and written.
    """
    dense, convolved, kept = torch.split(kinds * (column["unblocked"] == 0), 1, dim=1)
    read, rows, window = full["widest"], full["rows"], column["window"]
    more = torch.where(read >= _BLOCK, unfilled[:, :1], 0)
    blank = column["read"] * more + column["written"] * unfilled[:, 1:]
    macs = column["macs"] + column["idle"]
    blocks = torch.ceil(column["columns"] / _BLOCK).clamp_min(1)
    width = torch.round(rows / full["height"]).clamp_min(1)
    beside = torch.minimum(width, 2 * torch.ceil((window - 1) / 2 / full["stride"]))  # on padding
    alone = torch.where(
        window > 1,
        (beside + torch.fmod(width - beside, _PLACES)) / width,
        torch.fmod(rows, _PLACES) / rows,
    )
    return blank * kept, {
        "idle inputs": macs * more * dense,
        "narrow": macs * (torch.fmod(blocks, _TOGETHER) == 1) / blocks * convolved,
        "single": macs * alone * dense,
        "first blocks": rows * blocks * (read < _BLOCK) * dense,
    }


def _unfilled(sizes: Sequence[Tensor], tiles: Sequence[int]) -> Tensor:
    """How much of tiles is left empty, for each unit that is full, (T, sizes). sizes: (T, 1) each, at least 1."""
    size, tile = torch.cat(list(sizes), dim=1), sizes[0].new_tensor(tiles)
    return torch.ceil(size / tile) * tile / size - 1


def numbered(features: Tensor) -> Tensor:
    """Which kind of kernel a token is, on which kind of numbers: a place among numbers x kinds, (T,)."""
    kind = one_hot_kinds(features)
    # Recurrent kernels with integer weights make integers of their data at each step.
    recurrent = kind[:, _RECURRENT] * features[:, tokens.FLAG["integer weights"]]
    integers = torch.maximum(features[:, tokens.FLAG["integer data"]], recurrent)
    numbers = integers * (2 - features[:, tokens.FLAG["integer result"]])
    return kind.argmax(dim=1) + len(tokens.KINDS) * numbers.long().clamp(0, _NUMBERS - 1)


def odd(features: Tensor) -> Tensor:
    """1 for a kernel that reads channels that four does not divide, (T, 1)."""
    divided = features[:, tokens.FLAG["reads by 4"], None]
    return (1 - divided) * is_among(features, _ANY) * (columns(features)["widest"] >= 8)


def work(features: Tensor, graph: Tensor, networks: int) -> Tensor:
    """Work of each network, (networks, 2 x terms x numbers x kinds): of kernels that are not odd, then of odd ones."""
    there = one_hot_kinds(features).sum(dim=1)
    amount = amounts(features)
    kinds = _NUMBERS * len(tokens.KINDS)
    row = 2 * len(WORK) * kinds
    first = graph * row + odd(features)[:, 0].long() * len(WORK) * kinds + numbered(features)
    place = first[:, None] + kinds * torch.arange(len(WORK), device=graph.device)
    mine = there > 0
    total = torch.zeros(networks * row, dtype=torch.float64, device=features.device)
    total.index_add_(0, place[mine].flatten(), amount[mine].double().flatten())
    return total.view(networks, row).float()


def tile_places(features: Tensor) -> tuple[Tensor, Tensor]:
    """Where the factors of what each token reads and writes are, (T, 2), and 1 where it has any, (T, 1)."""
    kind = one_hot_kinds(features)
    window = features[:, tokens.FIRST_WINDOW :].argmax(dim=1)
    window = torch.where(kind[:, _MULTIPLY] > 0, len(tokens.WINDOWS) + 1, window)
    column = columns(features)
    height = torch.round(torch.log(column["height"].clamp_min(1)) / math.log(2))
    group = window[:, None] * _HEIGHTS + height.clamp(0, _HEIGHTS - 1).long()
    read_and_written = place_of(torch.cat([column["widest"], column["channels"]], dim=1))
    first = torch.tensor([0, _SHAPES * _CHANNELS], device=features.device)
    return first + group * _CHANNELS + read_and_written, is_among(features, _SHAPED)


def _region(features: Tensor) -> Tensor:
    """ln of the work of each kernel (MACs, operations and bytes), of its rows and columns, (T, region)."""
    column = columns(features)
    work = column["macs"] + column["operations"] + column["read"] + column["written"]
    return torch.log1p(torch.cat([work, column["rows"], column["columns"]], dim=1))
