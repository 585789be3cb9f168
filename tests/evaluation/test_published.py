"""Published figures and ours: whose result is told beside which figure."""

from __future__ import annotations

from dataclasses import replace

from narformer.evaluation.cell_tables import training_rows
from narformer.evaluation.published import ACCURACY_HEADER, LATENCY_HEADER, accuracy_rows, latency_rows, published_page
from narformer.evaluation.results import ALL, Choice, Result, Run, Scores, TaskResult


def trained(form: str, epochs: int | None, taus: list[float], **settings: float) -> Result:
    runs = []
    for seed, tau in enumerate(taus):
        task = TaskResult({"accuracy": {ALL: Scores(9, kendall=tau)}}, seconds=120.0)
        if settings:
            chosen = {"last": (1000, tau), "validation": (990, tau + 0.01), "test": (980, tau + 0.02)}
            chosen["released"] = (990, tau + 0.015)
            task = replace(task, threads=1, chosen={k: Choice(e, Scores(9, kendall=t)) for k, (e, t) in chosen.items()})
        runs.append(Run(seed, {"781 cells": task}))
    plain = Result("nasbench201/accuracy", form, "narformer_v2", epochs, tuple(runs))
    return replace(plain, **settings)  # type: ignore[arg-type]


def test_the_longest_training_stands_first_beside_a_published_accuracy() -> None:
    short = trained("full", None, [0.7, 0.8])
    long = trained("1000-b64-lr0.0004", 1000, [0.86], batch_size=64, learning_rate=4e-4)
    mine = [row for row in accuracy_rows([short, long]) if row[:3] == ["nasbench201", "781", "NAR-Former V2"]]
    assert [len(row) for row in mine] == [len(ACCURACY_HEADER)] * 2
    command = "narformer evaluate nasbench201/accuracy -m narformer_v2 --cells 781"
    options = " --epochs 1000 --batch-size 64 --learning-rate 0.0004"
    assert mine[0][3:] == ["0.874", "0.875", "0.880", "0.870", "0.860", "0", "1", f"`{command}{options}`"]
    assert mine[1][3:] == ["0.874", "–", "–", "–", "0.750 ± 0.071", "0, 1", "not kept", f"`{command} --seeds 2`"]


def test_a_training_of_other_settings_has_its_row() -> None:
    long = trained("1000-b64-lr0.0004", 1000, [0.86], batch_size=64, learning_rate=4e-4, huber=0.0)
    options = "`--epochs 1000 --batch-size 64 --learning-rate 0.0004`"
    chosen = ["0.870 (epoch 990)", "0.880 (epoch 980)", "0.875 (epoch 990)"]
    assert training_rows([long]) == [["narformer_v2", "781", "0", options, "1", "2", "0.860", *chosen]]


def test_a_published_latency_stands_beside_ours_of_that_family_on_that_device() -> None:
    tables = {
        "cortex-a76:tflite-2.1:fp32": {ALL: Scores(9, mape=7.5)},
        "adreno-640:tflite-2.1:fp32": {ALL: Scores(9, mape=1.0)},
    }
    run = Run(0, {"resnet": TaskResult(tables), "vgg": TaskResult({})})
    rows = latency_rows([Result("nnmeter/leave-one-family-out", "quick", "narformer_v2", 15, (run,))])
    assert {len(row) for row in rows} == {len(LATENCY_HEADER)}
    assert [row[4] for row in rows if row[4] != "–"] == ["7.50 %"]


def test_without_results_each_figure_tells_what_would_make_ours() -> None:
    page = published_page([])
    for told in ("0.861", "0.874", "13.20 %", "no dataset at hand has the family", "not run yet: `narformer evaluate"):
        assert told in page
