"""Which pretrained network to take: accuracy against latency on one target, and the frontier of those worth taking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from narformer.datasets import pretrained, zoo
from narformer.errors import ConfigError
from narformer.figures import milliseconds
from narformer.prediction.estimate import Estimate
from narformer.prediction.predictor import CANONICAL, Predictor
from narformer.prediction.zoo_readings import zoo_readings
from narformer.records import Answers
from narformer.tables import Column, Table


@dataclass(frozen=True)
class Choice:
    """A pretrained network and what it takes on a target; or a network of the user's, whose accuracy nobody told.

    estimate: its latency, measured or predicted; `estimate.model` is `network.tag`, as `timm.create_model` takes it.
    size: of its square images. top1, top5: ImageNet accuracy in percent. parameters: in millions.
    rank: 1 for the most accurate of those that were chosen.

    >>> choice = Choice(Estimate("resnet18.a1_in1k", "my-board", 20.0, 18.0, 22.0), size=224, top1=71.5, rank=1)
    >>> choice.network, choice.latency_ms
    ('resnet18.a1_in1k', 20.0)
    """

    estimate: Estimate
    size: int | None = None
    top1: float | None = None
    top5: float | None = None
    parameters: float | None = None
    rank: int | None = None

    @property
    def network(self) -> str:
        """`network.tag`, or the name of the user's network."""
        return self.estimate.model

    @property
    def latency_ms(self) -> float:
        """Of one run with the whole batch."""
        return self.estimate.latency_ms

    def to_dict(self) -> dict[str, Any]:
        """The Choice as JSON's types."""
        told = self.estimate.to_dict()
        shown = ("target", "batch_size", "latency_ms", "low_ms", "high_ms", "throughput", "source", "warnings")
        return {
            "rank": self.rank,
            "network": self.network,
            "img_size": self.size,
            "top1": self.top1,
            "top5": self.top5,
            "parameters_millions": self.parameters,
            **{name: told[name] for name in shown},
        }


class Choices(Answers[Choice]):
    """Choices in order: a sequence that is also a table, CSV, Markdown, JSON or a DataFrame.

    >>> mine = Choice(Estimate("mine.onnx", "my-board", 20.0, 18.0, 22.0))
    >>> Choices([mine]).records()[0]["latency_ms"]
    20.0
    """

    def table(self) -> Table:
        """Rank, network and image size, accuracy, latency with interval and source, and images a second."""
        columns = (
            Column("network"),
            Column("image size", right=True),
            Column("top-1", right=True),
            Column("latency", right=True),
            Column("90% interval", right=True),
            Column("source"),
            Column("images/s", right=True),
        )
        width = len(str(max((c.rank or 0 for c in self), default=0)))
        return Table(columns, tuple(self._row(choice, width) for choice in self))

    def _row(self, choice: Choice, width: int) -> tuple[str, ...]:
        estimate = choice.estimate
        exact = estimate.low == estimate.high
        return (
            f"{choice.rank or '':>{width}} {choice.network}",
            str(choice.size or ""),
            "" if choice.top1 is None else f"{choice.top1:.1f} %",
            estimate.told,
            "" if exact else f"{milliseconds(estimate.low)} – {milliseconds(estimate.high)}",
            estimate.source,
            "" if estimate.throughput is None else milliseconds(estimate.throughput),
        )


@dataclass(frozen=True)
class Survey:
    """All pretrained networks with a latency on a target at a batch size. left_out: how many weights have none."""

    target: str
    batch_size: int
    networks: Choices
    left_out: int

    def chosen(self, max_ms: float | None = None, top1: float | None = None, every: bool = False) -> Choices:
        """Of those that take no longer and are no less accurate the frontier, or every one; the most accurate first.

        max_ms: of a batch. top1: in percent. Raises ConfigError for one that can only be meant as a share of 1.
        """
        if top1 is not None and 0 < top1 <= 1:
            raise ConfigError(f"top1 {top1:g}: accuracy is in percent; write {100 * top1:g} for {100 * top1:g} %")
        asked = [
            choice
            for choice in self.networks
            if (max_ms is None or choice.latency_ms <= max_ms) and (top1 is None or (choice.top1 or 0) >= top1)
        ]
        return ranked(asked) if every else frontier(asked)

    def alike(self, latency_ms: float, share: float = 0.1) -> Choices:
        """Those that take as long, within a share of it; the most accurate first."""
        return ranked([c for c in self.networks if abs(c.latency_ms / latency_ms - 1) <= share])


def targets(predictor: Predictor) -> list[str]:
    """All targets for which there are latencies of pretrained networks: the predictor's, and those timm measured."""
    return list(dict.fromkeys([*predictor.devices, *pretrained.timed()]))


def survey(target: str, batch_size: int, predictor: Predictor) -> Survey:
    """All pretrained networks with their latencies on a target.

    Measured where timm's tables have it at this batch, else predicted; the weights of one network at one image size
    share its latency. Raises UnknownDeviceError where the target is neither in timm's tables nor the predictor's,
    ConfigError for a predictor that reads networks otherwise than the zoo's are kept.
    """
    measured = {
        (row.network, row.size): row.latency_ms
        for row in pretrained.timed().get(target, ())
        if row.batch_size == batch_size
    }
    weights = pretrained.weights()
    estimates: dict[tuple[str, int], Estimate] = {}
    if target in predictor.devices or target not in pretrained.timed():
        asked = {(row.network, row.size) for row in weights} - measured.keys()
        estimates = _predicted(target, batch_size, predictor, asked)
    for network, latency in measured.items():
        estimates[network] = Estimate(
            network[0], target, latency, latency, latency, batch_size=batch_size, source="measured"
        )
    found = [
        Choice(replace(estimates[row.network, row.size], model=row.name), row.size, row.top1, row.top5, row.parameters)
        for row in weights
        if (row.network, row.size) in estimates
    ]
    return Survey(target, batch_size, Choices(found), len(weights) - len(found))


def _predicted(
    target: str, batch_size: int, predictor: Predictor, networks: set[tuple[str, int]]
) -> dict[tuple[str, int], Estimate]:
    if predictor.card.tokenizer != CANONICAL:
        raise ConfigError(
            f"predictor {predictor.card.name} does not read tokens of kernels, as the zoo is kept; the default one does"
        )
    readings = zoo_readings()
    there = sorted(networks & {(entry.name, entry.size) for entry in readings if entry.source == "timm"})
    asked = [readings[zoo.Entry("timm", *network)].at_batch(batch_size) for network in there]
    return dict(zip(there, predictor.estimates(asked, [target]), strict=True))


def frontier(choices: Sequence[Choice]) -> Choices:
    """Those that no other surpasses: whatever is faster is less accurate; the most accurate first.

    Of two as fast as each other, the more accurate; of two alike in both, the one with fewer parameters.
    """
    kept: list[Choice] = []
    order = sorted(choices, key=lambda c: (c.latency_ms, -(c.top1 or 0), c.parameters or 0, c.network))
    for choice in order:
        if choice.top1 is not None and (not kept or choice.top1 > (kept[-1].top1 or 0)):
            kept.append(choice)
    return ranked(kept)


def ranked(choices: Sequence[Choice]) -> Choices:
    """The most accurate first, and of two that are as accurate the faster one; with their ranks."""
    order = sorted(choices, key=lambda c: (-(c.top1 or 0), c.latency_ms, c.network))
    return Choices(replace(choice, rank=rank) for rank, choice in enumerate(order, start=1))


def with_network(choices: Sequence[Choice], estimate: Estimate) -> Choices:
    """The choices, and a network of the user's among them: before the first that is faster than it."""
    place = next((k for k, c in enumerate(choices) if c.latency_ms < estimate.latency_ms), len(choices))
    return Choices([*choices[:place], Choice(estimate), *choices[place:]])
