"""The protocols by name. A new one is a row here; a new kind is a subclass of `Protocol` in a file of its own."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.cells.nasbench101 import load_nasbench101
from narformer.cells.nasbench201 import load_nasbench201
from narformer.datasets.help import UNSEEN, UNSEEN_FBNET, load_help_fbnet, load_help_nasbench201
from narformer.errors import ConfigError, did_you_mean
from narformer.evaluation.adaptation import DevicesProtocol, SpaceProtocol
from narformer.evaluation.cell_accuracy import CellProtocol
from narformer.evaluation.hardware_protocol import HardwareProtocol
from narformer.evaluation.latency import LatencyProtocol
from narformer.evaluation.protocol import Protocol
from narformer.evaluation.splits import (
    few_samples,
    in_domain,
    leave_one_family_out,
    left_out_files,
    left_out_folds,
    left_out_models,
    left_out_networks,
    transfer,
)

_LATENCY = (
    LatencyProtocol("nnlqp/in-domain", "NNLQP's own stages, one platform", None, in_domain, one_device=True),
    LatencyProtocol(
        "nnlqp/leave-one-family-out", "all families but one, one platform", None, leave_one_family_out, one_device=True
    ),
    LatencyProtocol("nnlqp/multi-platform", "NNLQP's own stages, one model for all platforms", None, in_domain),
    LatencyProtocol(
        "nnlqp/nasbench201", "the official 1800/200 split of one NNLQP family", "nnlqp/nasbench201", in_domain
    ),
    LatencyProtocol(
        "nnlqp/transfer",
        "one platform from 32 to 300 networks, after all others",
        None,
        transfer,
        one_device=True,
        transfer=True,
    ),
    LatencyProtocol("nnmeter/few-samples", "50 to 1000 training networks", "nnmeter", few_samples),
    LatencyProtocol("nnmeter/in-domain", "train rows to test rows of all families", "nnmeter", in_domain),
    LatencyProtocol(
        "nnmeter/leave-one-family-out",
        "all families but one to that one; the paper's out-of-domain protocol on nn-Meter's data",
        "nnmeter",
        leave_one_family_out,
    ),
    LatencyProtocol(
        "onnxruntime-cpu/in-domain", "our own measurements: train rows to test rows", "onnxruntime-cpu", in_domain
    ),
    LatencyProtocol(
        "onnxruntime-cpu/leave-one-family-out",
        "our own measurements: all families but one to that one; `named` are architectures of no family",
        "onnxruntime-cpu",
        leave_one_family_out,
    ),
    LatencyProtocol(
        "onnxruntime-wide/in-domain",
        "our wider measurements: operators, drawn networks and the zoo's; train rows to test rows",
        "onnxruntime-wide",
        in_domain,
    ),
    LatencyProtocol(
        "onnxruntime-wide/left-out-files",
        "our wider measurements: operators, drawn networks and the zoo's to real ONNX files of public packages",
        "onnxruntime-wide",
        left_out_files,
    ),
    LatencyProtocol(
        "pytorch-gpu/left-out-networks",
        "an H100, with timm's table: five folds of its networks, left out on all hardware",
        "timm+pytorch-gpu",
        left_out_networks,
    ),
    LatencyProtocol(
        "qai_hub/leave-families-out", "Qualcomm's NPUs: ten folds of left-out families", "qai_hub", left_out_folds
    ),
    LatencyProtocol(
        "qai_hub/left-out-models",
        "Qualcomm's NPUs: train networks to the test networks that are no train network under another name",
        "qai_hub",
        left_out_models,
    ),
    LatencyProtocol(
        "timm/in-domain", "timm's own benchmark: train networks to test networks, a tenth of all", "timm", in_domain
    ),
    LatencyProtocol(
        "timm/leave-families-out", "timm's own benchmark: ten folds of left-out families", "timm", left_out_folds
    ),
)
LATENCY: Mapping[str, LatencyProtocol] = {p.name: p for p in _LATENCY}
_OTHERS: tuple[Protocol, ...] = (
    CellProtocol("nasbench101/accuracy", "accuracies of NAS-Bench-101", load_nasbench101, (100, 172, 424, 4236)),
    CellProtocol("nasbench201/accuracy", "accuracies of NAS-Bench-201", load_nasbench201, (78, 156, 469, 781, 1563)),
    SpaceProtocol("help/fbnet", "HELP's devices on FBNet's space", load_help_fbnet, UNSEEN_FBNET),
    SpaceProtocol("help/nasbench201", "HELP's devices on NAS-Bench-201", load_help_nasbench201, UNSEEN),
    DevicesProtocol(
        "nnmeter/leave-one-device-out",
        "nn-Meter's devices and ours, each from a few of its rows",
        ("nnmeter", "onnxruntime-cpu"),
    ),
    HardwareProtocol("qai_hub/leave-one-hardware-out", "Qualcomm's NPUs: each hardware without its labels", "qai_hub"),
    HardwareProtocol("timm/leave-one-hardware-out", "timm's own benchmark: each hardware without its labels", "timm"),
)
PROTOCOLS: Mapping[str, Protocol] = {**LATENCY, **{p.name: p for p in _OTHERS}}


def protocol(name: str) -> Protocol:
    """Raises ConfigError for a protocol that does not exist, with the nearest."""
    if name not in PROTOCOLS:
        meant = did_you_mean(name, [*PROTOCOLS, "all"])
        raise ConfigError(f"unknown protocol {name!r}; {meant}known are all, {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
