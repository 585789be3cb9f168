"""`narformer train`: a predictor from a dataset and a small YAML file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

from narformer.cli.progress import track
from narformer.errors import ConfigError, MissingExtraError, UserError, installing

OF_EPOCHS = ("epochs", "batch_size", "learning_rate", "warmup", "loss")  # settings of a training in epochs


def train(
    config: Path = typer.Argument(..., help="YAML file with the settings of the run; configs/ has examples."),
    out: Path = typer.Option(None, "--out", "-o", help="Directory of the run. Default: runs/NAME of the YAML file."),
    cache: Path = typer.Option(Path("cache"), "--cache", help="Directory of the token cache, shared between runs."),
    data: Path = typer.Option(None, "--data", help="Root of the public datasets. Default: $NARFORMER_DATA."),
    name: str = typer.Option(None, "--name", help="Name of the predictor. Default: NAME of the YAML file."),
    epochs: int = typer.Option(None, "--epochs", min=1, help="Instead of the number in the YAML file."),
) -> None:
    """Train a predictor; run the same command again to resume a run that was killed.

    The run's directory ends up with predictor NAME.onnx, its card NAME.json, the log and TensorBoard's file.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"training needs PyTorch: {installing('train')}") from error
    import dataclasses

    from narformer.models.registry import learns_by_epochs
    from narformer.training.config import TrainConfig, load_config, save_config
    from narformer.training.run import run

    settings = load_config(config)
    if not learns_by_epochs(settings.model):
        named = [name for name in OF_EPOCHS if getattr(settings, name) != getattr(TrainConfig(), name)]
        if named or epochs is not None:
            where = f"--epochs {epochs}" if epochs is not None else f"{config}: {', '.join(named)}"
            raise ConfigError(f"{where}: means nothing to {settings.model}, which is learned at once; leave it out")
    if epochs is not None:
        settings = dataclasses.replace(settings, epochs=epochs)
    directory = out or Path("runs") / config.stem
    made = [each for each in (directory, *directory.parents) if not each.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    saved = directory / "config.yaml"
    # A run that stopped before its first epoch, over a misspelt name perhaps, may be given again with other settings.
    if saved.exists() and (directory / "last.pt").exists() and load_config(saved) != settings:
        raise ConfigError(f"{directory} holds a run with other settings; choose another --out, or remove it")
    save_config(settings, saved)
    try:
        card = run(settings, name or config.stem, directory, cache, data, _show(settings.epochs), _watch)
    except UserError:
        if made and [path.name for path in directory.iterdir()] == [saved.name]:  # nothing was trained: leave nothing
            saved.unlink()
            for each in made:
                each.rmdir()
        raise
    for output in card.outputs:
        held = output.held_out
        figures = f"MAPE {held.get('mape', float('nan')):6.2f} %   within 10 %: {held.get('acc_10', 0):6.2f} %"
        print(f"{output.device:20s} {figures}")
    print(f"predictor: {directory / card.name}.onnx")


def _watch(parts: Iterable[Any], count: int) -> Iterator[Any]:
    """The errors on held-out networks, as they come."""
    return track(parts, "errors on held-out networks", count)


def _show(epochs: int) -> Any:
    """A function that shows each Progress: a bar on a terminal, a line an epoch elsewhere."""
    if not sys.stderr.isatty():

        def line(p: Any) -> None:
            if p.validation_mape is not None:
                text = f"epoch {p.epoch + 1}/{epochs}  loss {p.loss:.5f}  validation MAPE {p.validation_mape:.2f} %"
                print(text, file=sys.stderr, flush=True)

        return line
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task("training", total=None)

    def show(p: Any) -> None:
        bar.start()  # not before: the token cache has a bar of its own
        text = f"epoch {p.epoch + 1}/{epochs}  loss {p.loss:.4f}"
        bar.update(task, total=epochs * p.batches, completed=p.epoch * p.batches + p.batch, description=text)
        if p.validation_mape is not None:
            bar.console.print(f"{text}  validation MAPE {p.validation_mape:.2f} %", highlight=False)
            if p.epoch + 1 == epochs:
                bar.stop()

    return show
