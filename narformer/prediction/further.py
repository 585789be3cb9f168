"""Targets that a predictor answers for beyond its own: such as those to which its user adapted it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from narformer.prediction.estimate import Estimate
from narformer.prediction.reading import Reading

if TYPE_CHECKING:
    from narformer.prediction.predictor import Predictor


class FurtherTargets(Protocol):
    """What a predictor is given to answer for further targets.

    names: of the targets. unusable: targets that cannot be asked for, by name, and why not.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """Of the targets."""
        ...

    @property
    def unusable(self) -> Mapping[str, str]:
        """Targets that cannot be asked for, by name, and why not."""
        ...

    def estimates(self, networks: Sequence[Reading], name: str, predictor: Predictor) -> list[Estimate]:
        """An Estimate for each network on one of the targets, from what the predictor knows of its own."""
        ...


class NoFurtherTargets:
    """A predictor's own targets are all there are."""

    names: tuple[str, ...] = ()

    @property
    def unusable(self) -> Mapping[str, str]:
        """None."""
        return {}

    def estimates(self, networks: Sequence[Reading], name: str, predictor: Predictor) -> list[Estimate]:
        """Never asked for."""
        raise KeyError(name)
