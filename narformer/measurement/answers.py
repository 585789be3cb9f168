"""What was measured need not be predicted: Estimates from the store where it has them, else from the predictor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from narformer.errors import MissingExtraError, StoreError, UnknownDeviceError
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph
from narformer.measurement.measurement import Measurement
from narformer.measurement.store import Store, default_store
from narformer.prediction.estimate import Estimate
from narformer.prediction.predictor import Predictor
from narformer.prediction.target import canonical_id, select

LEVEL = 0.9
# Of a normal distribution, 90 % lie within this many half interquartile ranges of the median: 1.645 / 0.6745.
SPREADS = 2.44


def existing_store(location: str | Path | None = None) -> Store | None:
    """The store at a path or URL. Without one that of $NARFORMER_STORE, or the user's; None where that does not exist.

    Raises StoreError where the one asked for, also by $NARFORMER_STORE, is absent, or any cannot be read.
    """
    if location is not None:
        return Store.open(location, create=False)
    default = default_store()
    if "://" not in default and not Path(default).is_file():
        if os.environ.get("NARFORMER_STORE"):
            raise StoreError(
                f"{default}: no such store, and NARFORMER_STORE names it; unset that, or make it with "
                "`narformer measure`; --no-store (in Python measured=False) predicts without it"
            )
        return None
    try:
        return Store.open(create=False)
    except MissingExtraError as error:
        if os.environ.get("NARFORMER_STORE"):
            raise StoreError(f"{error}; --no-store (in Python measured=False) predicts without it") from error
        return None  # the user has measured once, in an environment that had what it takes
    except StoreError as error:
        raise StoreError(f"{error}; --no-store (in Python measured=False) predicts without it") from error


def wanted_targets(wanted: Sequence[str] | None, predictor: Predictor, store: Store | None = None) -> list[str] | None:
    """The targets that some texts stand for, among the predictor's and those of the store; None for all.

    What stands for a target of the predictor means the predictor's: the store's others have to be named themselves.
    Raises UnknownDeviceError, which names the nearest, for what stands for none.
    """
    if wanted is None or store is None:
        return None if wanted is None else predictor.select(wanted)
    stored = [device.id for device in store.devices()]
    found: list[str] = []
    for text in wanted:
        if canonical_id(text) in stored:
            found.append(canonical_id(text))
            continue
        try:
            found += predictor.select(text)
        except UnknownDeviceError:
            found += select([text], list(dict.fromkeys([*predictor.targets, *stored])))
    return list(dict.fromkeys(found))


def answer(
    graphs: Sequence[Graph], predictor: Predictor, devices: Sequence[str] | None = None, store: Store | None = None
) -> list[list[Estimate]]:
    """For each Graph an Estimate on each device, in the order asked for: measured where `store` knows it.

    devices: ids, as `wanted_targets` finds them; by default the predictor's, and after them those on which the store
    has the Graph. One that the predictor does not know, and on which the Graph was not measured, is left out.
    """
    # A hash takes as long as half a prediction: only a store asks for it.
    hashes = ["" if store is None else network_hash(graph) for graph in graphs]
    measured: dict[str, dict[str, Measurement]] = {hash: {} for hash in hashes}
    if store is not None:
        for (hash, device), measurement in sorted(store.latest_of(list(measured), devices).items()):
            measured[hash][device] = measurement
    known = predictor.devices if devices is None else tuple(d for d in predictor.devices if d in devices)
    wanted = frozenset(known)
    open_graphs = [graph for graph, hash in zip(graphs, hashes, strict=True) if not measured[hash].keys() >= wanted]
    predicted = iter(predictor.predict(open_graphs, None if devices is None else known))
    answers = []
    for graph, hash in zip(graphs, hashes, strict=True):
        here = {device: measured_estimate(graph.name, measurement) for device, measurement in measured[hash].items()}
        if not here.keys() >= wanted:
            here = {estimate.target: estimate for estimate in islice(predicted, len(known))} | here
        order = [*known, *(d for d in here if d not in known)] if devices is None else devices
        answers.append([here[device] for device in order if device in here])
    return answers


def measured_estimate(model: str, measurement: Measurement) -> Estimate:
    """A measurement as an Estimate; the interval holds 90 % of single runs, and is a point where no spread is known.

    model: what to call the network.
    """
    assert measurement.latency_ms is not None
    margin = SPREADS * (measurement.spread_ms or 0.0)
    return Estimate(
        model=model,
        target=measurement.device,
        value=measurement.latency_ms,
        low=max(measurement.latency_ms - margin, 0.0),
        high=measurement.latency_ms + margin,
        batch_size=measurement.batch_size,
        source="measured",
        level=LEVEL,
        hash=measurement.graph,
    )
