"""Adapted devices: a small file each in a directory of the user's.

A file holds the measured networks' profiles and latencies; the prices (prices.py) are fitted when it is read, which
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
from typing import NamedTuple

import numpy as np

from narformer.adaptation.prices import KINDS, Adaptation, Profiles
from narformer.adaptation.profile import profile, relatives
from narformer.errors import ConfigError, DataError
from narformer.places import user_data
from narformer.prediction.predictor import Predictor
from narformer.prediction.reading import Reading
from narformer.prediction.target import canonical_id

FORMAT = 3
FEWEST = 3  # measurements, below which nothing is said of a device
_LISTS = ("networks", "hashes", "batch_sizes", "latencies")  # an entry a network
_FIELDS = ("name", "predictor", "fingerprint", "measured_on", *_LISTS, "relatives", "weights")
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_ARRAYS = ("parts", "work", "statistics")


class Sample(NamedTuple):
    """One measured network, as the predictor has read it. hash: of its canonical form."""

    network: Reading
    hash: str
    latency_ms: float


@dataclass(frozen=True)
class AdaptedDevice:
    """A device as some measured networks show it.

    predictor, fingerprint: name of the one that made the profiles, and which training of it. measured_on: id of the
    target, or where the latencies are from. networks, hashes, batch_sizes, latencies (ms): what was measured, one entry
    each. relatives, weights: known targets that it is learned from, and what each counts for before any measurement.
    validation: errors on other networks, if any were measured since: `networks`, `mape` and `covers` in percent.

    >>> import narformer
    >>> networks = [narformer.read_onnx("examples/resnet18.onnx", batch_size=batch) for batch in (1, 2, 4)]
    >>> device = narformer.adapt("my-phone", zip(networks, (30.0, 58.0, 115.0)))
    >>> device.latencies, device.measured_on
    ((30.0, 58.0, 115.0), 'elsewhere')
    """

    name: str
    predictor: str
    fingerprint: str
    measured_on: str
    networks: tuple[str, ...]
    hashes: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    latencies: tuple[float, ...]
    relatives: tuple[str, ...]
    weights: tuple[float, ...]
    profiles: Profiles
    validation: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"AdaptedDevice({self.name!r}, {self.description})"

    @cached_property
    def prices(self) -> Adaptation:
        """What was learned from the measurements, fitted when it is first asked for."""
        return Adaptation(self.profiles, self.latencies, self.weights)

    @property
    def description(self) -> str:
        """For tables: what it was adapted from."""
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
            arrays["parts"] = arrays["parts"].reshape(len(data["networks"]), KINDS, len(data["relatives"]))
            data = {name: tuple(value) if isinstance(value, list) else value for name, value in data.items()}
            data["measured_on"] = canonical_id(data["measured_on"])
            device = cls(profiles=Profiles(**arrays), **data)
            if len({*(len(getattr(device, name)) for name in _LISTS), *map(len, arrays.values())}) > 1:
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


def device_files() -> list[Path]:
    """The files of all adapted devices, by name."""
    directory = devices_directory()
    try:
        return sorted(directory / name for name in os.listdir(directory) if name.endswith(".json"))
    except OSError:  # nobody has adapted a device
        return []


def device_file(name: str, directory: Path | None = None) -> Path:
    """Where an adapted device of this name is, or would be, kept."""
    return (directory or devices_directory()) / f"{name}.json"


def adapted_device(name: str) -> AdaptedDevice:
    """Raises DataError, naming those there are, for a device that was not adapted to."""
    path = device_file(name)
    if not path.is_file():
        raise DataError(f"{name}: not an adapted device; there are: {_listed()}. Make one with `narformer adapt`")
    return AdaptedDevice.read(path)


def remove(name: str) -> Path:
    """Remove an adapted device, whether its file can be read or not; where the file was.

    Raises DataError, naming those there are, for a device that was not adapted to.
    """
    path = device_file(name)
    if not re.fullmatch(_NAME, name) or not path.is_file():
        raise DataError(f"{name}: not an adapted device; there are: {_listed()}")
    try:
        path.unlink()
    except OSError as error:
        raise DataError(f"{path}: cannot be removed ({error.strerror})") from error
    return path


def adapted_names() -> list[str]:
    """The devices that there are files of, sorted."""
    return sorted(path.stem for path in devices_directory().glob("*.json"))


def _listed() -> str:
    return ", ".join(adapted_names()) or "none"


def check_name(name: str, predictor: Predictor) -> None:
    """Raises ConfigError for a name that cannot be a file's, or that the predictor itself has."""
    if not re.fullmatch(_NAME, name):
        raise ConfigError(f"{name!r}: a device's name is of letters, digits, and . _ - between them")
    known = [output.device for output in predictor.card.outputs]
    if canonical_id(name) in known or name in {device.partition(":")[0] for device in known}:
        raise ConfigError(f"{name}: predictor {predictor.card.name} knows this target already; choose another name")


def adapt(name: str, samples: Sequence[Sample], measured_on: str, predictor: Predictor) -> AdaptedDevice:
    """An adapted device from measured networks, not saved yet. measured_on: its target, or what the latencies are of.

    Raises ConfigError where there are fewer than FEWEST, a latency is not a positive number, or the predictor does not
    tell kinds of kernels apart.
    """
    if len(samples) < FEWEST:
        raise ConfigError(f"{name}: only {len(samples)} measured; at least {FEWEST} networks are needed, 20 are good")
    wrong = [sample.network.name for sample in samples if not 0 < sample.latency_ms < math.inf]
    if wrong:
        raise ConfigError(f"{name}: the latency of {wrong[0]} is not a positive number of milliseconds")
    networks = [sample.network for sample in samples]
    known, weights = relatives(measured_on, [output.device for output in predictor.card.outputs])
    return AdaptedDevice(
        name,
        predictor.card.name,
        predictor.card.fingerprint,
        measured_on,
        tuple(network.name for network in networks),
        tuple(sample.hash for sample in samples),
        tuple(network.batch_size for network in networks),
        tuple(float(sample.latency_ms) for sample in samples),
        known,
        weights,
        profile(networks, predictor, known),
    )
