"""Adapting to the device at hand: choose a network, measure it, learn, choose the next; and see how good it became.

Networks come from the families. The choice depends on what was chosen before, never on the latencies, so a command
given again chooses the same ones and finds those measured before in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from narformer.adaptation.device import AdaptedDevice, adapt, profile
from narformer.adaptation.gaussian_process import Adaptation, Profiles, next_to_measure
from narformer.families.registry import FAMILIES, Variant, sample
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph
from narformer.measurement.session import Network, Outcome, Settings, measure
from narformer.measurement.store import Store
from narformer.prediction.predictor import Predictor

PER_FAMILY = 12
# Networks measured before the expected error is believed.
ENOUGH = 10
Track = Callable[[Sequence[Variant]], Iterable[Variant]]
Report = Callable[[Outcome], None]


@dataclass(frozen=True)
class Pool:
    """Networks that can be measured, and what is known of them before."""

    variants: tuple[Variant, ...]
    graphs: tuple[Graph, ...]
    profiles: Profiles

    @classmethod
    def draw(cls, predictor: Predictor, per_family: int = PER_FAMILY, track: Track = lambda v: v) -> Pool:
        """`per_family` networks of every family, always the same. track: shows progress over them."""
        variants = tuple(v for name in FAMILIES for v in sample(name, per_family, seed=1))
        graphs = tuple(_graph(variant) for variant in track(variants))
        return cls(variants, graphs, profile(graphs, predictor))


@dataclass(frozen=True)
class Comparison:
    """One network predicted and then measured; milliseconds."""

    model: str
    family: str
    predicted: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        """In percent of what was measured."""
        return 100 * (self.predicted / self.measured - 1)


def measure_and_adapt(
    name: str,
    pool: Pool,
    samples: int,
    *,
    settings: Settings,
    store: Store,
    predictor: Predictor,
    target_error: float | None = None,
    report: Report = lambda _: None,
) -> AdaptedDevice:
    """Adapt to the device of `settings` from `samples` networks, or fewer where `target_error` (percent) is reached.

    What cannot be measured is replaced. The result is not saved yet. Raises ConfigError where too few could be
    measured, and what `measure` raises.
    """
    measured: dict[int, float] = {}
    failed: set[int] = set()
    asked: list[int] = []

    def networks() -> Iterator[Network]:
        while len(measured) < samples and not _reached(pool, measured, target_error):
            index = next_to_measure(pool.profiles, list(measured), failed)
            if index is None:
                return
            asked.append(index)
            yield Network(pool.graphs[index].name, pool.variants[index].build)

    def note(outcome: Outcome) -> None:
        if outcome.measurement.latency_ms is None:
            failed.add(asked[-1])
        else:
            measured[asked[-1]] = outcome.measurement.latency_ms
        report(outcome)

    measure(networks(), store=store, settings=settings, report=note)
    pairs = [(pool.graphs[index], ms) for index, ms in measured.items()]
    profiles = pool.profiles.rows(list(measured))
    return adapt(name, pairs, str(settings.target()), predictor, profiles)


def _reached(pool: Pool, measured: dict[int, float], target_error: float | None) -> bool:
    if target_error is None or len(measured) < ENOUGH:
        return False
    fitted = Adaptation(pool.profiles.rows(list(measured)), list(measured.values()))
    return fitted.expected_error(pool.profiles) <= target_error


def strangers(count: int, known: Collection[str], track: Track = lambda v: v) -> list[tuple[Variant, Graph]]:
    """`count` networks, families taking turns, always the same; none whose hash is among `known`.

    known: hashes of networks; files of devices adapted by an older narformer have those of Graphs, which count too.
    """
    rounds = -(-count // len(FAMILIES)) + 1
    drawn = [list(sample(name, 2 * rounds, seed=2)) for name in FAMILIES]
    taking_turns = [family[turn] for turn in range(2 * rounds) for family in drawn]
    found: list[tuple[Variant, Graph]] = []
    for variant in track(taking_turns):
        graph = _graph(variant)
        if network_hash(graph) not in known and graph.hash not in known:
            found.append((variant, graph))
        if len(found) == count:
            break
    return found


def validate(
    device: AdaptedDevice,
    networks: Sequence[tuple[Variant, Graph]],
    *,
    settings: Settings,
    store: Store,
    predictor: Predictor,
    report: Report = lambda _: None,
) -> list[Comparison]:
    """Predict networks, then measure them; those that cannot be measured are left out. Raises what `measure` raises.

    predictor: one that knows the adapted device (predictor.py).
    """
    estimates = predictor.predict([graph for _, graph in networks], [device.name])
    latencies: list[float | None] = []

    def note(outcome: Outcome) -> None:
        latencies.append(outcome.measurement.latency_ms)
        report(outcome)

    sources = [Network(graph.name, variant.build) for variant, graph in networks]
    measure(sources, store=store, settings=settings, report=note)
    return [
        Comparison(graph.name, variant.family, e.latency_ms, e.low_ms, e.high_ms, ms)
        for (variant, graph), e, ms in zip(networks, estimates, latencies, strict=True)
        if ms is not None
    ]


def summary(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """networks; in percent: mape, acc_10 (share within 10 %), how many the 90 % intervals cover, and the median error.

    The median has a sign. Far from 0, the machine as a whole is not as fast as it was while adapting.
    """
    signed = np.array([c.error for c in comparisons])
    errors = np.abs(signed)
    covered = np.array([c.low <= c.measured <= c.high for c in comparisons])
    return {
        "networks": len(comparisons),
        "mape": round(float(errors.mean()), 2),
        "acc_10": round(100 * float((errors <= 10).mean()), 1),
        "covers": round(100 * float(covered.mean()), 1),
        "median_error": round(float(np.median(signed)), 2),
    }


def _graph(variant: Variant) -> Graph:
    return read_onnx(variant.build(), name=f"{variant.family} {variant.version} {variant.config}".replace("  ", " "))
