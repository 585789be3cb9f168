"""Published figures of NAR-Former V2 and its successors, each beside ours under the nearest protocol at hand.

Yi et al. (NeurIPS 2023) is NAR-Former V2, Xu et al. (CVPR 2025) NN-Former, both with accuracies of NAS-Bench-101 and
NAS-Bench-201 and latencies of NNLQP; FGP is of 2025.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from narformer.evaluation.cell_tables import ACCURACY, CHOICES, training_options
from narformer.evaluation.markdown import table
from narformer.evaluation.results import ALL, Result, spread

ACCURACY_HEADER = (
    "benchmark",
    "training cells",
    "model",
    "published",
    "ours, as the released code tells it",
    "ours, best epoch on test cells",
    "ours, epoch chosen on validation cells",
    "ours, last epoch",
    "seeds",
    "threads",
    "command",
)
LATENCY_HEADER = ("published on NNLQP", "model", "published", "ours on", "ours", "seeds", "command")
NNMETER_CPU = "cortex-a76:tflite-2.1:fp32"
ABSENT = "–"


@dataclass(frozen=True)
class Accuracy:
    """Kendall's tau that was published for a model (ours by its name here) and a number of training cells."""

    space: str
    cells: int
    model: str
    name: str
    tau: float


@dataclass(frozen=True)
class Latency:
    """A MAPE in percent that was published on NNLQP's data, and where ours is.

    name: of our model or, of a shipped predictor, its own. task: of the protocol; None for the mean of all.
    """

    about: str
    model: str
    mape: float
    name: str
    protocol: str
    task: str | None
    device: str = NNMETER_CPU


V2, NN_FORMER = ("NAR-Former V2", "narformer_v2"), ("NN-Former", "nn_former")
FGP = ("FGP", "")
ACCURACIES = (
    Accuracy("nasbench101", 85, *V2, 0.663),
    Accuracy("nasbench101", 85, *NN_FORMER, 0.709),
    Accuracy("nasbench101", 100, *V2, 0.802),
    Accuracy("nasbench101", 172, *NN_FORMER, 0.765),
    Accuracy("nasbench101", 4236, *V2, 0.861),
    Accuracy("nasbench101", 4236, *NN_FORMER, 0.877),
    Accuracy("nasbench101", 4236, *FGP, 0.763),
    Accuracy("nasbench201", 156, *V2, 0.752),
    Accuracy("nasbench201", 156, *NN_FORMER, 0.804),
    Accuracy("nasbench201", 156, *FGP, 0.836),
    Accuracy("nasbench201", 781, *V2, 0.874),
    Accuracy("nasbench201", 1563, *V2, 0.888),
    Accuracy("nasbench201", 1563, *NN_FORMER, 0.890),
)
_LEFT_OUT = "nnmeter/leave-one-family-out"
LATENCIES = (
    Latency("one distribution", V2[0], 1.18, V2[1], "nnlqp/nasbench201", "in-domain", "gtx1660:tensorrt-7.1:fp32"),
    Latency("in-domain, average", V2[0], 1.8, "narformer-v2-nnmeter", "nnmeter/in-domain", "in-domain"),
    Latency("GoogleNet left out", V2[0], 6.61, V2[1], _LEFT_OUT, "googlenet"),
    Latency("MobileNetV3 left out", V2[0], 9.06, V2[1], _LEFT_OUT, "mobilenetv3"),
    Latency("ResNet left out", V2[0], 6.80, V2[1], _LEFT_OUT, "resnet"),
    Latency("MnasNet left out", V2[0], 7.16, V2[1], _LEFT_OUT, "mnasnet"),
    Latency("EfficientNet left out", V2[0], 13.20, V2[1], _LEFT_OUT, "efficientnet"),
    Latency("EfficientNet left out", NN_FORMER[0], 5.13, NN_FORMER[1], _LEFT_OUT, "efficientnet"),
    Latency("MnasNet left out", NN_FORMER[0], 2.71, NN_FORMER[1], _LEFT_OUT, "mnasnet"),
    Latency("MobileNetV2 left out", NN_FORMER[0], 4.17, NN_FORMER[1], _LEFT_OUT, "mobilenetv2"),
    Latency("NasBench201 left out", NN_FORMER[0], 7.93, NN_FORMER[1], _LEFT_OUT, "nasbench201"),
    Latency("each family left out, mean of ten", NN_FORMER[0], 8.39, NN_FORMER[1], _LEFT_OUT, None),
)


def published_page(results: Sequence[Result]) -> str:
    """The page of published figures with ours beside them, in Markdown."""
    accuracies = (
        "Kendall's tau; mean and standard deviation over seeds where there are several. NAR-Former V2's released code "
        "keeps the epoch that is best on 200 validation cells and scores it on every cell, training cells included: "
        "the first column of ours. NN-Former's keeps the best on the test cells: the second. An honest use has the "
        "third, that epoch on cells that had no part in the training, or the last epoch. The paper trains 1,000 epochs "
        "in batches of 8; a command without `--epochs` trains as many as show 30,000 cells. Labels of NAS-Bench-101 "
        "are one validation run here and the mean of three in the papers: ours have a ceiling of about 0.86."
    )
    latencies = (
        "Mean absolute percentage error. NNLQP's own 20,000 networks are not to be had here but for one family, so "
        "ours are on the nearest data, as said. With NNLQP's, in its layout: `narformer evaluate nnlqp/in-domain "
        "--nnlqp DIRECTORY -m narformer_v2 -d DEVICE`, and `nnlqp/leave-one-family-out` likewise. The quick form "
        "trains 15 epochs on 150 networks a family; the paper 50 on 18,000. nn-Meter's own predictors, in-domain "
        "on its data: about 99 % of networks within 10 % on CPU and GPU, 83 % on the VPU (Zhang et al., 2021)."
    )
    out_of_domain = (
        "In the paper NAR-Former V2 beats NNLP on families left out of training. On nn-Meter's data it does so too, "
        "once it learns from whole training sets: 19,700 to 20,100 networks of all other families, 15 epochs in "
        "batches of 64 at 2e-3, two seeds, CPU target. GoogleNet 2.0 against NNLP's 2.9 %, MobileNetV3 9.3 against "
        "14.5 %, ResNet 4.7 against 5.5 %; each of the six pairs of trainings says the same. In the quick form, 150 "
        "networks a family, it does not (9.7, 62.5 and 8.1 against 2.8, 230 and 5.6 %): what decides it is how many "
        "networks and steps it learns from. NNLP's errors on GoogleNet and ResNet are the same in both forms; those "
        "of NAR-Former V2 fall by three quarters to a half. Predictors of this project are ahead of both on "
        "MobileNetV3: on these tasks Tally 2 has 1.9, 2.6 and 5.7 %, Tally 1.9, 5.9 and 3.4 %, a line through FLOPs "
        "and memory access 5.2, 22.8 and 4.2 %. Learning a factor on a line instead of the latency ([left-out families]"
        "(../research/2026-11-26-left-out-families.md)) changes little with whole training sets: 1.9, 16.1 and 4.1 %, "
        "one seed. Where a family's sizes lie beyond all others, as NAS-Bench-201's 32×32 networks do, codes of sizes "
        "still say nothing: there the factor is what helps (692 to 5.1 % in a small experiment). So the claim holds "
        "here between these two models; the paper's transformer does not beat our own predictor, and is not shipped "
        "in its place. NN-Former was not trained on whole training sets."
    )
    parts = ["# Published figures, and ours", "Made by `narformer report` from the JSON files beside it."]
    parts += ["## Accuracy", accuracies, table(ACCURACY_HEADER, accuracy_rows(results))]
    parts += ["## Latency", latencies, table(LATENCY_HEADER, latency_rows(results))]
    parts += ["## Does the claim hold out of domain?", out_of_domain]
    return "\n\n".join(parts) + "\n"


def accuracy_rows(results: Sequence[Result]) -> list[list[str]]:
    """A row of ACCURACY_HEADER for each figure; ours from all trainings of as many cells, the longest first."""
    rows = []
    for figure in ACCURACIES:
        shown = [figure.space, f"{figure.cells:,}", figure.model, f"{figure.tau:.3f}"]
        task = f"{figure.cells} cells"
        found = [r for r in _of(results, f"{figure.space}/accuracy", figure.name) if task in r.tasks]
        for result in sorted(found, key=lambda r: r.epochs or 0, reverse=True):
            runs = [run for run in result.runs if task in run.tasks]
            tasks = [run.tasks[task] for run in runs]
            chosen = [
                [t.chosen[by].scores.told("kendall") for t in tasks if by in t.chosen] for by in reversed(CHOICES)
            ]
            last = [t.devices[ACCURACY][ALL].told("kendall") for t in tasks]
            rows.append(
                [
                    *shown,
                    *(spread(values, 3) for values in (*chosen, last)),
                    ", ".join(str(run.seed) for run in runs),
                    ", ".join(sorted({"not kept" if t.threads is None else str(t.threads) for t in tasks})),
                    f"`{_accuracy_command(figure, result)}`",
                ]
            )
        if not found:
            why = f"not run yet: `{_accuracy_command(figure, None)}`" if figure.name else "the model is not built here"
            rows.append([*shown, *[ABSENT] * 6, why])
    return rows


def latency_rows(results: Sequence[Result]) -> list[list[str]]:
    """A row of LATENCY_HEADER for each figure; ours from the full form where there is one."""
    rows = []
    for figure in LATENCIES:
        shown = [figure.about, figure.model, f"{figure.mape:.2f} %"]
        on = f"{figure.protocol}, {figure.task or 'mean of all families'}, {figure.device}"
        found = [
            (r, errors)
            for r in _of(results, figure.protocol, figure.name)
            if (figure.task or "-" not in r.form)  # of a mean over families, results of all of them
            and (errors := r.values(figure.device, "mape", figure.task))
        ]
        if found:
            result, errors = min(found, key=lambda pair: pair[0].form == "quick")
            seeds = ", ".join(str(run.seed) for run in result.runs)
            rows.append([*shown, on, f"{spread(errors)} %", seeds, f"`{_latency_command(figure, result)}`"])
        elif figure.task == "efficientnet":
            rows.append([*shown, ABSENT, ABSENT, ABSENT, "no dataset at hand has the family"])
        else:
            rows.append([*shown, on, ABSENT, ABSENT, f"not run yet: `{_latency_command(figure, None)}`"])
    return rows


def _of(results: Sequence[Result], protocol: str, name: str) -> list[Result]:
    return [r for r in results if r.protocol == protocol and r.model == name]


def _accuracy_command(figure: Accuracy, result: Result | None) -> str:
    draws = 1 if result is None else max(run.seed or 0 for run in result.runs) + 1
    seeds = f"--seeds {draws}" if draws > 1 else ""
    options = "--published" if result is None else training_options(result)
    parts = [f"narformer evaluate {figure.space}/accuracy -m {figure.name} --cells {figure.cells}", options, seeds]
    return " ".join(filter(None, parts))


def _latency_command(figure: Latency, result: Result | None) -> str:
    kind = "--predictor" if figure.name == "narformer-v2-nnmeter" else "-m"
    parts = [f"narformer evaluate {figure.protocol} {kind} {figure.name}"]
    if result is not None:
        form, *tasks = result.form.split("-")
        parts += ["--quick"] * (form == "quick") + [f"--task {task}" for task in tasks]
        if tasks:
            parts += [f"-d {figure.device}", training_options(result), f"--seeds {len(result.runs)}"]
    return " ".join(filter(None, parts))
