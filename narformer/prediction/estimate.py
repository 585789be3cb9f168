"""What is said of a network on a target, or of a cell: a value, an interval, and how it came about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from narformer.figures import milliseconds
from narformer.records import Answers
from narformer.tables import Column, Table


@dataclass(frozen=True)
class Estimate:
    """One predicted, measured or adapted latency, or one predicted accuracy.

    model: the network's name, or the cell. target: what the latency is of; for an accuracy, the space of cells.
    value, low, high: in `unit`; the interval holds the truth for `level` of networks like those the predictor was
        tested on.
    quantity, unit: "latency" in "ms", or "accuracy" in "%".
    batch_size: inputs in one run of the network. source: "predicted", "measured" or "adapted".
    held_out_error: measured on networks, or cells, never trained on: for latencies the mean absolute error in percent,
        for accuracies the median absolute error in percentage points.
    warnings: what not to trust, and why. hash: of the network's canonical form, whatever its file is called.
    extrapolated: whether nothing of about this batch size was ever measured on the target.

    >>> estimate = Estimate("net", "gpu", value=20.0, low=16.0, high=25.0, batch_size=8)
    >>> estimate
    Estimate('net' on gpu, batch 8: 20.0 ms, 16.0 – 25.0 ms, predicted)
    >>> estimate.throughput
    400.0
    """

    model: str
    target: str
    value: float
    low: float
    high: float
    quantity: str = "latency"
    unit: str = "ms"
    batch_size: int | None = None
    source: str = "predicted"
    level: float = 0.9
    held_out_error: float | None = None
    warnings: tuple[str, ...] = ()
    hash: str = ""
    extrapolated: bool = False

    def others(self, **columns: Sequence[Any]) -> list[Self]:
        """Estimates like this one but for some fields, each given by its values: one Estimate for each of them.

        A hundred targets answer at once, and a constructor that sets fifteen fields one by one takes as long for them
        as reading the network does. Raises ValueError for columns of different lengths.
        """
        made: list[Self] = []
        mine, names = self.__dict__, tuple(columns)
        for row in zip(*columns.values(), strict=True):
            fields = mine.copy()
            fields.update(zip(names, row, strict=True))
            other = object.__new__(type(self))
            object.__setattr__(other, "__dict__", fields)  # frozen, but not yet anybody's
            made.append(other)
        return made

    @property
    def throughput(self) -> float | None:
        """Inputs a second, where this is a latency: the batch size over the time of a run."""
        if self.quantity != "latency" or self.batch_size is None or self.value <= 0:
            return None
        return 1000 * self.batch_size / self.value

    @property
    def latency_ms(self) -> float:
        """The value of a latency. Raises AttributeError for another quantity."""
        return self._of("latency", "latency_ms", self.value)

    @property
    def low_ms(self) -> float:
        """The low end of a latency's interval."""
        return self._of("latency", "low_ms", self.low)

    @property
    def high_ms(self) -> float:
        """The high end of a latency's interval."""
        return self._of("latency", "high_ms", self.high)

    @property
    def accuracy(self) -> float:
        """The value of an accuracy, in percent. Raises AttributeError for another quantity."""
        return self._of("accuracy", "accuracy", self.value)

    @property
    def device(self) -> str:
        """What `target` was called."""
        return self.target

    @property
    def cell(self) -> str:
        """The cell whose accuracy this is."""
        return self.model

    @property
    def held_out_mape(self) -> float | None:
        """The held-out error of a latency, in percent."""
        return self.held_out_error if self.quantity == "latency" else None

    def _of(self, quantity: str, name: str, value: float) -> float:
        if self.quantity != quantity:
            raise AttributeError(f"an estimate of {self.quantity} has no {name}; it has value, low and high")
        return value

    def to_dict(self) -> dict[str, Any]:
        """The Estimate as JSON's types, under the names that every command uses."""
        if self.quantity != "latency":
            return {
                "cell": self.model,
                "space": self.target,
                self.quantity: self.value,
                "low": self.low,
                "high": self.high,
                "unit": self.unit,
                "source": self.source,
                "level": self.level,
                "held_out_error": self.held_out_error,
                "warnings": list(self.warnings),
            }
        return {
            "hash": self.hash,
            "model": self.model,
            "target": self.target,
            "batch_size": self.batch_size,
            "latency_ms": self.value,
            "low_ms": self.low,
            "high_ms": self.high,
            "throughput": self.throughput,
            "source": self.source,
            "level": self.level,
            "held_out_mape": self.held_out_error,
            "warnings": list(self.warnings),
            "extrapolated": self.extrapolated,
            "device": self.target,  # what `target` was called: scripts read it
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Estimate:
        """The Estimate of a latency that `to_dict` wrote, here or in another version; names not known are left out."""
        return cls(
            model=record["model"],
            target=record.get("target") or record["device"],
            value=record["latency_ms"],
            low=record["low_ms"],
            high=record["high_ms"],
            batch_size=record.get("batch_size"),
            source=record.get("source", "predicted"),
            level=record.get("level", 0.9),
            held_out_error=record.get("held_out_mape"),
            warnings=tuple(record.get("warnings", ())),
            hash=record.get("hash") or "",
            extrapolated=bool(record.get("extrapolated", False)),
        )

    @property
    def told(self) -> str:
        """The value with its unit, as people read it."""
        return f"{self._figure(self.value)} {self.unit}"

    @property
    def told_interval(self) -> str:
        """The interval with its unit."""
        return f"{self._figure(self.low)} – {self._figure(self.high)} {self.unit}"

    @property
    def told_error(self) -> str:
        """The held-out error. What was measured on networks like those trained on says nothing of one that is not."""
        if self.held_out_error is None or self.warnings:
            return "unknown" if self.source == "predicted" else self.source
        return (
            f"{self.held_out_error:.1f} %" if self.quantity == "latency" else f"{self.held_out_error:.2f} {self.unit}"
        )

    def _figure(self, value: float) -> str:
        return milliseconds(value) if self.unit == "ms" else f"{value:.2f}"

    def __repr__(self) -> str:
        batch = "" if self.batch_size in (None, 1) else f", batch {self.batch_size}"
        warned = "" if not self.warnings else f", {len(self.warnings)} warning{'s' if len(self.warnings) > 1 else ''}"
        where = f"{self.model!r} on {self.target}" if self.quantity == "latency" else f"{self.model!r}"
        return f"Estimate({where}{batch}: {self.told}, {self.told_interval}, {self.source}{warned})"


class Estimates(Answers[Estimate]):
    """Estimates in order, network by network: a sequence that is also a table, CSV, Markdown, JSON or a DataFrame.

    >>> import narformer
    >>> estimates = narformer.predict("examples/resnet18.onnx", devices=["adreno-640", "myriad-x"], measured=False)
    >>> len(estimates), min(estimate.latency_ms for estimate in estimates) < 30
    (2, True)
    >>> estimates.to_csv().splitlines()[0]
    'hash,model,target,batch_size,latency_ms,low_ms,high_ms,throughput,source,level,held_out_mape,warnings,extrapolated,device'
    """

    def table(self) -> Table:
        """Model and batch are columns where there are several; so are throughputs, where the batch is not 1."""
        latency = not self or self[0].quantity == "latency"
        batches = {estimate.batch_size for estimate in self} - {None}
        columns: list[tuple[Column, list[str]]] = []
        if not latency:
            columns.append((Column("cell"), [e.model for e in self]))
        elif len({estimate.model for estimate in self}) > 1:
            columns.append((Column("model", short=True), [e.model for e in self]))
        if latency:
            columns.append((Column("target"), self._targets(len(batches) > 1)))
        if len(batches) > 1:
            columns.append((Column("batch", right=True), [str(e.batch_size or "") for e in self]))
        columns.append((Column("latency" if latency else self[0].quantity, right=True), [e.told for e in self]))
        level = f"{self[0].level:.0%}" if self else "90%"
        columns.append((Column(f"{level} interval", right=True), [e.told_interval for e in self]))
        if batches - {1}:
            rates = ["" if e.throughput is None else milliseconds(e.throughput) for e in self]
            columns.append((Column("inputs/s", right=True), rates))
        columns.append((Column("held-out error", right=True), [e.told_error for e in self]))
        rows = zip(*(cells for _, cells in columns), strict=True)
        return Table(tuple(column for column, _ in columns), tuple(rows))

    def _targets(self, once: bool) -> list[str]:
        """Targets of the rows. once: not again where a row says more of the same network on the same target."""
        before = [None, *((e.model, e.target) for e in self)]
        return ["" if once and (e.model, e.target) == b else e.target for e, b in zip(self, before, strict=False)]
