"""Qualcomm AI Hub's table of its networks on phones, laptops, cars and boards (qai-hub-models 0.65.0, BSD-3-Clause).

`perf.csv` has a row a network (or one component of it), precision, device and runtime: milliseconds at batch 1, and how
many layers ran on the NPU, the GPU and the CPU. The networks are the zoo's (datasets/zoo.py), which has their
structure in float: that w8a8 computes in int8 is the target's, not the Graph's. docs/reference/datasets.md tells
what was found wrong with the table; what is left out for it is counted by `select`.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from narformer.datasets import zoo
from narformer.datasets.dataset import Dataset, data_root
from narformer.datasets.table import Row, positive, read_table
from narformer.datasets.timm import ZooSource
from narformer.errors import DataError

LEAST_NETWORKS = 20  # of different structure that a target must have to be one
_COLUMNS = (
    *("model", "component", "precision", "device", "runtime", "latency_ms", "unit"),
    *("npu_layers", "gpu_layers", "cpu_layers", "split"),
)
# Of one network the first of these that was measured: a DLC that is compiled on the device takes as long as one that
# was compiled before (a context binary), 2 % apart, and as in the SDK for speech, 1 % apart.
_RUNTIMES: Mapping[str, tuple[str, int]] = {
    "tflite": ("tflite", 0),
    "onnx": ("onnxruntime", 0),
    "qnn_dlc": ("qnn", 0),
    "qnn_context_binary": ("qnn", 1),
    "voice_ai": ("qnn", 2),
}
# What the NPU computes in: activations and weights; of float networks it is float16.
_PRECISION: Mapping[str, str] = {"float": "fp16", "w8a8": "int8", "w8a16": "w8a16", "w4a16": "w4a16"}
_NO_PART_OF_A_NAME = re.compile(r"\b(samsung|crd|adp|evk|mtp|5g|vision kit|proxy)\b")
# Networks of the zoo that are not what was measured: 78 GMACs in 2.2 ms is four times what this NPU does at best.
_OTHER_NETWORK = frozenset({"yolov3"})
# Networks that are one Graph: other weights, or the same for other precisions.
_ONE_GRAPH = (
    (re.compile(r"opus_mt_\w\w_\w\w"), "opus_mt"),
    (re.compile(r"whisper_large_v3_turbo_quantized"), "whisper_large_v3_turbo"),
    (re.compile(r"depth_anything_v2"), "depth_anything"),
    (re.compile(r"real_esrgan_x4plus"), "esrgan"),
)
# Families by what the name of a network has in it, the first that fits; any other network is a family of its own.
_FAMILIES = (
    ("encoder of text", ("bert", "minilm", "nomic", "siglip2:text")),
    ("speech", ("whisper", "wav2vec2")),
    ("translation", ("opus_mt",)),
    ("video", ("resnet_2plus1d", "resnet_3d", "resnet_mixed", "video_mae", "vjepa2")),
    ("detr", ("detr",)),
    ("upscaler", ("esrgan", "srgan", "quicksrnet", "sesr", "xlsr")),
    ("nafnet", ("nafnet",)),
    ("segmentation", ("fcn_resnet50", "unet", "u2net", "deeplab", "segformer", "mask2former", "ffnet", "pspnet")),
    ("depth_anything", ("depth_anything",)),
    ("efficientvit", ("efficientvit",)),
    ("efficientnet", ("efficientnet",)),
    ("convnext", ("convnext",)),
    ("swin", ("swin",)),
    ("vision transformer", ("vit", "beit", "siglip2:image", "openai_clip", "owl_vit", "sam2", "trocr")),
    ("mobilenet", ("mobilenet", "mnasnet", "mobile_facenet", "shufflenet")),
    ("inception", ("inception", "googlenet")),
    ("regnet", ("regnet",)),
    ("resnet", ("resnet", "resnext", "dla")),
    ("hrnet", ("hrnet",)),
    ("mediapipe", ("mediapipe",)),
    ("small detector", ("face_det_lite", "foot_track_net")),
)


FOLDS = 10


class Selected(NamedTuple):
    """Rows of the table that can be learned from, and how many were left out for what reason."""

    rows: Sequence[Row]
    left_out: Mapping[str, int]


def hardware(device: str) -> str:
    """`galaxy-s25-npu` of `Samsung Galaxy S25`."""
    return "-".join(re.findall(r"[a-z0-9]+", _NO_PART_OF_A_NAME.sub("", device.lower()))) + "-npu"


def target_id(row: Row) -> str:
    """`galaxy-s25-npu:tflite:fp16` from the table's columns."""
    return f"{hardware(row['device'])}:{_RUNTIMES[row['runtime']][0]}:{_PRECISION[row['precision']]}"


def network_of(row: Row, names: frozenset[str]) -> str | None:
    """The zoo's name of a row's network, with its component where it has several; None where the zoo has it not."""
    spelt = (row["model"], f"{row['model']}:{row['component']}")
    return next((name for name in spelt if name in names), None)


def one_graph(name: str) -> str:
    """The name that networks of one Graph share."""
    for pattern, shared in _ONE_GRAPH:
        name = pattern.sub(shared, name)
    return name


def family(name: str) -> str:
    """The family of a network by its name; the name itself where no family is known."""
    return next((each for each, parts in _FAMILIES if any(part in name for part in parts)), name)


def fold(name: str) -> int:
    """Which of the folds of left-out families a network is in: by its family's place in _FAMILIES, else by SHA-1."""
    mine = family(name)
    listed = [each for each, _ in _FAMILIES]
    return (listed.index(mine) if mine in listed else int(hashlib.sha1(mine.encode()).hexdigest(), 16)) % FOLDS


def select(table: Sequence[Row], names: frozenset[str], least: int = LEAST_NETWORKS) -> Selected:
    """The rows of networks of the zoo that ran on the NPU alone, with a runtime and a precision that are known.

    Devices whose every latency is another's, `least` or more, are left out: they were not measured.
    """
    copies = copied_devices(table, least)
    rows, left_out = [], Counter[str]()
    for row in table:
        if row["device"] in copies:
            reason = "a device whose latencies are all another's"
        elif network_of(row, names) is None:
            reason = "a network that the zoo does not have"
        elif network_of(row, names) in _OTHER_NETWORK:
            reason = "a network that the zoo has, but that is not what was measured"
        elif row["unit"] != "NPU" or row["gpu_layers"] != "0" or row["cpu_layers"] != "0":
            reason = "layers not on the NPU alone"
        elif row["runtime"] not in _RUNTIMES:
            reason = "another runtime"
        elif row["precision"] not in _PRECISION:
            reason = "a mixed precision"
        else:
            rows.append(row)
            continue
        left_out[reason] += 1
    return Selected(rows, left_out)


def copied_devices(table: Sequence[Row], least: int = LEAST_NETWORKS) -> dict[str, str]:
    """Devices of which every latency that another has as well is the same there, with the other's name.

    Of such devices a phone is kept, then a laptop, then the one with most rows. Two that share fewer than `least` rows
    are taken for two.
    """
    latencies: dict[str, dict[tuple[str, ...], str]] = {}
    for row in table:
        key = (row["model"], row["component"], row["precision"], row["runtime"])
        latencies.setdefault(row["device"], {})[key] = row["latency_ms"]
    order = sorted(
        latencies, key=lambda d: (not d.startswith("Samsung"), not d.startswith("Snapdragon X"), -len(latencies[d]), d)
    )
    copies: dict[str, str] = {}
    for place, device in enumerate(order):
        for other in order[:place]:
            common = latencies[device].keys() & latencies[other].keys()
            same = all(latencies[device][key] == latencies[other][key] for key in common)
            if other not in copies and same and len(common) >= least:
                copies[device] = other
    return copies


def load_qai_hub(root: str | Path | None = None, least: int = LEAST_NETWORKS) -> Dataset:
    """A row a network or a component of one, at batch 1; a target for each NPU, runtime and precision.

    Targets with fewer than `least` networks of different structure are left out. A warning says how many rows of the
    table are left out, by reason. Rows of one Graph have one `network`. Raises DataError for a missing or malformed
    table, one with two measurements of the same, or where the zoo is another than was checked against it.
    """
    path = data_root(root) / "qai_hub" / "perf.csv"
    table = read_table(path, _COLUMNS)
    _check(path, table)
    zoo.check_versions()
    names = frozenset(entry.name for entry in zoo.names("qai_hub"))
    selected = select(table, names, least)
    best: dict[tuple[str, str], tuple[int, float]] = {}
    split: dict[str, str] = {}
    for row in selected.rows:
        name = str(network_of(row, names))
        split[name] = row["split"]
        rank = _RUNTIMES[row["runtime"]][1]
        key = (name, target_id(row))
        if key not in best or rank < best[key][0]:
            best[key] = (rank, float(row["latency_ms"]))
    structures: dict[str, set[str]] = {}
    for name, target in best:
        structures.setdefault(target, set()).add(one_graph(name))
    devices = tuple(sorted(t for t, found in structures.items() if len(found) >= least))
    if not devices:
        raise DataError(f"{path}: no target of it has {least} networks of the zoo that ran on the NPU alone")
    ids = tuple(sorted({name for name, target in best if target in devices}))
    targets = np.full((len(ids), len(devices)), np.nan)
    for (name, target), (_, latency) in best.items():
        if target in devices:
            targets[ids.index(name), devices.index(target)] = latency
    told = dict(selected.left_out)
    told["of a network that the target has with a nearer runtime"] = len(selected.rows) - len(best)
    told["a target of too few networks"] = len(best) - int(np.isfinite(targets).sum())
    listed = "; ".join(f"{reason}: {count:,}" for reason, count in told.items() if count)
    if listed:
        warnings.warn(f"{path}: rows left out, of {len(table):,}: {listed}", stacklevel=2)
    return Dataset(
        name="qai_hub",
        ids=ids,
        sources=tuple(ZooSource(name, 0, "qai_hub") for name in ids),
        family=tuple(family(name) for name in ids),
        split=tuple(split[name] for name in ids),
        targets=targets,
        devices=devices,
        fold=tuple(fold(name) for name in ids),
        network=tuple(one_graph(name) for name in ids),
    )


def _check(path: Path, table: Sequence[Row]) -> None:
    """Raises DataError for a latency that is none, a split that is not known, and for what was measured twice."""
    seen: dict[tuple[str, ...], int] = {}
    for line, row in enumerate(table, 2):
        positive(row["latency_ms"], f"{path}, line {line}, latency_ms")
        if row["split"] not in ("train", "test"):
            raise DataError(f"{path}, line {line}: split is {row['split']!r}, neither train nor test")
        key = tuple(row[column] for column in ("model", "component", "precision", "device", "runtime"))
        if key in seen:
            raise DataError(f"{path}, line {line}: {' '.join(key)} is there twice, in line {seen[key]} as well")
        seen[key] = line
