"""One whole run: dataset, token cache, model, training, predictor."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from narformer import __version__
from narformer.datasets.dataset import Dataset
from narformer.datasets.kernel_cache import cache_for
from narformer.datasets.registry import load_dataset
from narformer.errors import ConfigError, DataError
from narformer.models.interface import LatencyModel
from narformer.models.price_fit import Shares
from narformer.models.registry import MODELS, create_model, tokenizer_of
from narformer.models.tally import TILE_NETWORKS
from narformer.prediction.card import Card
from narformer.prediction.held_out import Watch
from narformer.prediction.target import canonical_id, select
from narformer.prediction.target_groups import description, groups, hardware_kind, least_ms, runtime_kind, view
from narformer.training.batching import Indices, split_rows
from narformer.training.config import TrainConfig
from narformer.training.export import export_predictor
from narformer.training.loop import Progress, train


def run(
    config: TrainConfig,
    name: str,
    directory: Path,
    cache: Path,
    data: Path | None = None,
    show: Callable[[Progress], None] = lambda _: None,
    watch: Watch = lambda parts, _: parts,
) -> Card:
    """Train what `config` says and write `directory/name.onnx` with its card; resumes where a killed run stopped.

    show, watch: how far the training is, and then the errors on held-out networks.
    """
    dataset = prepare(config, data)
    tokens = cache_for(dataset, tokenizer_of(config.model), cache)
    fit, validation, calibration = train_parts(config, dataset)
    torch.manual_seed(config.seed)
    model = model_for(config.model, dataset, fit, config.model_options)
    shares = kernel_shares(dataset, tokens.sizes(), fit)
    for progress in train(config, model, tokens, dataset.targets, fit, validation, directory, shares):
        show(progress)
    return export_predictor(
        model,
        name,
        config.model,
        tokenizer_of(config.model),
        dataset,
        tokens,
        fit,
        calibration if len(calibration) else validation,
        directory / f"{name}.onnx",
        descriptions={device: description(device) for device in (*dataset.devices, *config.relatives)},
        relatives=config.relatives,
        novel_quantiles=left_out_errors(config.left_out),
        long_quantiles=left_out_errors(config.left_out, "log_error_90_long"),
        training={
            "dataset": dataset.name,
            "rows": {"train": len(fit), "validation": len(validation), "calibration": len(calibration)},
            "seed": config.seed,
            "epochs": config.epochs,
            "precision": config.precision,
            "command": f"narformer train configs/{name}.yaml",
            "narformer": __version__,
        },
        watch=watch,
    )


def kernel_shares(dataset: Dataset, sizes: npt.NDArray[np.int64], fit: Indices) -> Shares | None:
    """What profilers told of the rows to fit on; None where nothing.

    sizes: numbers of tokens of the dataset's rows. Raises DataError where profiles are of several targets, or of other
    tokens.
    """
    rows, profiles = [], []
    for place, row in enumerate(fit.tolist()):
        profile = dataset.profiles.get(dataset.ids[row])
        if profile is None or profile.target not in dataset.devices:
            continue
        if len(profile.shares) != sizes[row]:
            raise DataError(
                f"{dataset.ids[row]}: a profile of {len(profile.shares)} tokens for a network of {sizes[row]}; "
                "take profiles again (benchmarks/profile_kernels.py)"
            )
        if np.isfinite(dataset.targets[row, dataset.devices.index(profile.target)]):
            rows.append(place)
            profiles.append(profile)
    targets = {profile.target for profile in profiles}
    if len(targets) > 1:
        raise DataError(f"{dataset.name}: profiles of several targets ({', '.join(sorted(targets))})")
    if not profiles:
        return None
    output = dataset.devices.index(targets.pop())
    return Shares(output, np.array(rows), [p.shares for p in profiles], [p.groups for p in profiles])


def left_out_errors(paths: Sequence[str], name: str = "log_error_90") -> dict[str, float]:
    """90 % of |ln(prediction / truth)| on families left out of training, by device; empty without a result to read.

    paths: results of `narformer evaluate`, of one device or several each; seeds are averaged. name: of the figure in a
    result's runs, `log_error_90`, or `log_error_90_long` of networks of a millisecond and more, which not all have.
    Raises DataError where a file is no such result.
    """
    errors: dict[str, float] = {}
    for path in paths:
        try:
            runs = json.loads(Path(path).read_text())["runs"]
            told = [run["log_error_90"] if name == "log_error_90" else run.get(name, {}) for run in runs]
            errors |= {canonical_id(device): float(np.mean([each[device] for each in told])) for device in told[0]}
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            raise DataError(f"{path}: not a result of narformer evaluate; left_out names one") from error
    return errors


def prepare(config: TrainConfig, data: Path | None) -> Dataset:
    """The dataset of a configuration, restricted to its families and devices, and to rows with a label."""
    dataset = load_dataset(config.dataset, data)
    if config.families:
        unknown = sorted(set(config.families) - set(dataset.family))
        if unknown:
            raise ConfigError(
                f"no family {', '.join(unknown)} in {dataset.name}; it has {', '.join(sorted(set(dataset.family)))}"
            )
        dataset = dataset.subset(dataset.rows(families=config.families))
    if config.devices:
        dataset = dataset.with_devices(select(config.devices, dataset.devices))
    return dataset.subset(np.flatnonzero(np.isfinite(dataset.targets).any(axis=1)))


def model_for(
    name: str, dataset: Dataset, fit: Indices, options: Mapping[str, Any] = MappingProxyType({})
) -> LatencyModel:
    """A fresh model with an output a device; one that is told how its targets are related is told.

    fit: the rows it will learn from.
    """
    devices = dataset.devices
    if MODELS[name].related:
        measured = np.isfinite(dataset.targets[fit]).sum(axis=0)
        least = [least_ms(device) for device in devices]
        hardware = tuple(hardware_kind(device) for device in devices)
        tiled = np.flatnonzero(measured >= TILE_NETWORKS)
        related = {
            "groups": groups(devices),
            "least_run": tuple(run for run, _ in least),
            "least_call": tuple(call for _, call in least),
            "views": tuple(view(device) for device in devices),
            "hardware": hardware,
            "runtimes": tuple(runtime_kind(device) for device in devices),
            "tiled": tuple(tiled.tolist()),
            "npus": tuple(k for k, kind in enumerate(hardware) if kind == "npu" and k not in tiled),
        }
        options = {**related, **options}
    return create_model(name, options, len(devices))


def train_parts(config: TrainConfig, dataset: Dataset) -> tuple[Indices, Indices, Indices]:
    """Rows to fit on, to choose the best epoch by, and to calibrate on: all of them train rows."""
    rows = dataset.rows("train")
    if not len(rows):
        raise DataError(f"{dataset.name}: no rows of the train split to learn from")
    names = [(dataset.network or dataset.ids)[r] for r in rows]
    validation, calibration, fit = split_rows(names, (config.validation, config.calibration))
    return rows[fit], rows[validation], rows[calibration]
