"""The card of a predictor: a JSON file beside its ONNX file."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.errors import DataError
from narformer.prediction.novelty import Novelty
from narformer.prediction.target import canonical_id
from narformer.prediction.target_groups import description

CARD_FORMAT = 3
READ_FORMATS = (2, CARD_FORMAT)  # cards before precisions and floors were told


@dataclass(frozen=True)
class Output:
    """What one output of the model predicts, and how far to trust it.

    quantiles: half width of the interval in ln(ms), for networks like those trained on (`known`), others (`novel`), and
        those that a warning concerns (`doubted`; twice that of `novel`, or DOUBTED more, where it is not told).
    held_out: measured on test rows never trained on: `mape` and `acc_10` in percent, `rows`.
    operators, batch_sizes: those of the training networks that were measured on this device; what only others were
        measured on is as good as never seen. references: a character for each of the card's reference networks, "1"
        where it was measured on this device. threshold: a network further than this from all of them is novel.
    averaged: how much of the error of known networks averages out where many kernels share the time: their half width
        is that of `quantiles` times `spread(kernels, averaged)`.
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
    common: float = 0.0

    def has_seen(self, batch_size: int) -> bool:
        """Whether a batch size is between those that training networks were measured at on this device."""
        return min(self.batch_sizes) <= batch_size <= max(self.batch_sizes)

    @property
    def seen_batches(self) -> str:
        """The range of batch sizes that were measured on this device: `1`, or `2 to 1024`."""
        least, most = min(self.batch_sizes), max(self.batch_sizes)
        return str(least) if least == most else f"{least} to {most}"

    @functools.cached_property
    def measured(self) -> npt.NDArray[np.bool_]:
        """Which of the card's reference networks were measured on this device, (R,)."""
        return np.array([letter == "1" for letter in self.references])


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

    def to_json(self) -> str:
        novelty = {
            "center": _line(self.novelty.center, 4),
            "scale": _line(self.novelty.scale, 4),
            "references": [_line(row, 2) for row in self.novelty.references],
        }
        data = {**asdict(self), "format": CARD_FORMAT, "novelty": novelty}
        return json.dumps(data, indent=1)

    @property
    def fingerprint(self) -> str:
        """Tells trainings apart: another where what was trained, or how well it did, differs."""
        told = [[o.device, dict(o.quantiles), dict(o.held_out)] for o in self.outputs]
        return hashlib.sha256(json.dumps([self.name, told, dict(self.training)], default=str).encode()).hexdigest()[:12]

    @classmethod
    def read(cls, path: Path) -> Card:
        """Raises DataError where the file is absent, broken, or of a later format."""
        try:
            data = json.loads(path.read_text())
            if data.pop("format") not in READ_FORMATS:
                raise DataError(f"{path}: a card of another format; install the narformer version that wrote it")
            novelty = data.pop("novelty")
            told: list[dict[str, Any]] = data.pop("outputs")
            lists: list[dict[str, Any]] = [
                {k: tuple(v) if isinstance(v, list) else v for k, v in output.items()} for output in told
            ]
            outputs = tuple(_present(Output(**output)) for output in lists)
            center, scale, *references = (
                np.array(line.split(), dtype=np.float64)
                for line in (novelty["center"], novelty["scale"], *novelty["references"])
            )
            if any(len(output.references) != len(references) for output in outputs):
                raise ValueError("references of an output are not those of the card")
            return cls(outputs=outputs, novelty=Novelty(center, scale, np.stack(references)), **data)
        except OSError as error:
            raise DataError(
                f"{path}: cannot be read ({error.strerror}); a predictor is NAME.onnx beside NAME.json"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: not the card of a predictor ({error})") from error


def _present(output: Output) -> Output:
    """An output by the id that its target has now, whatever it was called when the card was written."""
    device = canonical_id(output.device)
    return replace(output, device=device, description=description(device) or output.description)


def _line(numbers: npt.NDArray[np.float64], decimals: int) -> str:
    """Numbers as one line of text: a card stays readable, and a difference between two cards too."""
    return " ".join(f"{number:.{decimals}f}" for number in numbers)
