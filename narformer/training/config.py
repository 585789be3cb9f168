"""What a training run is: one small YAML file, saved beside its result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from narformer.errors import ConfigError

PRECISIONS = ("float32", "bfloat16")
LOSS_NAMES = ("relative_mse", "log_l1")


@dataclass(frozen=True)
class TrainConfig:
    """One training run. The defaults are the paper's (NAR-Former V2, section 4.1 and the released settings).

    dataset: `nnmeter`, `nnlqp/nasbench201`, or the path of a directory in NNLQP's layout.
    families: train on these families alone (empty: all).
    model: name of a model; model_options: its sizes, where they differ from the defaults.
    validation, calibration: shares of the train rows kept back, one to choose the best epoch, one to set the intervals.
    left_out: results of `narformer evaluate …/leave-one-family-out`, whose errors set the intervals of networks far
        from those trained on (empty: four times the usual width).
    loss: `relative_mse` (the paper's) or `log_l1`, the mean of |ln(prediction / truth)|.
    relatives: targets that nothing was measured on, each with `of`, the measured target whose prices it has, and by
        term of a kernel's work how many times as long it takes there (models/tally2.py, `with_relative`).
    balance: 0 where every measurement counts alike, 1 where every target does, or a number between them.
    precision: `bfloat16` runs the wide layers in bfloat16 and keeps weights, sums and outputs in float32; on a CPU
        that has no AVX-512, where it would be ten times slower, it is float32.
    """

    dataset: str = "nnmeter"
    model: str = "narformer_v2"
    model_options: Mapping[str, Any] = field(default_factory=dict)
    families: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    epochs: int = 50
    batch_size: int = 16
    learning_rate: float = 1e-3
    warmup: float = 0.1
    validation: float = 0.05
    calibration: float = 0.05
    left_out: tuple[str, ...] = ()
    precision: str = "float32"
    loss: str = "relative_mse"
    relatives: Mapping[str, Any] = field(default_factory=dict)
    balance: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError("epochs and batch_size must be at least 1")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate must be positive, not {self.learning_rate}")
        if not (0 <= self.warmup <= 1 and self.validation >= 0 and self.calibration >= 0):
            raise ConfigError("warmup, validation and calibration are shares between 0 and 1")
        if self.validation + self.calibration >= 1:
            raise ConfigError("validation and calibration together leave no rows to train on")
        if not 0 <= self.balance <= 1:
            raise ConfigError(f"balance is between 0 and 1, not {self.balance}")
        if self.precision not in PRECISIONS:
            raise ConfigError(f"precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}")
        if self.loss not in LOSS_NAMES:
            raise ConfigError(f"loss must be one of {', '.join(LOSS_NAMES)}, not {self.loss!r}")


def load_config(path: Path) -> TrainConfig:
    """Read a YAML file of TrainConfig's fields. Raises ConfigError for anything that is not one, naming the file."""
    import yaml

    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); give the path of a training YAML file"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML ({str(error).splitlines()[0]})") from error
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected `name: value` lines, found a {type(data).__name__}")
    known = {f.name: f for f in dataclasses.fields(TrainConfig)}
    unknown = sorted(set(map(str, data)) - set(known))
    if unknown:
        raise ConfigError(f"{path}: unknown setting {', '.join(unknown)}; known are {', '.join(known)}")
    values: dict[str, Any] = {}
    for name, value in data.items():
        default = getattr(TrainConfig(), name)
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        elif isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, type(default)) and not (isinstance(default, Mapping) and isinstance(value, Mapping)):
            wanted = "list" if isinstance(default, tuple) else type(default).__name__
            raise ConfigError(f"{path}: {name} should be a {wanted}, not {value!r}")
        values[name] = value
    try:
        return TrainConfig(**values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def save_config(config: TrainConfig, path: Path) -> None:
    """Write the configuration so that `load_config` gives it back."""
    import yaml

    data = dataclasses.asdict(config)
    data = {k: list(v) if isinstance(v, tuple) else dict(v) if isinstance(v, Mapping) else v for k, v in data.items()}
    path.write_text(yaml.safe_dump(data, sort_keys=False))
