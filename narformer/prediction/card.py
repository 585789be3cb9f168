"""The card of a predictor: a JSON file beside its ONNX file, and an .npz of the networks that it knows."""

from __future__ import annotations

import functools
import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from narformer.errors import DataError
from narformer.prediction.novelty import Novelty
from narformer.prediction.target import canonical_id
from narformer.prediction.target_groups import description

CARD_FORMAT = 4
READ_FORMATS = (2, 3, CARD_FORMAT)  # 2: before precisions and floors were told; 3: reference networks in the JSON


@dataclass(frozen=True)
class Output:
    """What one output of the model predicts, and how far to trust it.

    quantiles: half width of the interval in ln(ms), for networks like those trained on (`known`), those of them that
        take `trust.LONG_MS` and more (`long`; as `known` where it is not told), others (`novel`), and those that a
        warning concerns (`doubted`; twice that of `novel`, or DOUBTED more, where it is not told).
    held_out: measured on test rows of networks never trained on, end to end (`prediction.held_out`): `rows`, and in
        percent the mean error `mape`, the share within 10 % `acc_10`, and the share inside the interval `coverage`.
    operators, batch_sizes: those of the training networks that were measured on this device; what only others were
        measured on is as good as never seen. references: a character for each of the card's reference networks, "1"
        where it was measured on this device. threshold: a network further than this from all of them is novel.
    averaged: how much of the error of known networks averages out where many kernels share the time: their half width
        is that of `quantiles` times `spread(kernels, averaged)`.
    away: what may be wrong, in ln(ms), with a network composed as none that was measured; it adds to the half width as
        independent errors do, in the share in which the novelty of a network's composition is between what is `usual`
        (0) and all there is (1). away_long: the same of networks that take `trust.LONG_MS` and more, whose time is less
        in what runs cost beside their work; as `away` where that is not told.
    common: what may be wrong with all kernels alike, in ln(ms), where the target's prices are a relative's; it adds to
        the half width as independent errors do.
    precisions: in which the training networks' files were. floor_ms: what a run, and a kernel, take at least.
    """

    device: str
    description: str
    quantiles: Mapping[str, float]
    held_out: Mapping[str, float]
    operators: tuple[str, ...]
    batch_sizes: tuple[int, ...]
    references: str
    threshold: float
    precisions: tuple[str, ...] = ("float32",)
    floor_ms: tuple[float, float] = (0.0, 0.0)
    averaged: float = 0.0
    away: float = 0.0
    usual: float = 0.0
    common: float = 0.0
    away_long: float | None = None

    def has_seen(self, batch_size: int) -> bool:
        """Whether a batch size is between those that training networks were measured at on this device."""
        least, most = self._batches
        return least <= batch_size <= most

    @functools.cached_property
    def _batches(self) -> tuple[int, int]:
        return min(self.batch_sizes), max(self.batch_sizes)

    @property
    def seen_batches(self) -> str:
        """The range of batch sizes that were measured on this device: `1`, or `2 to 1024`."""
        least, most = self._batches
        return str(least) if least == most else f"{least} to {most}"


class Limits(NamedTuple):
    """The numbers of some Outputs, by their names there, each (outputs,).

    known, long, novel, doubted: of `quantiles`, NaN for `doubted` where it is not told. run, call: of `floor_ms`.
    least_batch, most_batch: of `batch_sizes`.
    """

    known: npt.NDArray[np.float64]
    long: npt.NDArray[np.float64]
    novel: npt.NDArray[np.float64]
    doubted: npt.NDArray[np.float64]
    averaged: npt.NDArray[np.float64]
    away: npt.NDArray[np.float64]
    away_long: npt.NDArray[np.float64]
    usual: npt.NDArray[np.float64]
    common: npt.NDArray[np.float64]
    run: npt.NDArray[np.float64]
    call: npt.NDArray[np.float64]
    threshold: npt.NDArray[np.float64]
    least_batch: npt.NDArray[np.float64]
    most_batch: npt.NDArray[np.float64]

    @classmethod
    def of(cls, outputs: Sequence[Output]) -> Limits:
        """Those of these Outputs."""
        rows = [
            (
                *(o.quantiles["known"], o.quantiles.get("long", o.quantiles["known"])),
                *(o.quantiles["novel"], o.quantiles.get("doubted", np.nan)),
                *(o.averaged, o.away, o.away if o.away_long is None else o.away_long),
                *(o.usual, o.common, *o.floor_ms, o.threshold, min(o.batch_sizes), max(o.batch_sizes)),
            )
            for o in outputs
        ]
        return cls(*np.array(rows, dtype=float).reshape(-1, len(cls._fields)).T)

    def at(self, columns: Sequence[int]) -> Limits:
        """Those of some of the Outputs."""
        if len(columns) == len(self.known) and list(columns) == list(range(len(columns))):
            return self
        return Limits(*np.stack(self)[:, list(columns)])

    def has_seen(self, batch_size: int) -> list[bool]:
        """By output what `Output.has_seen` says."""
        seen: list[bool] = ((self.least_batch <= batch_size) & (batch_size <= self.most_batch)).tolist()
        return seen


@dataclass(frozen=True)
class Card:
    """What stands beside the weights: everything a user needs to know, and everything the predictor needs to run.

    >>> import narformer
    >>> card = narformer.load().card
    >>> card.name, card.level, "mape" in card.outputs[0].held_out
    ('tally2', 0.9, True)
    """

    name: str
    model: str
    tokenizer: str
    outputs: tuple[Output, ...]
    novelty: Novelty
    level: float = 0.9
    training: Mapping[str, Any] = field(default_factory=dict)
    # Whether every network trained on had its BatchNormalizations folded into convolutions; then inputs are, too.
    folds_batch_norm: bool = False

    def __repr__(self) -> str:
        return f"Card({self.name!r}, {self.model} on {self.tokenizer}, {len(self.outputs)} targets)"

    def save(self, path: Path) -> None:
        """Write the card to `path` (.json), and the networks that it knows beside it (.npz)."""
        outputs = [asdict(output) for output in self.outputs]
        measured = [output.pop("references").encode() for output in outputs]
        partial = path.with_suffix(".partial.npz")
        np.savez_compressed(
            partial,
            center=self.novelty.center,
            scale=self.novelty.scale,
            # Hundredths of a standard deviation: what tells networks apart is coarser by far.
            references=np.round(100 * self.novelty.references).astype(np.int32),
            measured=np.packbits(np.array([list(letters) for letters in measured]) == ord("1"), axis=1),
        )
        partial.replace(path.with_suffix(".npz"))
        data = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("outputs", "novelty")}
        text = json.dumps({**data, "outputs": outputs, "format": CARD_FORMAT}, indent=1)
        partial = path.with_suffix(".json.partial")
        partial.write_text(text + "\n")
        partial.replace(path)

    @functools.cached_property
    def limits(self) -> Limits:
        """The numbers of all outputs as arrays."""
        return Limits.of(self.outputs)

    @property
    def fingerprint(self) -> str:
        """Tells trainings apart: another where what was trained, or how well it did, differs."""
        told = [[o.device, dict(o.quantiles), dict(o.held_out)] for o in self.outputs]
        return hashlib.sha256(json.dumps([self.name, told, dict(self.training)], default=str).encode()).hexdigest()[:12]

    @classmethod
    def read(cls, path: Path) -> Card:
        """The card at `path` (.json). Raises DataError where a file is absent, broken, or of a later format."""
        try:
            data = json.loads(path.read_text())
            number = data.pop("format")
            if number not in READ_FORMATS:
                raise DataError(f"{path}: a card of another format; install the narformer version that wrote it")
            outputs: list[dict[str, Any]] = [
                {k: tuple(v) if isinstance(v, list) else v for k, v in output.items()} for output in data.pop("outputs")
            ]
            if number < CARD_FORMAT:
                novelty = _in_text(data.pop("novelty"))
            else:
                novelty, measured = _in_arrays(path.with_suffix(".npz"))
                outputs = [{**o, "references": letters} for o, letters in zip(outputs, measured, strict=True)]
            card = cls(outputs=tuple(_present(Output(**output)) for output in outputs), novelty=novelty, **data)
            if any(len(output.references) != len(novelty.references) for output in card.outputs):
                raise ValueError("references of an output are not those of the card")
            return card
        except OSError as error:
            raise DataError(
                f"{error.filename or path}: cannot be read ({error.strerror}); a predictor is NAME.onnx beside "
                "NAME.json and NAME.npz"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise DataError(f"{path}: not the card of a predictor ({error})") from error


def _present(output: Output) -> Output:
    """An output by the id that its target has now, whatever it was called when the card was written."""
    device = canonical_id(output.device)
    return replace(output, device=device, description=description(device) or output.description)


def _in_arrays(path: Path) -> tuple[Novelty, list[str]]:
    """The reference networks, and for each output which of them were measured there, a letter each."""
    with path.open("rb") as file, np.load(file) as arrays:
        references = arrays["references"] / 100
        measured = np.unpackbits(arrays["measured"], axis=1, count=len(references))
        novelty = Novelty(arrays["center"].astype(np.float64), arrays["scale"].astype(np.float64), references)
    return novelty, ["".join(map(str, row)) for row in measured.tolist()]


def _in_text(novelty: Mapping[str, Any]) -> Novelty:
    """The reference networks as cards before format 4 have them: lines of text within the JSON."""
    center, scale, *references = (
        np.array(line.split(), dtype=np.float64)
        for line in (novelty["center"], novelty["scale"], *novelty["references"])
    )
    return Novelty(center, scale, np.stack(references))
