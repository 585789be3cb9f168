"""The protocols: which rows to learn from, which to test on, as published, in a full and a quick form.

A protocol is a list of tasks on one dataset. Every task trains a model afresh on all devices at once, missing labels
masked, and is scored on its test rows, which nothing has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from narformer.datasets.dataset import Dataset, quick
from narformer.datasets.registry import load_dataset
from narformer.errors import ConfigError
from narformer.evaluation.splits import (
    Indices,
    Task,
    few_samples,
    in_domain,
    leave_one_family_out,
    left_out_files,
    left_out_folds,
    left_out_models,
    transfer,
)
from narformer.prediction.headline import one_target


@dataclass(frozen=True)
class Protocol:
    """dataset: name of a public one, or None where the caller gives a directory in NNLQP's layout.

    one_device: the protocol is about one platform; transfer: about that one, learned after all the others.
    """

    name: str
    about: str
    dataset: str | None
    tasks: Callable[[Dataset], list[Task]]
    one_device: bool = False
    transfer: bool = False

    def test_rows(self, dataset: Dataset) -> Indices:
        """Rows on which a predictor that was trained on the dataset's train rows is scored."""
        return dataset.unseen() if self.tasks is left_out_models else dataset.rows("test")

    def load(self, form: str, root: Path | None, directory: Path | None, device: str | None) -> Dataset:
        """The dataset in a form, rows without any label left out. Raises DataError, ConfigError."""
        if self.dataset is None and directory is None:
            raise ConfigError(f"{self.name} needs --nnlqp DIRECTORY, a dataset in NNLQP's layout")
        dataset = load_dataset(self.dataset or str(directory), root)
        if device is not None:
            device = one_target(device, dataset.devices)[0]
            others = [d for d in dataset.devices if d != device] if self.transfer else []
            dataset = dataset.with_devices([device, *others])
        elif self.one_device and len(dataset.devices) > 1:
            raise ConfigError(f"{self.name} is for one platform: choose --device from {', '.join(dataset.devices)}")
        dataset = dataset.subset(np.flatnonzero(np.isfinite(dataset.targets).any(axis=1)))
        return quick(dataset) if form == "quick" else dataset


_ALL = (
    Protocol("nnmeter/in-domain", "train rows to test rows of all families", "nnmeter", in_domain),
    Protocol(
        "nnmeter/leave-one-family-out",
        "all families but one to that one; the paper's out-of-domain protocol on nn-Meter's data",
        "nnmeter",
        leave_one_family_out,
    ),
    Protocol("nnmeter/few-samples", "50 to 1000 training networks", "nnmeter", few_samples),
    Protocol("nnlqp/nasbench201", "the official 1800/200 split of one NNLQP family", "nnlqp/nasbench201", in_domain),
    Protocol(
        "onnxruntime-cpu/in-domain", "our own measurements: train rows to test rows", "onnxruntime-cpu", in_domain
    ),
    Protocol(
        "onnxruntime-cpu/leave-one-family-out",
        "our own measurements: all families but one to that one; `named` are architectures of no family",
        "onnxruntime-cpu",
        leave_one_family_out,
    ),
    Protocol(
        "onnxruntime-wide/in-domain",
        "our wider measurements: operators, drawn networks and the zoo's; train rows to test rows",
        "onnxruntime-wide",
        in_domain,
    ),
    Protocol(
        "onnxruntime-wide/left-out-files",
        "our wider measurements: operators, drawn networks and the zoo's to real ONNX files of public packages",
        "onnxruntime-wide",
        left_out_files,
    ),
    Protocol(
        "timm/in-domain", "timm's own benchmark: train networks to test networks, a tenth of all", "timm", in_domain
    ),
    Protocol("timm/leave-families-out", "timm's own benchmark: ten folds of left-out families", "timm", left_out_folds),
    Protocol(
        "qai_hub/left-out-models",
        "Qualcomm's NPUs: train networks to the test networks that are no train network under another name",
        "qai_hub",
        left_out_models,
    ),
    Protocol(
        "qai_hub/leave-families-out", "Qualcomm's NPUs: ten folds of left-out families", "qai_hub", left_out_folds
    ),
    Protocol("nnlqp/in-domain", "NNLQP's own stages, one platform", None, in_domain, one_device=True),
    Protocol("nnlqp/leave-one-family-out", "all families but one, one platform", None, leave_one_family_out, True),
    Protocol("nnlqp/multi-platform", "NNLQP's own stages, one model for all platforms", None, in_domain),
    Protocol("nnlqp/transfer", "one platform from 32 to 300 networks, after all others", None, transfer, True, True),
)
PROTOCOLS: Mapping[str, Protocol] = {p.name: p for p in _ALL}


def protocol(name: str) -> Protocol:
    """Raises ConfigError for a protocol that does not exist."""
    if name not in PROTOCOLS:
        raise ConfigError(f"unknown protocol {name!r}; known are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
