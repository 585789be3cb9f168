"""A predictor together with the devices that its user adapted it to."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from narformer.adaptation.device import AdaptedDevice, devices_directory
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

    def select(self, targets: str | Iterable[str]) -> list[str]:
        """As Predictor's, of adapted devices too. Raises DataError for one that cannot be used."""
        wanted = [targets] if isinstance(targets, str) else list(targets)
        for device in wanted:
            if device in self.unusable:
                raise DataError(self.unusable[device])
        return super().select(wanted)

    def estimates(self, networks: Sequence[Reading], devices: Sequence[str] | None = None) -> list[Estimate]:
        wanted = [self.devices[column] for column in self._columns(devices)]
        own = [device for device in wanted if device not in self.adapted]
        if not networks or len(own) == len(wanted):
            return super().estimates(networks, own)
        predicted = super().estimates(networks, own) if own else []
        columns = {device: predicted[place :: len(own)] for place, device in enumerate(own)}
        columns |= {name: self._adapted(networks, self.adapted[name]) for name in wanted if name not in own}
        return [columns[device][row] for row in range(len(networks)) for device in wanted]

    def _adapted(self, networks: Sequence[Reading], device: AdaptedDevice) -> list[Estimate]:
        value, deviation = device.prices.predict(profile(networks, self, device.relatives))
        outputs = [
            replace(output, batch_sizes=device.batch_sizes)
            for output in self.card.outputs
            if output.device in device.relatives
        ]
        novel = float(np.mean([output.quantiles["novel"] for output in outputs]))
        estimates = []
        for row, (network, told) in enumerate(zip(networks, self.trust(networks, outputs), strict=True)):
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
                    extrapolated=not outputs[0].has_seen(network.batch_size),
                )
            )
        return estimates
