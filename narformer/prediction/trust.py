"""How far to trust a prediction: which interval it has, and what a user is warned of."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from narformer.errors import ConfigError
from narformer.prediction.card import Limits, Output
from narformer.prediction.reading import Reading
from narformer.prediction.target import Target

Array = npt.NDArray[np.float64]
_WIDTHS: Mapping[str, float] = {"fp16": 0.5, "bf16": 0.5, "int8": 0.25, "w8a16": 0.25}
_INTEGERS = ("int8", "w8a16")  # targets that files are quantised for
# How much more novel than usual (`beyond`) a network is from which on errors are several times those of others, as one
# in ten real files is that no training saw.
FOREIGN = 0.93
STRANGE = 0.5  # of a network's time in kernels unlike any measured, from which on it is most
LONG_MS = 1.0  # networks that take longer are less in what runs cost beside their work, and are told better
DOUBTED = 0.7  # in ln(ms), by which intervals are wider at least where a warning says what was never measured


@dataclass(frozen=True)
class Unfamiliar:
    """Of some networks on some outputs, (networks, outputs).

    share: of the time in kernels unlike any measured; kinds: theirs, by network and output, where that is much.
    kernels: how many share the time, as `effective_kernels` counts them. novelty: 0 for a network composed as one that
    was measured, 1 for one that is like none; 0 where the model does not tell.
    """

    share: Array
    kernels: Array
    novelty: Array
    kinds: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)


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


def spread(kernels: npt.ArrayLike, averaged: Array | float) -> npt.NDArray[np.float64]:
    """The error of a sum of so many kernels, relative to that of one: a share of it averages out, as 1/√kernels."""
    return np.asarray(1 - averaged + averaged / np.sqrt(np.maximum(kernels, 1.0)))


def beyond(novelty: npt.ArrayLike, usual: npt.ArrayLike) -> Array:
    """How much more novel than usual, as a share of what is possible, 0 to 1."""
    return np.asarray(np.clip((np.asarray(novelty) - usual) / np.maximum(1 - np.asarray(usual), 1e-6), 0, 1))


def known_widths(
    known: Array | float,
    averaged: Array | float,
    away: Array | float,
    usual: Array | float,
    kernels: Array,
    novelty: Array,
) -> Array:
    """Half widths in ln(ms) of known networks, by the fields of `Output`s, their kernels and their novelty.

    What is wrong with a network unlike those trained on is wrong with all its kernels: there nothing averages out.
    """
    return np.hypot(known * spread(kernels, averaged), away * np.sqrt(beyond(novelty, usual)))


def at_length(short: Array | float, long: Array | float, latency: Array) -> Array:
    """What holds of networks of so many ms: `short` up to half of LONG_MS, `long` from twice of it on, between else."""
    share = np.clip(np.log(np.maximum(latency, 1e-9) / LONG_MS) / np.log(4) + 0.5, 0, 1)
    return np.asarray((1 - share) * short + share * long)


def half_widths(limits: Limits, far: npt.NDArray[np.integer], kernels: Array, novelty: Array, latency: Array) -> Array:
    """Half widths of intervals in ln(ms), of networks that are known, novel or doubted (0, 1, 2), (networks, outputs).

    novelty: of a network's composition, 0 to 1; beyond what is usual there, the interval of a known one widens.
    latency: estimates in ms.
    """
    away = at_length(limits.away, limits.away_long, latency)
    alike = at_length(limits.known, limits.long, latency)
    known = known_widths(alike, limits.averaged, away, limits.usual, kernels, novelty)
    novel = np.maximum(known, limits.novel)
    doubted = np.where(np.isnan(limits.doubted), doubted_widths(novel), limits.doubted)
    return np.hypot(np.where(far == 0, known, np.where(far == 1, novel, doubted)), limits.common)


def doubted_widths(novel: Array) -> Array:
    """Half widths in ln(ms) where a warning says what was never measured, from those of novel networks."""
    return novel + np.maximum(novel, DOUBTED)


def is_foreign(
    share: npt.ArrayLike, novelty: npt.ArrayLike, usual: npt.ArrayLike, away: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Whether networks are so unlike all measured ones that errors are larger than those of others.

    novelty: of their composition; usual: what is usual of that. away: 0 where novelty tells nothing, as no model says
    it or so few networks were measured that each is new; there the share of the time in kernels unlike any decides.
    """
    return np.where(np.asarray(away) > 0, beyond(novelty, usual) > FOREIGN, np.asarray(share) > STRANGE)


def doubts(
    networks: Sequence[Reading], outputs: Sequence[Output], limits: Limits, found: Unfamiliar
) -> list[list[tuple[str, ...]]]:
    """By network and output, what is measurably wrong more often: what was never measured there.

    That are kernels, compositions of them, precisions and batches. limits: those of the outputs.
    """
    foreign = is_foreign(found.share, found.novelty, limits.usual, limits.away).tolist()
    warned: list[list[tuple[str, ...]]] = []
    for row, network in enumerate(networks):
        told = [_unknown(network)] * len(outputs)
        measured = _as_measured(network, outputs, limits)
        for place in [k for k, (far, there) in enumerate(zip(foreign[row], measured, strict=True)) if far or not there]:
            far = _foreign(found, row, place) if foreign[row][place] else ()
            told[place] = (*told[place], *far, *_never_measured(network, outputs[place]))
        warned.append(told)
    return warned


def _as_measured(network: Reading, outputs: Sequence[Output], limits: Limits) -> list[bool]:
    """By output whether its precision and its batch were measured, and it fits: nearly always, and so told at once."""
    precision, seen = network.precision, limits.has_seen(network.batch_size)
    memory = _memories(tuple([output.device for output in outputs]), precision)
    fits = (network.weight_bytes + network.working_bytes <= memory).tolist()
    return [a and b and precision in output.precisions for a, b, output in zip(fits, seen, outputs, strict=True)]


def _unknown(network: Reading) -> tuple[str, ...]:
    if not network.unknown:
        return ()
    return (
        f"no cost is known of operator {', '.join(sorted(network.unknown))}: it counts as one that reads and writes",
    )


def _foreign(found: Unfamiliar, row: int, place: int) -> tuple[str, ...]:
    share = float(found.share[row, place])
    if share <= STRANGE:
        return ("no network that was measured there divides its time among kernels alike",)
    kinds = ", ".join(found.kinds.get((row, place), ())) or "several"
    return (f"{100 * share:.0f} % of the time is in kernels unlike any measured there: {kinds}",)


def _never_measured(network: Reading, output: Output) -> list[str]:
    """Its precision and its batch, and whether it fits at all."""
    batch = network.batch_size
    warnings = [] if network.precision in output.precisions else _other_precision(network.precision, output)
    if not output.has_seen(batch):
        warnings.append(f"batch size {batch} was never measured there (only {output.seen_batches}): an extrapolation")
    needed, there = least_memory(network, output.device), _memory(output.device)
    if there is not None and needed > there:
        warnings.append(
            f"batch size {batch} does not fit: it takes {needed / 2**30:.1f} GiB at least, and the hardware has "
            f"{there / 2**30:.0f}"
        )
    return warnings


def _other_precision(precision: str, output: Output) -> list[str]:
    """Of a file in a precision in which none was measured there."""
    own, measured = _precision(output.device), ", ".join(output.precisions)
    if (own, precision) in (("fp16", "float16"), ("bf16", "bfloat16")):  # what other files are converted to there
        return []
    if own in _INTEGERS and precision in ("float16", "bfloat16"):  # converted as those of float32 are
        return []
    if own in _INTEGERS and precision in ("int8", "uint8"):
        return [f"is in {precision} already: measured there were {measured} files, converted"]
    figure = f"that of {output.precisions[0]}" if "float" in precision else "reckoned from targets where integers were"
    return [f"computes in {precision}, which was never measured there (only {measured}): the figure is {figure}"]


def least_memory(network: Reading, device: str) -> float:
    """Bytes that a network needs at least on a target: its weights, and what one of its nodes reads and writes.

    Numbers of a file in float32 are as wide as those that the target computes in.
    """
    width = _width(device) if network.precision == "float32" else 1.0
    return width * (network.weight_bytes + network.working_bytes)


@functools.lru_cache(maxsize=64)
def _memories(devices: tuple[str, ...], precision: str) -> Array:
    """Bytes of a network in a precision that targets' hardware holds; infinitely many where that is not known."""
    room = [np.inf if (there := _memory(device)) is None else there for device in devices]
    return np.array(room) / ([_width(device) for device in devices] if precision == "float32" else 1.0)


@functools.cache
def _memory(device: str) -> int | None:
    target = _target(device)
    return None if target is None else target.facts.memory


@functools.cache
def _precision(device: str) -> str:
    """In which a target computes, without how it came to it: "fp16", "int8", "" where the id does not say."""
    target = _target(device)
    return "" if target is None else target.precision.partition("-")[0]


@functools.cache
def _width(device: str) -> float:
    """Of a number on this target, relative to float32."""
    return _WIDTHS.get(_precision(device), 1.0)


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
