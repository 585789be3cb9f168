"""`narformer evaluate`: a model, or a finished predictor, under a protocol; results as JSON and Markdown."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from narformer.cli.progress import busy
from narformer.cli.report import RESULTS, results_directory
from narformer.errors import ConfigError, MissingExtraError, did_you_mean, installing

EPOCHS = {"full": 24, "quick": 15}
COMPARED = (
    "flops",
    "flops_memory",
    "line",
    "boosted_trees",
    "nnlp",
    "transformer",
    "nn_former",
    "narformer_v2",
    "tally",
    "tally2",
)


def evaluate(
    protocol_name: str = typer.Argument(
        ..., help="A protocol; `all` for every one on nn-Meter's and NNLQP's tables.", metavar="PROTOCOL"
    ),
    model: list[str] = typer.Option(
        [], "--model", "-m", help=f"Model to train and test; repeat. `all`: {', '.join(COMPARED)}."
    ),
    predictor: str | None = typer.Option(
        None, "--predictor", help="Instead of training: a shipped predictor, or an .onnx."
    ),
    quick: bool = typer.Option(False, "--quick", help="150 train and 50 test rows a family: minutes on two cores."),
    seeds: int = typer.Option(1, "--seeds", min=1, help="How many seeds, counted from 0."),
    epochs: int | None = typer.Option(None, "--epochs", min=1, help="Training epochs. Default: 24 full, 15 quick."),
    size: list[int] = typer.Option(
        [], "--cells", help="Only these numbers of training cells, for /accuracy protocols."
    ),
    batch_size: int | None = typer.Option(
        None, "--batch-size", min=1, help="Networks or cells a step. Default: the paper's 16 and 8."
    ),
    learning_rate: float | None = typer.Option(
        None, "--learning-rate", min=0, help="Peak rate. Default: the paper's 1e-3; of cells 1e-4."
    ),
    huber: float | None = typer.Option(
        None, "--huber", min=0, help="For /accuracy protocols: the relative error beyond which the loss is linear."
    ),
    published: bool = typer.Option(
        False, "--published", help="For /accuracy protocols: the settings that the model was published with."
    ),
    processor: str = typer.Option("cpu", "--processor", help="Where neural models are trained: cpu or cuda."),
    task: list[str] = typer.Option([], "--task", help="Only this task of a protocol, as a left-out family; repeat."),
    device: str | None = typer.Option(
        None,
        "--device",
        "--target",
        "-d",
        help="One device alone (of leave-one-hardware-out: one hardware). Default: all.",
    ),
    nnlqp: Path | None = typer.Option(None, "--nnlqp", help="Directory in NNLQP's layout, for the nnlqp/ protocols."),
    data: Path | None = typer.Option(None, "--data", help="Root of the public datasets. Default: $NARFORMER_DATA."),
    cache: Path = typer.Option(Path("cache"), "--cache", help="Directory of the token cache."),
    runs: Path = typer.Option(Path("runs/evaluate"), "--runs", help="Where unfinished and finished tasks are kept."),
    asked_out: Path | None = RESULTS,
) -> None:
    """Run a protocol. Killed at any moment, the same command goes on where it stopped."""
    try:
        import scipy  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"evaluating needs PyTorch and SciPy: {installing('train')}") from error
    out = results_directory(asked_out)
    from narformer.evaluation.protocols import PROTOCOLS, protocol
    from narformer.evaluation.report import save_result
    from narformer.evaluation.run import Learning, check_processor, evaluate_predictor, run_protocol

    if (predictor is None) == (not model):
        raise ConfigError("give either --model NAME (to train and test) or --predictor NAME (to test)")
    from narformer.evaluation.cell_accuracy import CELL_PROTOCOLS

    if protocol_name in CELL_PROTOCOLS:
        if predictor is not None:
            raise ConfigError(f"{protocol_name} trains models: give --model; predict-cell uses the shipped predictors")
        _cells(
            protocol_name,
            model,
            seeds,
            epochs,
            size,
            batch_size,
            learning_rate,
            huber,
            published,
            processor,
            data,
            runs,
            out,
        )
        return
    if size or huber or published:
        raise ConfigError(f"--cells, --huber and --published are for {' and '.join(CELL_PROTOCOLS)}")
    if (predictor is not None or protocol_name not in ["all", *PROTOCOLS]) and (
        batch_size or learning_rate or processor != "cpu" or task
    ):
        raise ConfigError("--batch-size, --learning-rate, --processor and --task are for protocols that train --model")
    check_processor(processor)
    form = "quick" if quick else "full"
    from narformer.evaluation.adaptation import LEAVE_ONE_DEVICE_OUT, SPACES

    if protocol_name in SPACES or protocol_name in LEAVE_ONE_DEVICE_OUT:
        if predictor is not None:
            raise ConfigError(f"{protocol_name} adapts to new devices: give --model")
        _adaptation(protocol_name, model, form, seeds, data, cache, out)
        return
    from narformer.evaluation.hardware_tables import HARDWARE_PROTOCOLS

    if protocol_name in HARDWARE_PROTOCOLS:
        if predictor is not None:
            raise ConfigError(f"{protocol_name} trains without each hardware in turn: give --model")
        _new_hardware(protocol_name, model, seeds, epochs or EPOCHS[form], device, data, cache, runs, out)
        return
    known = ["all", *PROTOCOLS, *CELL_PROTOCOLS, *SPACES, *LEAVE_ONE_DEVICE_OUT, *HARDWARE_PROTOCOLS]
    if protocol_name not in known:
        meant = did_you_mean(protocol_name, known)
        raise ConfigError(f"unknown protocol {protocol_name!r}; {meant}known are {', '.join(known)}")
    names = [p.name for p in PROTOCOLS.values() if p.dataset] if protocol_name == "all" else [protocol_name]
    wanted = list(COMPARED) if model == ["all"] else model
    for name in names:
        chosen = protocol(name)
        dataset = chosen.load(form, data, nnlqp, device)
        if predictor is not None:
            with busy(f"{name}: predicting {len(dataset.rows('test')):,} networks"):
                result = evaluate_predictor(chosen, dataset, predictor, out)
            print(save_result(result, out))
            continue
        for each in wanted:
            with busy(f"{name} ({form}), {each}"):
                result = run_protocol(
                    chosen,
                    dataset,
                    each,
                    form=form,
                    seeds=tuple(range(seeds)),
                    learning=Learning(epochs or EPOCHS[form], batch_size, learning_rate, processor),
                    cache=cache,
                    runs=runs,
                    only=task,
                    show=_line,
                )
            print(save_result(result, out))


def _cells(
    name: str,
    models: list[str],
    seeds: int,
    epochs: int | None,
    sizes: list[int],
    batch_size: int | None,
    learning_rate: float | None,
    huber: float | None,
    published: bool,
    processor: str,
    data: Path | None,
    runs: Path,
    out: Path,
) -> None:
    from narformer.cells.baselines import FITTED
    from narformer.evaluation.cell_accuracy import CELL_PROTOCOLS, TRAINED, run_cell_protocol
    from narformer.evaluation.report import save_cell_result

    protocol = CELL_PROTOCOLS[name]
    dataset = protocol.load(data)
    for each in [*FITTED, *TRAINED] if models == ["all"] else models:
        with busy(f"{name}, {each}"):
            result = run_cell_protocol(
                protocol,
                dataset,
                each,
                seeds=tuple(range(seeds)),
                epochs=epochs,
                runs=runs,
                sizes=tuple(sizes),
                batch_size=batch_size,
                learning_rate=learning_rate,
                huber=huber,
                published=published,
                processor=processor,
                show=_line,
            )
        print(save_cell_result(result, out))


def _adaptation(name: str, models: list[str], form: str, draws: int, data: Path | None, cache: Path, out: Path) -> None:
    from narformer.evaluation.adaptation import LEAVE_ONE_DEVICE_OUT, MODELS, SPACES, run_devices, run_space
    from narformer.evaluation.report import save_adaptation

    wanted = [m for m in MODELS if name in SPACES or m != "trees_and_ridge"] if models == ["all"] else models
    for model in wanted:
        with busy(f"{name}, {model}"):
            if name in SPACES:
                result = run_space(SPACES[name], model, draws=draws, root=data, show=_line)
            else:
                result = run_devices(
                    LEAVE_ONE_DEVICE_OUT[name], model, form=form, draws=draws, root=data, cache=cache, show=_line
                )
        print(save_adaptation(result, out))


def _new_hardware(
    name: str,
    models: list[str],
    draws: int,
    epochs: int,
    only: str | None,
    data: Path | None,
    cache: Path,
    runs: Path,
    out: Path,
) -> None:
    from narformer.evaluation.hardware_tables import HARDWARE_PROTOCOLS
    from narformer.evaluation.new_hardware import BASELINES, run_hardware
    from narformer.evaluation.report import save_new_hardware

    for model in BASELINES if models == ["all"] else models:
        with busy(f"{name}, {model}"):
            results = run_hardware(
                HARDWARE_PROTOCOLS[name],
                model,
                epochs=epochs,
                draws=draws,
                root=data,
                cache=cache,
                runs=runs,
                only=only,
                show=_line,
            )
        if only is None:  # a result is of all hardware; a part of it only trains, and tells
            for result in results:
                print(save_new_hardware(result, out))


def _line(text: str) -> None:
    """What is finished, on standard error; above the progress where there is one."""
    print(text, file=sys.stderr, flush=True)
