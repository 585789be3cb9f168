"""What kernels take on NPUs, of which few networks are known: a few kinds of work, whose prices targets share.

Ours. An NPU multiplies matrices in tiles and does all else on vectors. It keeps images with their channels last: to
put channels last costs it nothing, to bring an image of three channels in does. It reads weights from memory once,
hidden behind multiplications where there are many rows, and keeps activations in a memory of some megabytes. A hundred
networks do not tell a price for every kind of kernel and term of work, as thousands do (tally2.py), but they tell
these: each starts from what such hardware does, and what groups of targets say of it costs its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from narformer.models.price_fit import WARMUP, rounded, slow
from narformer.tokens import runtime_kernels as tokens

# Kinds of work, and ms that a unit of each takes, from which training starts: about those of a phone's NPU of 2024 on
# half precision. Multiply-adds; then bytes as tokens count them, four a number; then how many.
_TERMS = (
    ("convolution", 1.2e-10),
    ("pointwise", 1.7e-10),
    ("depthwise", 2.5e-9),
    ("grouped", 3.3e-10),
    ("volume", 1e-10),  # beside, of convolutions of anything but images
    ("linear", 1.7e-10),
    ("matrix product", 4e-10),
    ("recurrent", 1e-9),
    ("scores", 2e-8),  # numbers that say how much a position heeds another
    ("image", 1.5e-7),  # what comes in with at most four channels, and is put in tiles of 32
    ("by products", 8e-10),
    ("by depthwise", 2.5e-9),
    ("normalised", 4e-9),
    ("smooth", 4e-9),
    ("element-wise", 1e-9),
    ("within", 5e-10),
    ("concatenated", 1.2e-9),
    ("split", 1.2e-9),
    ("moved", 1e-8),
    ("gathered", 1e-8),
    ("resized", 1e-8),
    ("transposed", 1.5e-8),
    ("channels last", 5e-10),  # of what only puts channels last or first
    ("pooled", 2.5e-9),
    ("searched", 2e-8),
    ("spilled", 2e-9),  # beyond what the NPU's own memory holds, and beyond four times that
    ("spilled far", 1e-9),
    ("weights", 1e-9),
    ("waited for", 8.3e-9),  # weights that too few rows are multiplied with to hide that they are read
    ("kernels", 3e-4),
    ("products", 3e-4),
    ("run", 0.02),
)
TERMS = tuple(name for name, _ in _TERMS)
_OWN_MEMORY = 16e6  # bytes, four a number: 4 million numbers
_IMAGE = 4  # channels at most
_ROWS = 256  # from which on reading weights is hidden
ITERATIONS = 300
RATE = 0.05
_PENALTY = 1.5e-3
_ROUNDED = 0.05  # below this error, in ln, the loss is a parabola


def _kinds(*names: str) -> list[int]:
    return [tokens.KINDS.index(name) for name in names]


_CONVOLUTIONS = _kinds("convolution", "transposed convolution")
_LINEAR = _kinds(tokens.LINEAR, "fully connected")
_PRODUCTS = _kinds("matrix product", "attention")
_MATRIX = _kinds(*sorted(tokens.MATRIX))
_ELEMENTS = _kinds("rectifier", "clip", "add", "multiply", "other", "quantize")
_SEARCH = _kinds("sort", "trees")


def amounts(features: Tensor) -> Tensor:
    """Work of each token by TERMS, (T, terms); 0 for one without a kind, which fills a batch up."""
    column = {name: features[:, place] for name, place in tokens.COLUMN.items()}
    kind = features[:, tokens.FIRST_KIND : tokens.FIRST_WINDOW]

    def of(places: Sequence[int]) -> Tensor:
        return kind[:, list(places)].sum(dim=1)

    def is_a(*names: str) -> Tensor:
        return of(_kinds(*names))

    macs, moved = column["macs"], column["read"] + column["written"]
    weights = column["weights"] + column["streamed"]
    matrix, convolved, transposed = of(_MATRIX), of(_CONVOLUTIONS), is_a("transpose")
    elements = column["written"] / 4
    relaid = transposed * (torch.abs(column["channels"] * column["widest"] - elements) < 0.01 * elements)
    kept = moved * (1 - relaid)
    # Images are computed in blocks but where four does not divide their channels; nothing else is.
    blocked = (column["unblocked"] == 0) | ((column["widest"] >= tokens.LANES) & (column["widest"] % 4 > 0))
    amount = {
        "convolution": macs * convolved,
        "pointwise": macs * is_a("pointwise"),
        "depthwise": macs * is_a("depthwise"),
        "grouped": macs * is_a("grouped convolution"),
        "volume": macs * convolved * ~blocked,
        "linear": macs * of(_LINEAR),
        "matrix product": macs * of(_PRODUCTS),
        "recurrent": macs * is_a("recurrent"),
        "scores": column["rows"] * column["columns"] * column["products"] * is_a("attention")
        + elements * is_a("softmax"),
        "image": column["read"] * (column["widest"] <= _IMAGE) * (convolved + is_a("pointwise")),
        "by products": moved * matrix,
        "by depthwise": moved * is_a("depthwise"),
        "normalised": moved * is_a("normalization"),
        "smooth": moved * is_a("smooth activation"),
        "element-wise": moved * of(_ELEMENTS),
        "within": column["within"],
        "concatenated": moved * is_a("concatenate"),
        "split": moved * is_a("split"),
        "moved": moved * is_a("move", "gather", "resize"),
        "gathered": moved * is_a("gather"),
        "resized": moved * is_a("resize"),
        "transposed": moved * (transposed - relaid),
        "channels last": moved * relaid,
        "pooled": moved * is_a("pool", "global pool", "reduction"),
        "searched": moved * of(_SEARCH),
        "spilled": (kept - _OWN_MEMORY).clamp_min(0),
        "spilled far": (kept - 4 * _OWN_MEMORY).clamp_min(0),
        "weights": weights,
        "waited for": weights * (1 - column["rows"] / _ROWS).clamp_min(0),
        "kernels": kind[:, 1:].sum(dim=1),
        "products": matrix,
        "run": kind[:, 0],
    }
    return torch.stack([amount[name] for name in TERMS], dim=1)


class NpuPrices(nn.Module):
    """Milliseconds a unit of work on each of some targets. `forward` gives those of tokens, (T, WIDTH) -> (T, outputs).

    groups: the numbers of the groups to which each target belongs. least_run, least_call: ms that a run and a kernel
    take at least, of each target.
    """

    belongs: Tensor
    start: Tensor
    least: Tensor

    def __init__(
        self, groups: Sequence[Sequence[int]], least_run: Sequence[float], least_call: Sequence[float]
    ) -> None:
        super().__init__()
        # Groups of other targets are none here, and groups that have the same of these targets are one.
        members = {
            number: tuple(k for k, of in enumerate(groups) if number in of)
            for number in sorted({number for of in groups for number in of})
        }
        distinct = list(dict.fromkeys(members.values()))
        belongs = torch.zeros(len(groups), len(distinct))
        for place, targets in enumerate(distinct):
            belongs[list(targets), place] = 1
        least = torch.zeros(len(TERMS), len(groups))
        least[TERMS.index("run")] = torch.tensor(least_run)
        least[TERMS.index("kernels")] = torch.tensor(least_call)
        self.register_buffer("belongs", belongs, persistent=False)
        self.register_buffer("start", torch.tensor([ms for _, ms in _TERMS]).log()[:, None], persistent=False)
        self.register_buffer("least", least, persistent=False)
        self.scale = nn.Parameter(torch.zeros(len(groups)))
        self.said = nn.Parameter(torch.zeros(len(TERMS), len(distinct)))

    def prices(self) -> Tensor:
        """(terms, outputs)."""
        return torch.exp(self.start + self.said @ self.belongs.T + self.scale) + self.least

    def forward(self, features: Tensor) -> Tensor:
        """Milliseconds of each token, (T, outputs)."""
        return amounts(features) @ self.prices()

    def fit(self, work: Tensor, targets: Tensor, iterations: int = ITERATIONS) -> Iterator[tuple[int, int, float]]:
        """Fit to the mean |ln(prediction / truth)| of networks; yields iterations done, all, and the loss.

        work: (networks, terms), what tokens of each amount to. targets: (networks, outputs) ms, NaN where not measured.
        Networks of the same work, which are one under several names, count as one.
        """
        _, same, count = torch.unique(work, dim=0, return_inverse=True, return_counts=True)
        known = torch.isfinite(targets)
        weights = known / count[same][:, None]
        weights = weights / weights.sum().clamp_min(1e-9)
        truth = torch.log(targets).nan_to_num(0.0)
        optimizer = torch.optim.Adam(self.parameters(), lr=RATE)
        for iteration in range(iterations):
            slow(optimizer, iteration, iterations, RATE)
            off = torch.log((work @ self.prices()).clamp_min(1e-9)) - truth
            total = (weights * rounded(off, _ROUNDED)).sum()
            loss = total + _PENALTY * self.said.square().sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if (iteration + 1) % WARMUP == 0:
                yield iteration + 1, iterations, float(total.detach())
