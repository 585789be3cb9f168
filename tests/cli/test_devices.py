"""`narformer devices`: by kind of hardware, searched, removed; and the dozen targets that `predict` shows of itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from narformer.prediction.headline import headlines, one_target

Run = Callable[..., tuple[int, str, str]]


def test_targets_stand_below_their_kind_of_hardware(run: Run) -> None:
    code, out, _ = run("devices")
    assert code == 0
    lines = out.splitlines()
    cpus, gpus = lines.index("CPUs"), lines.index("GPUs")
    of = {line.split()[0]: number for number, line in enumerate(lines) if line.startswith(("rtx", "i7", "cortex"))}
    assert all((gpus < number < cpus) == name.startswith("rtx") for name, number in of.items())
    rtx3090 = [number for name, number in of.items() if name.startswith("rtx3090")]
    assert max(rtx3090) - min(rtx3090) == len(rtx3090) - 1  # one hardware's targets stand together


def test_the_list_fits_a_narrow_screen_with_every_id_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("devices")
    assert max(map(len, out.splitlines())) <= 80
    _, data, _ = run("devices", "--json")
    assert all(row["target"] in out for row in json.loads(data))


@pytest.mark.parametrize(
    ("arguments", "begins"),
    [(["rtx5090"], "rtx5090:"), (["intel", "i7"], "i7-12700h:"), (["RTX", "4090", "compiled"], "rtx4090:")],
)
def test_a_search_takes_targets_that_have_all_words(run: Run, arguments: list[str], begins: str) -> None:
    code, out, _ = run("devices", *arguments, "--json")
    assert code == 0
    found = json.loads(out)
    assert found
    assert all(row["target"].startswith(begins) for row in found)


def test_a_kind_is_that_of_the_hardware(run: Run) -> None:
    _, out, _ = run("devices", "--kind", "gpu", "--json")
    names = {row["target"].partition(":")[0] for row in json.loads(out)}
    assert {"rtx4090", "adreno-640"} <= names
    assert not {"i7-12700h", "cortex-a76"} & names


def test_what_is_not_found_is_told(run: Run) -> None:
    code, _, err = run("devices", "abacus", "--kind", "cpu")
    assert code == 2
    assert "has 'abacus' --kind cpu; `narformer devices` lists all" in err
    assert "has 'rtx5099'; did you mean rtx5090" in run("devices", "rtx5099")[2]


def test_an_adapted_device_is_listed_apart_and_can_be_removed(run: Run, tmp_path: Path) -> None:
    table = tmp_path / "times.csv"
    example = Path(__file__).parents[2] / "examples" / "resnet18.onnx"
    rows = [f"{example},{30 * batch},{batch}" for batch in (1, 2, 4)]
    table.write_text("\n".join(["model,latency_ms,batch_size", *rows]) + "\n")
    assert run("adapt", "--device", "board", "--csv", table)[0] == 0
    _, out, _ = run("devices", "--kind", "adapted", "--json")
    assert [row["target"] for row in json.loads(out)] == ["board"]
    assert "adapted by you" in run("devices")[1]
    code, out, _ = run("devices", "remove", "board")
    assert code == 0
    assert "board: removed" in out
    assert "board" not in run("devices")[1]
    for arguments, message in ((["board"], "there are: none"), (["../board"], "not an adapted"), ([], "name the")):
        code, _, err = run("devices", "remove", *arguments)
        assert code == 2
        assert message in err


def test_headlines_are_one_a_piece_of_hardware_and_the_newest_of_a_group() -> None:
    known = [
        "rtx3090:pytorch-2.4:fp16",
        "rtx3090:pytorch-2.4-channels-last:fp16",
        "rtx4090:pytorch-2.4-compiled:fp16",
        "rtx4090:pytorch-2.9:fp16",
        "rtx4090:pytorch-2.10-compiled:fp16",
        "gtx1660:tensorrt-7.1:fp32",
        "rtx5090:pytorch-2.9:fp16",
        "cortex-a76:tflite-2.1:fp32",
        "my-board",
    ]
    assert headlines(known) == [
        "rtx3090:pytorch-2.4:fp16",
        "rtx4090:pytorch-2.10-compiled:fp16",
        "rtx5090:pytorch-2.9:fp16",
        "cortex-a76:tflite-2.1:fp32",
        "my-board",
    ]
    assert headlines(known, most=2) == ["rtx5090:pytorch-2.9:fp16", "cortex-a76:tflite-2.1:fp32"]
    many = [f"board{number}" for number in range(40)]
    assert len(headlines(many)) == 12
    assert one_target("rtx4090", known) == (
        "rtx4090:pytorch-2.10-compiled:fp16",
        ["rtx4090:pytorch-2.4-compiled:fp16", "rtx4090:pytorch-2.9:fp16"],
    )


def test_predict_shows_headlines_and_all_on_request(run: Run) -> None:
    example = Path(__file__).parents[2] / "examples" / "resnet18.onnx"
    _, few, _ = run("predict", example, "--batch-size", "64")
    _, every, _ = run("predict", example, "--batch-size", "64", "--all")
    _, data, _ = run("predict", example, "--batch-size", "64", "--json")
    targets = [row["target"] for row in json.loads(data)]
    assert all(target in every for target in targets)
    shown = [target for target in targets if target in few]
    assert len(shown) <= 12
    assert "targets never measured at this batch size; " in few
    assert "--all shows them" in few
    assert "not shown" not in every
