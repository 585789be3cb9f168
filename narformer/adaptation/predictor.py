"""A predictor together with the devices that its user adapted it to."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from narformer.adaptation.device import AdaptedDevice, device_files, devices_directory
from narformer.adaptation.prices import LEVEL, half_width
from narformer.adaptation.profile import profile
from narformer.errors import DataError
from narformer.prediction.estimate import Estimate
from narformer.prediction.predictor import Predictor
from narformer.prediction.reading import Reading


def default_predictor(path: str | None = None) -> Predictor:
    """The predictor of this name or path, loaded once a process, with the devices that the user adapted to."""
    return with_adapted(_loaded(path))


@functools.lru_cache(maxsize=4)
def _loaded(path: str | None) -> Predictor:
    return Predictor.load(path)


def with_adapted(predictor: Predictor) -> Predictor:
    """The predictor together with the devices adapted by it; itself where there are none.

    A device that cannot be used is no reason to refuse all others: its file is broken, or was made with another
    version. It is kept among the unusable ones, with the reason, which is raised where that device is asked for.
    """
    adapted, unusable = [], {}
    for path in device_files():
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
    if not adapted and not unusable:
        return predictor
    return predictor.with_further(AdaptedDevices({device.name: device for device in adapted}, unusable))


def adapted_devices(predictor: Predictor) -> Mapping[str, AdaptedDevice]:
    """The adapted devices that a predictor answers for, by name."""
    return predictor.further.devices if isinstance(predictor.further, AdaptedDevices) else {}


@dataclass(frozen=True)
class AdaptedDevices:
    """The devices to which a predictor was adapted, as its further targets (prediction/further.py).

    devices: by name. unusable: names of files that cannot be used, and why not.
    """

    devices: Mapping[str, AdaptedDevice]
    unusable: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, *devices: AdaptedDevice) -> AdaptedDevices:
        """Some devices."""
        return cls({device.name: device for device in devices})

    @property
    def names(self) -> tuple[str, ...]:
        """Of the devices that can be used."""
        return tuple(self.devices)

    def estimates(self, networks: Sequence[Reading], name: str, predictor: Predictor) -> list[Estimate]:
        """An Estimate for each network on one device, from what the predictor knows of related targets."""
        device = self.devices[name]
        value, deviation = device.prices.predict(profile(networks, predictor, device.relatives))
        outputs = [
            replace(output, batch_sizes=device.batch_sizes)
            for output in predictor.card.outputs
            if output.device in device.relatives
        ]
        novel = float(np.mean([output.quantiles["novel"] for output in outputs]))
        estimates = []
        for row, (network, told) in enumerate(zip(networks, predictor.trust(networks, outputs), strict=True)):
            # One relative that has seen the like of a network is enough to trust its profile.
            far, warnings = min(told, key=lambda each: (each[0], len(each[1])))
            # Far from what the predictor was trained on, its profile is off too: as wide again as its own interval.
            factor = float(np.exp(np.hypot(half_width(deviation[row]), novel * far)))
            estimates.append(
                Estimate(
                    model=network.name,
                    target=device.name,
                    value=float(value[row]),
                    low=float(value[row]) / factor,
                    high=float(value[row]) * factor,
                    batch_size=network.batch_size,
                    source="adapted",
                    level=LEVEL,
                    held_out_error=device.validation.get("mape"),
                    warnings=warnings,
                    hash=network.hash,
                    extrapolated=not outputs[0].has_seen(network.batch_size),
                )
            )
        return estimates
