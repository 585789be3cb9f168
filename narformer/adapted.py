"""Adapted devices: a small file each in a directory of the user's, and predictors that know them too.

A file holds the measured networks' profiles and latencies; the process (adapt.py) is fitted when it is read, which
takes milliseconds, and so nothing in it can go stale but the predictor whose profiles they are.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from narformer.adapt import KINDS, LEVEL, Adaptation, Profiles, half_width, kinds
from narformer.errors import ConfigError, DataError
from narformer.frontends.canonical import network_hash
from narformer.graph import Graph
from narformer.places import user_data
from narformer.predictor import Estimate, Predictor

FORMAT = 2
FEWEST = 3  # measurements, below which nothing is said of a device
_CLIP = 4.0
_FIELDS = ("name", "predictor", "fingerprint", "measured_on", "networks", "hashes", "latencies")
_ARRAYS = ("parts", "macs", "statistics")


@dataclass(frozen=True)
class AdaptedDevice:
    """A device as some measured networks show it.

    predictor, fingerprint: name of the one that made the profiles, and which training of it. measured_on: id of the
    device, or where the latencies are from. networks, hashes, latencies (ms): what was measured, one entry each.
    validation: errors on other networks, if any were measured since: `networks`, `mape` and `covers` in percent.
    """

    name: str
    predictor: str
    fingerprint: str
    measured_on: str
    networks: tuple[str, ...]
    hashes: tuple[str, ...]
    latencies: tuple[float, ...]
    profiles: Profiles
    validation: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def process(self) -> Adaptation:
        return Adaptation(self.profiles, self.latencies)

    @property
    def description(self) -> str:
        return f"adapted from {len(self.networks)} networks measured on {self.measured_on}"

    def save(self, directory: Path | None = None) -> Path:
        """Write the device's file, whole or not at all. Raises DataError where it cannot be written."""
        path = device_file(self.name, directory)
        arrays = {name: getattr(self.profiles, name) for name in _ARRAYS}
        profiles = {
            name: [[float(f"{x:.6g}") for x in row] for row in array.reshape(len(array), -1)]
            for name, array in arrays.items()
        }
        fields = {name: getattr(self, name) for name in _FIELDS}
        data = {"format": FORMAT, **fields, "validation": dict(self.validation), "profiles": profiles}
        partial = path.with_suffix(f".{os.getpid()}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(data) + "\n")
            partial.replace(path)
        except OSError as error:
            partial.unlink(missing_ok=True)
            raise DataError(f"{path}: cannot be written ({error.strerror}); set NARFORMER_DEVICES") from error
        return path

    @classmethod
    def read(cls, path: Path) -> AdaptedDevice:
        """Raises DataError for a file that is absent, broken, or of a later format."""
        try:
            data = json.loads(path.read_text())
            if data.pop("format") != FORMAT:
                raise DataError(f"{path}: of another format; adapt again with `narformer adapt`")
            arrays = {name: np.array(rows, dtype=np.float64) for name, rows in data.pop("profiles").items()}
            arrays["parts"] = arrays["parts"].reshape(len(data["networks"]), KINDS, -1)
            data = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
            device = cls(profiles=Profiles(**arrays), **data)
            if len({len(device.networks), len(device.hashes), len(device.latencies), *map(len, arrays.values())}) > 1:
                raise ValueError("lists of different lengths")
            return device
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: not the file of an adapted device ({error}); remove it, or adapt again"
            ) from error


def devices_directory() -> Path:
    """Where adapted devices are kept: `$NARFORMER_DEVICES`, else a directory of the user's."""
    if location := os.environ.get("NARFORMER_DEVICES"):
        return Path(location)
    return user_data() / "devices"


def device_file(name: str, directory: Path | None = None) -> Path:
    """Where an adapted device of this name is, or would be, kept."""
    return (directory or devices_directory()) / f"{name}.json"


def adapted_device(name: str) -> AdaptedDevice:
    """Raises DataError, naming those there are, for a device that was not adapted to."""
    path = device_file(name)
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in devices_directory().glob("*.json"))) or "none"
        raise DataError(f"{name}: not an adapted device; there are: {known}. Make one with `narformer adapt`")
    return AdaptedDevice.read(path)


def check_name(name: str, predictor: Predictor) -> None:
    """Raises ConfigError for a name that cannot be a file's, or that the predictor itself has."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise ConfigError(f"{name!r}: a device's name is of letters, digits, and . _ - between them")
    if name in (output.device for output in predictor.card.outputs):
        raise ConfigError(f"{name}: predictor {predictor.card.name} knows this device already; choose another name")


def profile(graphs: Sequence[Graph], predictor: Predictor) -> Profiles:
    """Profiles of networks by a predictor that knows its nodes' shares; raises ConfigError for one that does not."""
    from narformer.tokens.physical import tokenize
    from narformer.tokens.statistics import statistics

    novelty = predictor.card.novelty
    parts = np.zeros((len(graphs), KINDS, len(predictor.card.outputs)))
    macs = np.zeros((len(graphs), KINDS))
    numbers = np.zeros((len(graphs), len(novelty.center)))
    for row, graph in enumerate(graphs):
        read, nodes = predictor.explain(graph)
        features = tokenize(read).features[len(read.inputs) :]
        kind = kinds(features)
        np.add.at(parts[row], kind, nodes)
        np.add.at(macs[row], kind, np.expm1(20 * features[:, 0].astype(np.float64)))
        numbers[row] = (statistics(read) - novelty.center) / novelty.scale
    return Profiles(np.maximum(parts, 0) + 1e-12, macs, np.clip(numbers, -_CLIP, _CLIP))


def adapt(
    name: str,
    measurements: Sequence[tuple[Graph, float]],
    measured_on: str,
    predictor: Predictor,
    profiles: Profiles | None = None,
) -> AdaptedDevice:
    """An adapted device from (Graph, ms) pairs, not saved yet. profiles: of these Graphs, where they are at hand.

    Raises ConfigError where there are fewer than FEWEST, or a latency is not a positive number.
    """
    if len(measurements) < FEWEST:
        raise ConfigError(f"{name}: {len(measurements)} measurements; at least {FEWEST} are needed, 20 are good")
    wrong = [graph.name for graph, ms in measurements if not 0 < ms < math.inf]
    if wrong:
        raise ConfigError(f"{name}: the latency of {wrong[0]} is not a positive number of milliseconds")
    graphs = [graph for graph, _ in measurements]
    return AdaptedDevice(
        name,
        predictor.card.name,
        predictor.card.fingerprint,
        measured_on,
        tuple(graph.name for graph in graphs),
        tuple(network_hash(graph) for graph in graphs),
        tuple(float(ms) for _, ms in measurements),
        profile(graphs, predictor) if profiles is None else profiles,
    )


def with_adapted(predictor: Predictor) -> Predictor:
    """The predictor together with the devices adapted by it; itself where there are none.

    A device that cannot be used is no reason to refuse all others: its file is broken, or was made with another
    version. It is kept in `unusable`, with the reason, which is raised where that device is asked for.
    """
    adapted, unusable = [], {}
    for path in sorted(devices_directory().glob("*.json")):
        try:
            device = AdaptedDevice.read(path)
        except DataError as error:
            unusable[path.stem] = str(error)
            continue
        if device.predictor != predictor.card.name:
            continue
        if device.fingerprint == predictor.card.fingerprint:
            adapted.append(device)
        else:
            unusable[device.name] = (
                f"{device.name}: adapted with another version of {predictor.card.name}; adapt again (the store has its "
                f"measurements): narformer adapt --device {device.name}; or remove it from {devices_directory()}"
            )
    return PredictorWithAdapted(predictor, adapted, unusable) if adapted or unusable else predictor


class PredictorWithAdapted(Predictor):
    """A predictor that answers for adapted devices as well; everything else is the predictor's own."""

    def __init__(
        self, predictor: Predictor, adapted: Sequence[AdaptedDevice], unusable: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(predictor.card, predictor._session)
        self.adapted = {device.name: device for device in adapted}
        self.unusable = dict(unusable or {})

    @property
    def devices(self) -> tuple[str, ...]:
        return (*super().devices, *self.adapted)

    def _columns(self, devices: Sequence[str] | None) -> list[int]:
        for device in devices or ():
            if device in self.unusable:
                raise DataError(self.unusable[device])
        return super()._columns(devices)

    def _estimates(
        self, graphs: Sequence[Graph], devices: Sequence[str] | None, factors: Sequence[int] = ()
    ) -> list[Estimate]:
        wanted = [self.devices[column] for column in self._columns(devices)]
        own = [device for device in wanted if device not in self.adapted]
        mine = [device for device in wanted if device in self.adapted]
        if not mine or not graphs:
            return super()._estimates(graphs, own, factors)
        if factors:
            raise ConfigError(f"{mine[0]} is adapted: it is known at the batch of the networks measured there alone")
        predicted = super()._estimates(graphs, own) if own else []
        columns = {device: predicted[k :: len(own)] for k, device in enumerate(own)}
        profiles = profile(graphs, self)
        # One known device that has seen the like of a network is enough to trust its profile.
        trust = [min(row) for row in self.trust([self._as_trained(graph) for graph in graphs])]
        far = [row[0] for row in trust]
        novel = float(np.mean([output.quantiles["novel"] for output in self.card.outputs]))
        for device in mine:
            value, deviation = self.adapted[device].process.predict(profiles)
            # Far from what the predictor was trained on, its profile is off too: as wide again as its own interval.
            factor = np.exp(np.hypot(half_width(deviation), novel * np.array(far)))
            columns[device] = [
                Estimate(
                    model=graph.name,
                    device=device,
                    latency_ms=float(value[row]),
                    low_ms=float(value[row] / factor[row]),
                    high_ms=float(value[row] * factor[row]),
                    source="adapted",
                    level=LEVEL,
                    held_out_mape=self.adapted[device].validation.get("mape"),
                    warnings=trust[row][1],
                )
                for row, graph in enumerate(graphs)
            ]
        return [columns[device][row] for row in range(len(graphs)) for device in wanted]
