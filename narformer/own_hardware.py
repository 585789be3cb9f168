"""Hardware of your own: measure networks on this machine, and teach a predictor from measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path

from narformer.adaptation.device import FEWEST, AdaptedDevice, Sample, check_name
from narformer.adaptation.device import adapt as adapted
from narformer.adaptation.prices import Design
from narformer.adaptation.profile import profile, relatives
from narformer.adaptation.session import Pool, measure_and_adapt
from narformer.errors import ConfigError, ModelError
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx.weightless import weightless_onnx
from narformer.frontends.sizes import Sizes, sizes_of
from narformer.frontends.sources import Source, graph_of, several
from narformer.graph import Graph
from narformer.measurement import session
from narformer.measurement.answers import measured_estimate
from narformer.measurement.session import Network, Settings
from narformer.measurement.store import Store
from narformer.measurement.timing import Plan
from narformer.prediction.estimate import Estimates
from narformer.prediction.predictor import Predictor

MOST = 400  # measurements to learn from: beyond, those that tell most
Pair = tuple[Graph, float]
Read = tuple[str, Pair]  # with the hash of the network


def measure(
    models: Source | Sequence[Source],
    *,
    runtime: str = "onnxruntime",
    processor: str = "cpu",
    threads: int = 1,
    hardware: str | None = None,
    batch_size: int | None = None,
    input_shapes: Mapping[str, Sequence[int | str]] | None = None,
    dims: Mapping[str, int] | None = None,
    store: str | Path | None = None,
    again: bool = False,
    budget_s: float = 2.0,
    timeout_s: float = 60.0,
) -> Estimates:
    """Time networks on this machine; Estimates whose source is "measured", in the order given.

    What was measured is kept in the store, and networks that it has are answered from it, unless `again`. Networks
    without weights, Graphs among them, run with random ones.

    models and sizes: as `predict` takes them. runtime, processor: see `narformer devices --here`. hardware: another
    name for this machine. store: path or URL; by default the user's. budget_s: seconds of timed runs for one network;
    timeout_s: for all that is done with it.
    Raises ModelError where a network could not be measured, once all others are in the store; ConfigError and
    MissingExtraError where nothing can be measured; StoreError.

    >>> import narformer
    >>> network = narformer.read_onnx("examples/mobilenet_v2.onnx", input_shapes={"input": (1, 3, 32, 32)})
    >>> (estimate,) = narformer.measure(network, budget_s=0.05)
    >>> estimate.source, estimate.batch_size
    ('measured', 1)
    """
    sizes = sizes_of(batch_size, input_shapes, dims)
    networks = [_network(source, sizes) for source in several(models)]
    settings = Settings(runtime, processor, threads, hardware, timeout_s=timeout_s, plan=Plan(budget_s=budget_s))
    with Store.open(store) as opened:
        outcomes = session.measure(networks, store=opened, settings=settings, again=again)
    failed = [outcome for outcome in outcomes if outcome.measurement.latency_ms is None]
    if failed:
        more = f" (and {len(failed) - 1} others)" if len(failed) > 1 else ""
        raise ModelError(f"{failed[0].name}: {failed[0].measurement.failure}{more}")
    return Estimates(measured_estimate(outcome.name, outcome.measurement) for outcome in outcomes)


def _network(source: Source, sizes: Sizes) -> Network:
    if isinstance(source, Graph):
        graph = graph_of(source, sizes)  # refuses sizes for what has them
        return Network(graph.name, weightless_onnx(graph))
    if isinstance(source, str | Path):
        return Network(str(source), Path(source), sizes.batch_size, sizes.input_shapes, sizes.dims)
    content = bytes(source) if isinstance(source, bytes | bytearray | memoryview) else source
    return Network("network", content, sizes.batch_size, sizes.input_shapes, sizes.dims)


def adapt(
    name: str,
    measured: Iterable[tuple[Source, float]] | None = None,
    *,
    measured_on: str = "elsewhere",
    samples: int = 20,
    target_error: float | None = None,
    runtime: str = "onnxruntime",
    processor: str = "cpu",
    threads: int = 1,
    store: str | Path | None = None,
    predictor: str | Path | None = None,
) -> AdaptedDevice:
    """Learn a new device, and keep it: `predict(..., devices=name)` knows it from then on.

    measured: networks with their latencies in milliseconds, at least 3, better 20. measured_on: what to say of where.
    Without `measured`, `samples` networks are chosen, measured on this machine (runtime, processor, threads, store: as
    `measure` takes them), and learned from; fewer, once the expected error in percent is `target_error`.
    predictor: the one that learns, as `load` takes it.
    Raises ConfigError for a name that cannot be, or for too few measurements, and what `measure` raises.

    >>> import narformer
    >>> networks = [narformer.read_onnx("examples/resnet18.onnx", batch_size=batch) for batch in (1, 2, 4)]
    >>> device = narformer.adapt("my-board", zip(networks, (30.0, 58.0, 115.0)), measured_on="a board of mine")
    >>> device
    AdaptedDevice('my-board', adapted from 3 networks measured on a board of mine)
    >>> narformer.predict("examples/mobilenet_v2.onnx", devices="my-board")[0].source
    'adapted'
    """
    loaded = Predictor.load(predictor)
    check_name(name, loaded)
    if measured is not None:
        pairs = [(graph_of(source, Sizes()), ms) for source, ms in _latencies(measured)]
        device = from_measurements(name, pairs, measured_on, MOST, loaded)
    else:
        settings = Settings(runtime, processor, threads)
        settings.target()  # a runtime that is absent is told before networks are built
        with Store.open(store) as opened:
            device = measure_and_adapt(
                name,
                Pool.of_zoo(loaded, str(settings.target())),
                samples,
                settings=settings,
                store=opened,
                predictor=loaded,
                target_error=target_error,
            )
    device.save()
    return device


def _latencies(measured: Iterable[object]) -> list[tuple[Source, float]]:
    """Networks and their latencies. Raises ConfigError for what is no pair of these."""
    pairs = []
    for one in measured:
        if not isinstance(one, tuple | list) or len(one) != 2:
            raise ConfigError(
                f'{one!r}: give pairs of a network and its latency in milliseconds, as in [("a.onnx", 30.0), ...]'
            )
        source, ms = one
        if isinstance(ms, bool) or not isinstance(ms, Real):
            told = source.name if isinstance(source, Graph) else source
            raise ConfigError(f"{told}: the latency {ms!r} is no number of milliseconds")
        pairs.append((source, float(ms)))
    return pairs


def from_measurements(
    name: str,
    pairs: Sequence[Pair],
    origin: str,
    most: int,
    predictor: Predictor,
    track: Callable[[Sequence[Read]], Iterable[Read]] = lambda networks: networks,
) -> AdaptedDevice:
    """An adapted device, not saved yet, from the `most` (Graph, ms) pairs that tell most; of one network, the last.

    track: shows progress over them. Raises ConfigError where there are too few.
    """
    if not pairs:
        raise ConfigError(f"{name}: nothing was measured on {origin} yet; at least {FEWEST} latencies are needed")
    unique = list({network_hash(graph): (graph, ms) for graph, ms in pairs}.items())
    samples = [Sample(predictor.read(graph), hash, ms) for hash, (graph, ms) in track(unique)]
    if len(samples) > most:
        known = relatives(origin, [output.device for output in predictor.card.outputs])
        profiles = profile([sample.network for sample in samples], predictor, known.targets)
        samples = [samples[row] for row in Design(profiles, known.weights).choose(most)]
    return adapted(name, samples, origin, predictor)
