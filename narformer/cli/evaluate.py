"""`narformer evaluate`: a model, or a finished predictor, under a protocol; results as JSON and Markdown."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from narformer.cli.format import FORMAT, JSON, Format, print_records, print_table, table_of
from narformer.cli.format import chosen as chosen_form
from narformer.cli.progress import busy
from narformer.cli.report import RESULTS, results_directory
from narformer.errors import ConfigError, MissingExtraError, installing

if TYPE_CHECKING:
    from narformer.evaluation.protocol import Protocol
    from narformer.evaluation.results import Result


def evaluate(
    protocol_name: str | None = typer.Argument(
        None, help="A protocol; `all` for every one of latency on a public table.", metavar="PROTOCOL"
    ),
    listed: bool = typer.Option(
        False, "--list", help="Print the protocols; of one, its models and their options. Run nothing."
    ),
    model: list[str] = typer.Option(
        [], "--model", "-m", help="Model to train and test; repeat. `all`: those that the protocol compares."
    ),
    predictor: str | None = typer.Option(
        None, "--predictor", help="Instead of training: a shipped predictor, or an .onnx."
    ),
    quick: bool = typer.Option(False, "--quick", help="150 train and 50 test rows a family: minutes on two cores."),
    seeds: int | None = typer.Option(None, "--seeds", min=1, help="How many seeds, counted from 0. Default: 1."),
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
    processor: str | None = typer.Option(
        None, "--processor", help="Where neural models are trained: cpu (the default) or cuda."
    ),
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
    cache: Path | None = typer.Option(None, "--cache", help="Directory of the token cache. Default: cache."),
    runs: Path | None = typer.Option(
        None, "--runs", help="Where unfinished and finished tasks are kept. Default: runs/evaluate."
    ),
    asked_out: Path | None = RESULTS,
    form: Format | None = FORMAT,
    as_json: bool = JSON,
) -> None:
    """Run a protocol. Killed at any moment, the same command goes on where it stopped.

    An option that means nothing to the protocol and the models asked for is an error.
    """
    try:
        import scipy  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"evaluating needs PyTorch and SciPy: {installing('train')}") from error
    from narformer.evaluation.protocol import Options
    from narformer.evaluation.protocols import LATENCY, protocol

    if listed:
        records = _protocols() if protocol_name is None else _models(protocol(protocol_name))
        if (form := chosen_form(form, as_json)) is not Format.TABLE:
            print_records(form, records)
        else:
            print_table(table_of(records))
        return
    if form is not None or as_json:
        raise ConfigError("--format and --json are for --list: results are JSON files, told where they are written")
    if protocol_name is None:
        raise ConfigError("give a protocol: `narformer evaluate --list` shows them")
    if (predictor is None) == (not model):
        raise ConfigError("give either --model NAME (to train and test) or --predictor NAME (to test)")
    options = Options(
        quick=quick,
        seeds=seeds,
        epochs=epochs,
        cells=tuple(size),
        batch_size=batch_size,
        learning_rate=learning_rate,
        huber=huber,
        published=published,
        processor=processor,
        task=tuple(task),
        device=device,
        nnlqp=nnlqp,
        data=data,
        cache=cache,
        runs=runs,
    )
    chosen = (
        [each for each in LATENCY.values() if each.dataset] if protocol_name == "all" else [protocol(protocol_name)]
    )
    out = results_directory(asked_out)
    for each in chosen:  # all are told before the first one takes hours
        if predictor is None:
            each.wanted(model, options)
        else:
            each.check_predictor(predictor, options)
    for each in chosen:
        with busy(f"{each.name} ({options.form}), {predictor or ', '.join(model)}"):
            if predictor is not None:
                _save(each, each.score(predictor, options, out), out)
                continue
            for result in each.run(each.wanted(model, options), options, _line):
                _save(each, result, out)


def _protocols() -> list[dict[str, Any]]:
    from narformer.evaluation.protocols import PROTOCOLS

    return [{"protocol": each.name, "about": each.about} for each in PROTOCOLS.values()]


def _models(protocol: Protocol) -> list[dict[str, Any]]:
    return [
        {
            "model": model,
            "in_all": model in protocol.compared(),
            "options": [f"--{name.replace('_', '-')}" for name in sorted(protocol.options(model))],
        }
        for model in protocol.models()
    ]


def _save(protocol: Protocol, result: Result, out: Path) -> None:
    from narformer.evaluation.results import write_result

    path = write_result(result, out)
    print(
        "\n  ".join([f"{result.protocol} ({result.form}), {result.model}:", *protocol.lines(result), str(path)]),
        flush=True,
    )


def _line(text: str) -> None:
    """What is finished, on standard error; above the progress where there is one."""
    print(text, file=sys.stderr, flush=True)
