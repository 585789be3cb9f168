"""Adapting to the device at hand: choose a network, measure it, learn, choose the next; and see how good it became.

Networks come from the zoo: real ones, of at most some size. The choice depends on what was chosen before, never on the
latencies, so a command given again chooses the same ones and finds those measured before in the store.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from narformer.adaptation.device import AdaptedDevice, Sample, adapt
from narformer.adaptation.prices import Adaptation, Design, Profiles
from narformer.adaptation.profile import Relatives, profile, relatives
from narformer.datasets import zoo
from narformer.datasets.zoo import Entry
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph
from narformer.measurement.session import Network, Outcome, Settings, measure
from narformer.measurement.standard import standard_onnx
from narformer.measurement.store import Store
from narformer.prediction.predictor import Predictor
from narformer.prediction.reading import Reading
from narformer.prediction.zoo_readings import zoo_readings
from narformer.tokens import runtime_kernels

# Networks larger than this take long to measure, and tell nothing that smaller ones do not.
MOST_MACS, MOST_WEIGHTS = 5e9, 200e6  # bytes of weights
# Networks measured before the expected error is believed.
ENOUGH = 10
Track = Callable[[Sequence[Entry]], Iterable[Entry]]
Report = Callable[[Outcome], None]


def candidates() -> dict[Entry, Reading]:
    """Networks of the zoo that are quick to measure, each at its smallest image, as predictors read them."""
    smallest: dict[tuple[str, str], Entry] = {}
    readings = zoo_readings()
    for entry in sorted(readings):
        macs, weights, streamed = (
            float(readings[entry].tokens.features[:, runtime_kernels.COLUMN[name]].sum(dtype=np.float64))
            for name in ("macs", "weights", "streamed")
        )
        if macs <= MOST_MACS and weights + streamed <= MOST_WEIGHTS:
            smallest.setdefault((entry.source, entry.name), entry)  # sizes are in order
    return {entry: readings[entry] for entry in smallest.values()}


def told(entry: Entry) -> str:
    """A network of the zoo by name and image size."""
    return f"{entry.name}@{entry.size}" if entry.size else entry.name


def network_of(entry: Entry, batch_size: int = 1) -> Network:
    """A network of the zoo to be measured at a batch size; its ONNX is made when its turn has come."""
    other = None if batch_size == 1 else batch_size

    def build() -> onnx.ModelProto:
        return standard_onnx(zoo.load(entry.name, entry.size or None, source=entry.source), other)

    return Network(told(entry) if other is None else f"{told(entry)} at batch size {other}", build, other)


@dataclass(frozen=True)
class Pool:
    """Networks that can be measured, and what is known of them before: on targets that are related to a new one.

    batch_sizes: at which each of the entries is measured.
    """

    entries: tuple[Entry, ...]
    batch_sizes: tuple[int, ...]
    readings: tuple[Reading, ...]
    profiles: Profiles
    relatives: Relatives

    @classmethod
    def of_zoo(
        cls, predictor: Predictor, target: str, most: int | None = None, batch_sizes: Sequence[int] = (1,)
    ) -> Pool:
        """Those of the zoo that are quick to measure, for a new target; always the same. most: only so many of them.

        batch_sizes: networks take turns at these.

        Raises ConfigError for a predictor that does not tell kinds of kernels apart.
        """
        known = relatives(target, [output.device for output in predictor.card.outputs])
        readings = candidates()
        entries = tuple(readings)[:: max(1, len(readings) // most) if most else 1]
        batches = tuple(batch_sizes[k % len(batch_sizes)] for k in range(len(entries)))
        chosen = tuple(readings[entry].at_batch(batch) for entry, batch in zip(entries, batches, strict=True))
        return cls(entries, batches, chosen, profile(chosen, predictor, known.targets), known)


@dataclass(frozen=True)
class Comparison:
    """One network, by its hash, predicted on a target and then measured there; milliseconds."""

    hash: str
    model: str
    target: str
    predicted: float
    low: float
    high: float
    measured: float

    @property
    def error(self) -> float:
        """In percent of what was measured."""
        return 100 * (self.predicted / self.measured - 1)

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types; `latency_ms` is what was predicted, as everywhere."""
        return {
            "hash": self.hash,
            "model": self.model,
            "target": self.target,
            "latency_ms": self.predicted,
            "low_ms": self.low,
            "high_ms": self.high,
            "measured_ms": self.measured,
            "error": round(self.error, 3),
        }


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
    acknowledge: Callable[[], None] = lambda: None,
) -> AdaptedDevice:
    """Adapt to the device of `settings` from `samples` networks, or fewer where `target_error` (percent) is reached.

    What cannot be measured is replaced. acknowledge: called when Ctrl-C is pressed.
    The result is not saved yet. Raises ConfigError where too few could be
    measured, and what `measure` raises.
    """
    measured: dict[int, float] = {}
    hashes: dict[int, str] = {}
    failed: set[int] = set()
    asked: list[int] = []
    design = Design(pool.profiles, pool.relatives.weights)

    def networks() -> Iterator[Network]:
        while len(measured) < samples and not _reached(pool, measured, target_error):
            index = design.next({*measured, *failed})
            if index is None:
                return
            asked.append(index)
            yield network_of(pool.entries[index], pool.batch_sizes[index])

    def note(outcome: Outcome) -> None:
        if outcome.measurement.latency_ms is None:
            failed.add(asked[-1])
        else:
            measured[asked[-1]] = outcome.measurement.latency_ms
            hashes[asked[-1]] = outcome.measurement.graph
            design.measured(asked[-1])
        report(outcome)

    measure(networks(), store=store, settings=settings, report=note, acknowledge=acknowledge)
    found = [Sample(pool.readings[index], hashes[index], ms) for index, ms in measured.items()]
    return adapt(name, found, str(settings.target()), predictor)


def _reached(pool: Pool, measured: dict[int, float], target_error: float | None) -> bool:
    if target_error is None or len(measured) < ENOUGH:
        return False
    fitted = Adaptation(pool.profiles.rows(list(measured)), list(measured.values()), pool.relatives.weights)
    return fitted.expected_error(pool.profiles) <= target_error


def unmeasured(count: int, known: Collection[str], track: Track = lambda e: e) -> list[tuple[Entry, Graph]]:
    """`count` networks of the zoo, always the same; none whose hash is among `known`."""
    entries = list(candidates())
    order = [entries[k] for k in np.random.default_rng(2).permutation(len(entries))]
    found: list[tuple[Entry, Graph]] = []
    for entry in track(order[: count + len(known)]):
        graph = zoo.load(entry.name, entry.size or None, source=entry.source)
        if network_hash(graph) not in known:
            found.append((entry, graph))
        if len(found) == count:
            break
    return found


def validate(
    device: AdaptedDevice,
    networks: Sequence[tuple[Entry, Graph]],
    *,
    settings: Settings,
    store: Store,
    predictor: Predictor,
    report: Report = lambda _: None,
    acknowledge: Callable[[], None] = lambda: None,
) -> list[Comparison]:
    """Predict networks, then measure them; those that cannot be measured are left out. Raises what `measure` raises.

    predictor: one that knows the adapted device (predictor.py).
    """
    estimates = predictor.predict([graph for _, graph in networks], [device.name])
    latencies: list[float | None] = []

    def note(outcome: Outcome) -> None:
        latencies.append(outcome.measurement.latency_ms)
        report(outcome)

    chosen = [network_of(entry) for entry, _ in networks]
    measure(chosen, store=store, settings=settings, report=note, acknowledge=acknowledge)
    return [
        Comparison(
            network_hash(graph),
            told(entry),
            device.name,
            e.latency_ms,
            e.low_ms,
            e.high_ms,
            ms,
        )
        for (entry, graph), e, ms in zip(networks, estimates, latencies, strict=True)
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
