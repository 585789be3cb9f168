"""How far to trust a prediction: which interval it has, and what a user is warned of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from narformer.prediction.card import Output
from narformer.prediction.reading import Reading

DOUBTED = 0.7  # in ln(ms), by which intervals are wider at least where a warning says what was never measured
STRANGE = 0.25  # of a network's time in kernels unlike any measured, from which on a warning says so


@dataclass(frozen=True)
class Unfamiliar:
    """Of a network, by output. share: of its time in kernels unlike any measured; kinds: theirs, where that is much.

    kernels: how many share the time, as `effective_kernels` counts them.
    """

    share: tuple[float, ...]
    kinds: tuple[tuple[str, ...], ...]
    kernels: tuple[float, ...]


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


def half_width(output: Output, far: int, kernels: float) -> float:
    """Half width of the interval, in ln(ms), of a network that is known, novel or doubted (0, 1, 2).

    What is wrong with a network unlike those trained on is wrong with all its kernels: there nothing averages out.
    """
    known = output.quantiles["known"] * float(spread(kernels, output.averaged))
    novel = max(known, output.quantiles["novel"])
    return (known, novel, output.quantiles.get("doubted", novel + max(novel, DOUBTED)))[far]


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
        least, most = min(output.batch_sizes), max(output.batch_sizes)
        if not least <= batch <= most:
            seen = str(least) if least == most else f"{least} to {most}"
            warnings.append(f"batch size {batch} was never measured there (only {seen}): an extrapolation")
        doubts.append(tuple(warnings))
    return doubts


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
