"""What a shell completes behind options: hardware, runtimes, predictors. Quick, and silent where something is amiss.

Names with a colon are left out: bash takes it for the end of a word.
"""

from __future__ import annotations

from narformer.errors import NarformerError

RUNTIMES = ("onnxruntime", "openvino", "pytorch", "torchcompile")


def hardware_names(incomplete: str) -> list[str]:
    """Hardware of the default predictor's targets, and adapted devices."""
    from narformer.adaptation.device import adapted_names
    from narformer.prediction.card import Card
    from narformer.prediction.predictor import DEFAULT, PRETRAINED

    try:
        known = [output.device.partition(":")[0] for output in Card.read(PRETRAINED / f"{DEFAULT}.json").outputs]
        known += adapted_names()
    except (NarformerError, OSError):
        return []
    return _begun(incomplete, list(dict.fromkeys(known)))


def predictor_names(incomplete: str) -> list[str]:
    """Predictors that are shipped."""
    from narformer.prediction.predictor import PRETRAINED

    return _begun(incomplete, sorted(path.stem for path in PRETRAINED.glob("*.onnx")))


def runtime_names(incomplete: str) -> list[str]:
    """Runtimes that can be measured."""
    return _begun(incomplete, list(RUNTIMES))


def _begun(incomplete: str, names: list[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]
