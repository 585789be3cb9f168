"""The protocol of new hardware: trains without each, scores what is made of a few samples, and tells it.

What a method may know of the new hardware stands in new_hardware.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from narformer.adaptation.profile import work_of
from narformer.datasets.cache import TokenCache
from narformer.datasets.kernel_cache import KernelCache, build_kernel_cache, cache_for
from narformer.datasets.registry import load_dataset
from narformer.errors import ConfigError, did_you_mean
from narformer.evaluation.hardware_tables import hardware_lines, hardware_of, hardware_tables
from narformer.evaluation.new_hardware import BASELINES, LEARNED, NewHardware, Predict, baseline, learned, score
from narformer.evaluation.protocol import CACHE, RUNS, Options, Protocol, Section, Show
from narformer.evaluation.results import ALL, Result, Run, Scores, TaskResult
from narformer.evaluation.run import TRAINING, Learning, learning_of, trained
from narformer.evaluation.splits import Task

Array = npt.NDArray[np.float64]
EPOCHS = 24


@dataclass(frozen=True)
class HardwareProtocol(Protocol):
    """A dataset of which one hardware after another is new."""

    name: str
    about: str
    dataset: str

    def models(self) -> Sequence[str]:
        """What needs no training, and every model that registers itself."""
        from narformer.models.registry import MODELS

        return [*BASELINES, *MODELS]

    def compared(self) -> Sequence[str]:
        """What needs no training: a training for each hardware is asked for by name."""
        return BASELINES

    def options(self, model: str) -> frozenset[str]:
        """Seeds are draws of samples; the device is the one hardware that is new."""
        common = frozenset({"seeds", "device", "data", "cache"})
        if model in BASELINES:
            return common
        from narformer.models.registry import learns_by_epochs

        return common | {"runs", "processor"} | (TRAINING if learns_by_epochs(model) else frozenset())

    def run(self, models: Sequence[str], options: Options, show: Show) -> Iterator[Result]:
        """Baselines; or a model trained without each hardware in turn, and what adapting makes of it.

        Below `runs` each training keeps its checkpoints and, once finished, its estimates. A result is of all hardware:
        with a device there is none, its training is made and what it comes to is shown.
        """
        dataset = load_dataset(self.dataset, options.data)
        tokens = build_kernel_cache(dataset, options.cache or CACHE)
        names = sorted({hardware_of(device) for device in dataset.devices})
        only = options.device
        if only is not None and only not in names:
            meant = did_you_mean(only, names)
            raise ConfigError(f"{self.name} has no hardware {only!r}; {meant}it has {', '.join(names)}")
        for model in models:
            learning = None if model in BASELINES else learning_of(model, options, EPOCHS)
            tasks: dict[str, dict[str, dict[str, dict[str, Scores]]]] = {}
            for name in names if only is None else [only]:
                bench = NewHardware(dataset, tokens.statistics, name)
                for variant, predict in self._methods(model, bench, tokens, learning, options).items():
                    scores = score(bench, predict, len(options.draws))
                    told = tasks.setdefault(variant, {})
                    for count, devices in scores.items():
                        told.setdefault(count, {}).update({device: {ALL: each} for device, each in devices.items()})
                    listed = ", ".join(
                        f"{count.split()[0]}: {np.mean([s.told('mape') for s in each.values()]):.1f} %"
                        for count, each in scores.items()
                    )
                    show(f"{self.name} {model}{variant}, {name}, by samples: {listed}")
            if only is None:
                for variant, counts in tasks.items():
                    run = Run(0, {count: TaskResult(devices) for count, devices in counts.items()})
                    result = Result(self.name, "full", f"{model}{variant}", None, (run,), draws=len(options.draws))
                    yield result if learning is None else replace(result, **learning.told())

    def _methods(
        self, model: str, bench: NewHardware, tokens: KernelCache, learning: Learning | None, options: Options
    ) -> dict[str, Predict]:
        """How each variant of a model predicts, by what stands behind the model's name."""
        if learning is None:
            return {"": baseline(model, bench)}
        home = (options.runs or RUNS) / self.name / f"{model}{learning.label}" / bench.hardware
        from narformer.models.registry import tokenizer_of

        own = cache_for(bench.dataset, tokenizer_of(model), options.cache or CACHE)
        parts, work = trained_parts(bench, model, own, learning, home), work_by_row(tokens)
        return {variant: learned(variant, bench, parts, work) for variant in LEARNED}

    def lines(self, result: Result) -> Iterable[str]:
        """A line a number of samples, the mean over all targets."""
        return hardware_lines(result)

    def sections(self, results: Sequence[Result]) -> Iterable[Section]:
        """One, for all methods."""
        yield Section(self.name, list(hardware_tables(self.name, results)))


def trained_parts(
    bench: NewHardware, model: str, tokens: TokenCache | KernelCache, learning: Learning, home: Path
) -> Array:
    """ms by kind of kernel and target (rows, kinds, targets) of a model that never saw the hardware."""
    kept = home / "parts.npz"
    if not kept.exists():
        from narformer.training.parts import parts_by_kind

        task = Task(bench.hardware, bench.dataset.rows("train"), bench.test)
        network = trained(model, bench.hidden, tokens, task, 0, learning, home)
        partial = kept.with_suffix(".partial.npz")
        np.savez_compressed(partial, parts=parts_by_kind(network, tokens).astype(np.float32))
        partial.replace(kept)
        for checkpoint in home.rglob("*.pt"):
            checkpoint.unlink()
    with np.load(kept) as arrays:
        return np.asarray(arrays["parts"], dtype=np.float64)


def work_by_row(tokens: KernelCache) -> Array:
    """Kernels, MACs, bytes of activations and of weights of every row, (rows, 4)."""
    return np.array([work_of(tokens.batch([row]).features) for row in range(len(tokens))])
