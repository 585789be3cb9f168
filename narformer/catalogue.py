"""What there is to predict with, and on."""

from __future__ import annotations

import fnmatch
from pathlib import Path

from narformer.adaptation.predictor import default_predictor
from narformer.prediction.predictor import PRETRAINED, Predictor
from narformer.prediction.target import canonical_id


def load(predictor: str | Path | None = None) -> Predictor:
    """A predictor, by the name of a shipped one or the path of your own; without either, the default.

    It is loaded once a process, and knows the devices that you adapted it to besides. Raises DataError where its files
    are absent or broken.

    >>> import narformer
    >>> predictor = narformer.load()
    >>> predictor.predict("examples/resnet18.onnx", devices="adreno-640")[0].unit
    'ms'
    """
    return default_predictor(None if predictor is None else str(predictor))


def list_predictors() -> list[str]:
    """The names of the predictors that are shipped.

    >>> import narformer
    >>> "tally2" in narformer.list_predictors()
    True
    """
    return sorted(path.stem for path in PRETRAINED.glob("*.onnx"))


def list_targets(filter: str = "", predictor: str | Path | None = None) -> list[str]:
    """The targets that a predictor knows, those that you adapted it to among them.

    filter: a pattern with * and ?, or a text that the names contain; all by default. predictor: as `load` takes it.

    >>> import narformer
    >>> narformer.list_targets("rtx5090*fp16")
    ['rtx5090:pytorch-2.9-compiled:fp16', 'rtx5090:pytorch-2.9:fp16']
    >>> narformer.list_targets("rtx4091")
    []
    """
    pattern = filter.lower() if any(sign in filter for sign in "*?[") else f"*{canonical_id(filter).lower()}*"
    known = load(predictor).targets
    return [target for target in known if target == filter or fnmatch.fnmatchcase(target.lower(), pattern)]
