"""A predictor together with the devices that its user adapted it to."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from narformer.adaptation.device import AdaptedDevice, devices_directory, profile
from narformer.adaptation.gaussian_process import LEVEL, half_width
from narformer.errors import ConfigError, DataError
from narformer.graph import Graph
from narformer.prediction.estimate import Estimate
from narformer.prediction.predictor import Predictor


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
        trust = [min(row) for row in self.trust([self.read(graph) for graph in graphs])]
        far = [row[0] for row in trust]
        novel = float(np.mean([output.quantiles["novel"] for output in self.card.outputs]))
        for device in mine:
            value, deviation = self.adapted[device].process.predict(profiles)
            # Far from what the predictor was trained on, its profile is off too: as wide again as its own interval.
            factor = np.exp(np.hypot(half_width(deviation), novel * np.array(far)))
            columns[device] = [
                Estimate(
                    model=graph.name,
                    target=device,
                    value=float(value[row]),
                    low=float(value[row] / factor[row]),
                    high=float(value[row] * factor[row]),
                    batch_size=graph.batch_size,
                    source="adapted",
                    level=LEVEL,
                    held_out_error=self.adapted[device].validation.get("mape"),
                    warnings=trust[row][1],
                )
                for row, graph in enumerate(graphs)
            ]
        return [columns[device][row] for row in range(len(graphs)) for device in wanted]
