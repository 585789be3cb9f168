"""The README's figures are those of what ships: its example output, and its table of errors."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text()


def test_the_first_command_prints_what_the_readme_shows(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from narformer.cli.main import main; main()"]
    done = subprocess.run(
        [*command, "predict", "examples/resnet18.onnx", "--no-store"],
        cwd=REPOSITORY,
        env={"COLUMNS": "80", "NARFORMER_DEVICES": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    shown = "\n".join(("    " + line).rstrip() for line in done.stdout.rstrip().splitlines())
    assert shown in README, f"the README shows something else than\n{shown}"


def test_the_table_of_errors_is_that_of_the_results() -> None:
    table = README[README.index("| target | test rows |") :]
    pattern = r"^\| `(.+)` \| ([\d,]+) \| ([\d.]+) % \| ([\d.]+) % \| ([\d.]+) % \|$"
    rows = {row[0]: row[1:] for row in re.findall(pattern, table, re.MULTILINE)}
    scores = {}
    for path in (REPOSITORY / "docs" / "results").glob("*-in-domain.full.tally2.json"):
        result = json.loads(path.read_text())
        scores |= {d: s["all"] for d, s in result["runs"][0]["tasks"]["in-domain"]["devices"].items()}
    assert len(rows) > 8
    for device, row in rows.items():
        s = scores[device]
        assert row == (f"{s['rows']:,}", f"{s['mape']:.2f}", f"{s['acc_10']:.1f}", f"{s['coverage']:.1f}"), device
