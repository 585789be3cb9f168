"""What kernels take on NPUs, of which few networks are known: a few kinds of work, whose prices targets share.

Ours. An NPU multiplies matrices in tiles and does all else on vectors. It keeps images with their channels last: to
put channels last costs it nothing, to bring an image of three channels in does. It reads weights from memory once,
hidden behind multiplications where there are many rows, and keeps activations in a memory of some megabytes. A hundred
networks do not tell a price for every kind of kernel and term of work, as thousands do (tally2.py), but they tell
these: each starts from what such hardware does, and what groups of targets say of it costs its square.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from narformer.models.columns import columns, is_among, named, places
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


_PRODUCTS = ("matrix product", "attention")
_MATRIX = tuple(sorted(tokens.MATRIX))
_ELEMENTS = ("rectifier", "clip", "add", "multiply", "other", "quantize")
_KERNELS = tokens.KINDS[1:]  # the run is none
# The kinds whose multiply-adds, and whose bytes, are a term.
_OF_MACS: Mapping[str, tuple[str, ...]] = {
    "convolution": ("convolution", "transposed convolution"),
    "pointwise": ("pointwise",),
    "depthwise": ("depthwise",),
    "grouped": ("grouped convolution",),
    "linear": (tokens.LINEAR, "fully connected"),
    "matrix product": _PRODUCTS,
    "recurrent": ("recurrent",),
}
_OF_BYTES: Mapping[str, tuple[str, ...]] = {
    "by products": _MATRIX,
    "by depthwise": ("depthwise",),
    "normalised": ("normalization",),
    "smooth": ("smooth activation",),
    "element-wise": _ELEMENTS,
    "concatenated": ("concatenate",),
    "split": ("split",),
    "moved": ("move", "gather", "resize"),
    "gathered": ("gather",),
    "resized": ("resize",),
    "pooled": ("pool", "global pool", "reduction"),
    "searched": ("sort", "trees"),
}
_OTHERS: Mapping[str, tuple[str, ...]] = {
    "run": (tokens.RUN,),
    "kernels": _KERNELS,
    "products": _MATRIX,
    "convolution": ("convolution", "transposed convolution"),
    "image": ("convolution", "transposed convolution", "pointwise"),
    "attention": ("attention",),
    "softmax": ("softmax",),
    "transpose": ("transpose",),
}


def amounts(features: Tensor) -> Tensor:
    """Work of each token by TERMS, (T, terms); 0 for one without a kind, which fills a batch up."""
    column = columns(features)
    sets = [places(*kinds) for of in (_OF_MACS, _OF_BYTES, _OTHERS) for kinds in of.values()]
    sizes = [len(_OF_MACS), len(_OF_BYTES), len(_OTHERS)]
    of_macs, of_bytes, others = torch.split(is_among(features, *sets), sizes, dim=1)
    is_a = named(_OTHERS, others)
    macs, moved = column["macs"], column["read"] + column["written"]
    weights = column["weights"] + column["streamed"]
    elements = column["written"] / 4
    relaid = is_a["transpose"] * (torch.abs(column["channels"] * column["widest"] - elements) < 0.01 * elements)
    kept = moved * (1 - relaid)
    # Images are computed in blocks but where four does not divide their channels; nothing else is.
    blocked = (column["unblocked"] == 0) | ((column["widest"] >= tokens.LANES) & (torch.fmod(column["widest"], 4) > 0))
    amount = {
        **named(_OF_MACS, macs * of_macs),
        **named(_OF_BYTES, moved * of_bytes),
        **named(("spilled", "spilled far"), (kept - kept.new_tensor([_OWN_MEMORY, 4 * _OWN_MEMORY])).clamp_min(0)),
        "volume": macs * is_a["convolution"] * ~blocked,
        "scores": column["rows"] * column["columns"] * column["products"] * is_a["attention"]
        + elements * is_a["softmax"],
        "image": column["read"] * (column["widest"] <= _IMAGE) * is_a["image"],
        "within": column["within"],
        "transposed": moved * (is_a["transpose"] - relaid),
        "channels last": moved * relaid,
        "weights": weights,
        "waited for": weights * (1 - column["rows"] / _ROWS).clamp_min(0),
        "kernels": is_a["kernels"],
        "products": is_a["products"],
        "run": is_a["run"],
    }
    return torch.cat([amount[name] for name in TERMS], dim=1)


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
