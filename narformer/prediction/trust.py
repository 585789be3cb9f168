"""How far to trust a prediction: which interval it has, and what a user is warned of."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.errors import ConfigError
from narformer.prediction.card import Output
from narformer.prediction.reading import Reading
from narformer.prediction.target import Target

_WIDTHS: Mapping[str, float] = {"fp16": 0.5, "bf16": 0.5, "int8": 0.25, "w8a16": 0.25}
DOUBTED = 0.7  # in ln(ms), by which intervals are wider at least where a warning says what was never measured
STRANGE = 0.25  # of a network's time in kernels unlike any measured, from which on a warning says so


@dataclass(frozen=True)
class Unfamiliar:
    """Of a network, by output. share: of its time in kernels unlike any measured; kinds: theirs, where that is much.

    kernels: how many share the time, as `effective_kernels` counts them. novelty: 0 for one composed as a network that
    was measured, 1 for one that is like none; 0 where the model does not tell.
    """

    share: tuple[float, ...]
    kinds: tuple[tuple[str, ...], ...]
    kernels: tuple[float, ...]
    novelty: tuple[float, ...]


def network_sums(
    each: npt.NDArray[np.float64], graph: npt.NDArray[np.integer], networks: int
) -> npt.NDArray[np.float64]:
    """Sums over the tokens of each network of a batch: each (T, outputs), graph (T,) ascending -> (networks, outputs).

    A network has at least one token.
    """
    return np.asarray(np.add.reduceat(each, np.searchsorted(graph, np.arange(networks)), axis=0))


def effective_kernels(
    each: npt.NDArray[np.float64], graph: npt.NDArray[np.integer], networks: int
) -> npt.NDArray[np.float64]:
    """How many kernels share a network's time: (Σt)² / Σt², N for N equal ones, 1 where one takes all.

    each (T, outputs): ms of the kernels; graph (T,): the network of each -> (networks, outputs).
    """
    squares = network_sums(each**2, graph, networks)
    return np.asarray(network_sums(each, graph, networks) ** 2 / np.maximum(squares, 1e-30))


def spread(kernels: npt.ArrayLike, averaged: float) -> npt.NDArray[np.float64]:
    """The error of a sum of so many kernels, relative to that of one: a share of it averages out, as 1/√kernels."""
    return np.asarray(1 - averaged + averaged / np.sqrt(np.maximum(kernels, 1.0)))


def beyond(novelty: npt.ArrayLike, usual: float) -> npt.NDArray[np.float64]:
    """How much more novel than usual, as a share of what is possible, 0 to 1."""
    return np.asarray(np.clip((np.asarray(novelty) - usual) / max(1 - usual, 1e-6), 0, 1))


def known_widths(
    known: float,
    averaged: float,
    away: float,
    usual: float,
    kernels: npt.NDArray[np.float64],
    novelty: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Half widths in ln(ms) of known networks, (N,), by the fields of an `Output`, their kernels and their novelty."""
    return np.asarray(np.hypot(known * spread(kernels, averaged), away * np.sqrt(beyond(novelty, usual))))


def half_width(output: Output, far: int, kernels: float, novelty: float = 0.0) -> float:
    """Half width of the interval, in ln(ms), of a network that is known, novel or doubted (0, 1, 2).

    What is wrong with a network unlike those trained on is wrong with all its kernels: there nothing averages out.
    novelty: of a known network's composition, 0 to 1; beyond what is usual there, its interval widens.
    """
    # `known_widths` of one network, without arrays: a prediction asks for a hundred.
    known = output.quantiles["known"] * (1 - output.averaged + output.averaged / math.sqrt(max(kernels, 1.0)))
    if novelty > output.usual:
        share = min((novelty - output.usual) / max(1 - output.usual, 1e-6), 1.0)
        known = math.hypot(known, math.sqrt(share) * output.away)
    novel = max(known, output.quantiles["novel"])
    half = (known, novel, output.quantiles.get("doubted", novel + max(novel, DOUBTED)))[far]
    return math.hypot(half, output.common)


def doubts(network: Reading, outputs: Sequence[Output], strange: Unfamiliar) -> list[tuple[str, ...]]:
    """By output, what is measurably wrong more often: kernels, precisions and batches that were never measured."""
    unknown, precision, batch = sorted(network.unknown), network.precision, network.batch_size
    doubts = []
    for output, share, kinds in zip(outputs, strange.share, strange.kinds, strict=True):
        warnings = []
        if unknown:
            warnings.append(
                f"no cost is known of operator {', '.join(unknown)}: it counts as one that reads and writes"
            )
        if share > STRANGE:
            named = ", ".join(kinds) or "several"
            warnings.append(f"{100 * share:.0f} % of the time is in kernels unlike any measured there: {named}")
        if precision not in output.precisions:
            warnings.append(
                f"computes in {precision}, which was never measured there (only {', '.join(output.precisions)}): "
                f"the figure is that of {output.precisions[0]}"
            )
        if not output.has_seen(batch):
            warnings.append(
                f"batch size {batch} was never measured there (only {output.seen_batches}): an extrapolation"
            )
        needed, there = least_memory(network, output.device), _memory(output.device)
        if there is not None and needed > there:
            warnings.append(
                f"batch size {batch} does not fit: it takes {needed / 2**30:.1f} GiB at least, and the hardware has "
                f"{there / 2**30:.0f}"
            )
        doubts.append(tuple(warnings))
    return doubts


def least_memory(network: Reading, device: str) -> float:
    """Bytes that a network needs at least on a target: its weights, and what one of its nodes reads and writes.

    Numbers of a file in float32 are as wide as those that the target computes in.
    """
    width = _width(device) if network.precision == "float32" else 1.0
    return width * (network.weight_bytes + network.working_bytes)


@functools.cache
def _memory(device: str) -> int | None:
    target = _target(device)
    return None if target is None else target.facts.memory


@functools.cache
def _width(device: str) -> float:
    """Of a number on this target, relative to float32."""
    target = _target(device)
    return 1.0 if target is None else _WIDTHS.get(target.precision.partition("-")[0], 1.0)


def _target(device: str) -> Target | None:
    try:
        return Target.parse(device)
    except ConfigError:
        return None


def novelty_warnings(network: Reading, output: Output, near: bool) -> tuple[int, tuple[str, ...]]:
    """As predictors on tokens of the file's own nodes see it: operators, batches and distance from training."""
    warnings = []
    unknown = sorted(network.operators.difference(output.operators))
    if unknown:
        warnings.append(f"never seen in training: operator {', '.join(unknown)}")
    if network.batch_size not in output.batch_sizes:
        warnings.append(
            f"batch size {network.batch_size} was never seen in training "
            f"(only {', '.join(map(str, output.batch_sizes))}): the figure is an extrapolation"
        )
    if not near:
        warnings.append("far from every network trained on: the interval is that of unknown families")
    return (2 if unknown else int(bool(warnings))), tuple(warnings)
