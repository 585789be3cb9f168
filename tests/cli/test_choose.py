"""`narformer choose` on the command line."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from narformer.cli.main import app

I7 = ["choose", "--target", "i7-12700h"]


def test_the_table_names_the_target_and_the_most_accurate_first() -> None:
    result = CliRunner().invoke(app, [*I7, "--max-ms", "8"])
    assert result.exit_code == 0, result.output
    first, _, _, best, *_ = result.stdout.splitlines()
    assert first == "i7-12700h:pytorch-2.4-compiled:fp32, batch size 1"
    assert best.split()[:7] == ["1", "levit_128.fb_dist_in1k", "224", "78.5", "%", "7.74", "ms"]


@pytest.mark.parametrize("width", [60, 80])
def test_the_table_fits_the_screen(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    result = CliRunner().invoke(app, [*I7, "--max-ms", "8"])
    assert max(map(len, result.stdout.splitlines())) <= width
    assert "mobilenetv3_large_100.miil_in21k_ft_in1k" in result.stdout


def test_data_has_the_same_rows_in_every_form() -> None:
    options = [*I7, "--max-ms", "8", "--top1", "70"]
    rows = json.loads(CliRunner().invoke(app, [*options, "--json"]).stdout)
    lines = list(csv.DictReader(io.StringIO(CliRunner().invoke(app, [*options, "--format", "csv"]).stdout)))
    assert [row["network"] for row in rows] == [line["network"] for line in lines]
    assert [row["rank"] for row in rows] == list(range(1, len(rows) + 1))
    assert {row["source"] for row in rows} <= {"measured", "predicted"}


def test_limits_that_no_network_is_within_have_an_exit_code_of_their_own() -> None:
    result = CliRunner().invoke(app, [*I7, "--max-ms", "0.001"])
    assert result.exit_code == 3
    assert "no pretrained network is within these limits" in result.stdout


def test_a_network_of_the_users_is_compared_with_those_that_take_as_long(resnet18: Path) -> None:
    result = CliRunner().invoke(app, [*I7, "--model", str(resnet18), "--top1", "80"])
    assert result.exit_code == 0, result.output
    assert str(resnet18) in result.stdout
    assert "pretrained networks take as long as" in result.stdout.replace("\n", " ")


def test_what_was_taken_and_what_is_predicted_is_noted() -> None:
    result = CliRunner().invoke(app, ["choose", "--target", "rtx4090", "--max-ms", "1"])
    assert "rtx4090:pytorch-2.9-compiled:fp16 is taken; there are also" in result.stderr
    assert "was measured at other batch sizes, most often 1024" in result.stderr


def test_the_plot_is_a_picture(tmp_path: Path, resnet18: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "front.svg"
    limits = ["--max-ms", "30", "--top1", "75", "--model", str(resnet18)]
    result = CliRunner().invoke(app, [*I7, *limits, "--plot", str(path)])
    assert result.exit_code == 0, result.output
    drawn = path.read_text()
    assert drawn.startswith("<?xml")
    assert "i7-12700h:pytorch-2.4-compiled:fp32" in drawn
    assert "limit 30 ms" in drawn
