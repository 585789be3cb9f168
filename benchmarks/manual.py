"""Everything in the README and the manual that a command prints or a table of results says, made anew.

python benchmarks/manual.py            # rewrites what has changed
python benchmarks/manual.py --check    # names what has changed, and ends with exit code 1

A part of a page that is made stands between two comments, the first of which says what makes it:

    <!-- made by: narformer predict examples/resnet18.onnx --no-store -->
    <!-- end -->

Either a command line, whose output becomes a code block, or `table NAME`, a function of TABLES below. mkdocs uses this
file too (`hooks` in mkdocs.yml): it writes the reference of commands from the parser when the site is built.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import server_tables

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = REPOSITORY / "docs" / "results"
MADE = re.compile(r"(<!-- made by: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
COLUMNS = "80"
# How the reference writes what an option takes; typer writes the types of Python.
TAKES = {
    "list[Path]": "",
    "list[str]": "TEXT",
    "str": "TEXT",
    "path": "PATH",
    "int range": "N",
    "float range": "X",
    "int": "N",
    "float": "X",
    "bool": "",
}
COMMANDS_HERE = "<!-- commands -->"
# The README shows a target or two of each kind of hardware; the page of the predictor shows all.
README_TARGETS = (
    "rtx5090:pytorch-2.9-compiled:fp16",
    "rtx4090:pytorch-2.9-compiled:fp16",
    "rtx3090:pytorch-2.4:fp16",
    "i7-12700h:pytorch-2.4-compiled:fp32",
    "epyc-turin:onnxruntime-1.32:fp32:1t",
    "epyc-milan:onnxruntime-1.32:fp32:1t",
    "cortex-a76:tflite-2.1:fp32",
    "adreno-640:tflite-2.1:fp32",
    "adreno-630:tflite-2.1:fp32",
    "myriad-x:openvino-2019r2:fp16",
)


class Part(NamedTuple):
    """A part of a page that is made: by what, and what stands there."""

    page: Path
    made_by: str
    text: str


def pages() -> list[Path]:
    return [REPOSITORY / "README.md", *sorted(REPOSITORY.glob("docs/**/*.md"))]


def parts(page: Path) -> Iterator[Part]:
    for match in MADE.finditer(page.read_text()):
        yield Part(page, match[2], match[3])


def made(by: str) -> str:
    """What belongs between the comments: the output of a command as a code block, or a table."""
    if by.startswith("table "):
        return TABLES[by.removeprefix("table ")]()
    lines = (line.rstrip() for line in output(shlex.split(by)).rstrip().splitlines())
    return "```text\n" + "\n".join(lines) + "\n```\n"


def output(words: list[str]) -> str:
    """What a command prints at COLUMNS columns, in the repository, to a user who has measured and adapted nothing."""
    program = [sys.executable, "-c", "from narformer.cli.main import main; main()"]
    with tempfile.TemporaryDirectory() as empty:
        env = os.environ | {
            "COLUMNS": COLUMNS,
            "NARFORMER_DEVICES": empty,
            "NARFORMER_STORE": f"{empty}/measurements.db",
            "PYTHONPATH": str(REPOSITORY),
        }
        done = subprocess.run(
            [*program, *words[1:]], cwd=REPOSITORY, env=env, capture_output=True, text=True, check=False
        )
    if done.returncode not in (0, 3):  # 3: --max-ms was exceeded, which a page may show
        raise SystemExit(f"{shlex.join(words)}: exit code {done.returncode}: {done.stderr}")
    return done.stdout


def scores(pattern: str) -> dict[str, dict[str, Any]]:
    """Scores over all test rows by target, of the results of the default predictor whose file matches."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(RESULTS.glob(pattern)):
        (run,) = json.loads(path.read_text())["runs"]
        found |= {device: score["all"] for device, score in run["tasks"]["in-domain"]["devices"].items()}
    return found


def _errors(targets: Callable[[dict[str, dict[str, Any]]], list[str]]) -> str:
    found = scores("*-in-domain.full.tally2.json")
    rows = ["| target | test networks | mean error | within 10 % | inside the 90 % interval |", "|---|---|---|---|---|"]
    for target in targets(found):
        s = found[target]
        figures = f"{s['mape']:.1f} % | {s['acc_10']:.0f} % | {s['coverage']:.0f} %"
        rows.append(f"| `{target}` | {s['rows']:,} | {figures} |")
    return "\n".join(rows) + "\n"


def errors() -> str:
    """Errors on held-out networks, a target or two of each kind of hardware."""
    return _errors(lambda found: [target for target in README_TARGETS if target in found])


def all_errors() -> str:
    """Errors on held-out networks on every target with tests of its own, but for Qualcomm's NPUs."""
    return _errors(list)


def npu_errors() -> str:
    """Errors on Qualcomm's NPUs, means over targets weighed by their test networks, by runtime and precision."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for target, score in scores("qai_hub-left-out-models.full.tally2.json").items():
        _, runtime, precision = target.split(":")[:3]
        groups.setdefault((runtime, precision), []).append(score)
    rows = ["| runtime | precision | targets | test rows | mean error | within 10 % | inside the 90 % interval |"]
    rows.append("|---|---|---|---|---|---|---|")
    for (runtime, precision), found in sorted(groups.items()):
        total = sum(s["rows"] for s in found)
        mape, acc, covered = (sum(s[key] * s["rows"] for s in found) / total for key in ("mape", "acc_10", "coverage"))
        figures = f"{len(found)} | {total} | {mape:.1f} % | {acc:.0f} % | {covered:.0f} %"
        rows.append(f"| {runtime} | {precision} | {figures} |")
    return "\n".join(rows) + "\n"


def real_files() -> str:
    """Errors on real files of public packages, as predicted."""
    (run,) = json.loads((RESULTS / "real-files.full.tally2.json").read_text())["runs"]
    rows = ["| files | number | median error | within 10 % | inside the 90 % interval |", "|---|---|---|---|---|"]
    for name, task in run["tasks"].items():
        if name.endswith(", as predicted"):
            (score,) = task["devices"].values()
            s = score["all"]
            figures = f"{s['median_error']:.1f} % | {s['acc_10']:.0f} % | {s['coverage']:.0f} %"
            rows.append(f"| {name.removesuffix(', as predicted')} | {s['rows']} | {figures} |")
    return "\n".join(rows) + "\n"


def hardware() -> str:
    """What can be predicted today: hardware by kind, with its runtimes and precisions."""
    from narformer import list_targets
    from narformer.prediction.target import Target

    kinds: dict[str, dict[str, dict[str, None]]] = {}
    for target in map(Target.parse, list_targets()):
        facts = target.facts
        kind = facts.kind if facts else "other"
        found = kinds.setdefault(kind, {"hardware": {}, "runtime": {}, "precision": {}})
        for key, value in (
            ("hardware", f"`{target.hardware}`"),
            ("runtime", target.runtime_name),
            ("precision", target.precision),
        ):
            found[key][str(value)] = None
    rows = ["| kind | hardware | runtimes | precisions |", "|---|---|---|---|"]
    for kind, found in kinds.items():
        rows.append(f"| {kind.upper()} | " + " | ".join(", ".join(sorted(column)) for column in found.values()) + " |")
    return "\n".join(rows) + "\n"


def server_load() -> str:
    """Requests a second of the service, and their latencies."""
    return server_tables.kept_load().table()


def server_soak() -> str:
    """Memory of the service over very many requests."""
    return server_tables.kept_soak().table()


TABLES: dict[str, Callable[[], str]] = {
    "errors": errors,
    "all-errors": all_errors,
    "npu-errors": npu_errors,
    "real-files": real_files,
    "hardware": hardware,
    "server-load": server_load,
    "server-soak": server_soak,
}


def commands() -> str:
    """The reference of commands, from the parser itself."""
    import typer

    from narformer.cli.main import app

    group = typer.main.get_command(app)
    return "\n".join(_command(group, ["narformer"]))


def _command(command: Any, path: list[str]) -> Iterator[str]:
    """One command, or a group and all in it: what it does, its arguments, its options and their defaults."""
    context = command.context_class(command, info_name=" ".join(path))
    if len(path) > 1:
        yield f"## {' '.join(path[1:])}\n"
    yield "\n\n".join(re.sub(r"\s*\n\s*", " ", text) for text in (command.help or "").strip().split("\n\n")) + "\n"
    if not hasattr(command, "commands"):
        usage = " ".join([*path, *command.collect_usage_pieces(context)])
        yield f"```text\n{usage}\n```\n"
        yield "| argument or option | |\n|---|---|"
        for parameter in command.get_params(context):
            record = parameter.get_help_record(context)
            if record and not getattr(parameter, "hidden", False) and "--help" not in parameter.opts:
                record = (re.sub(r"<([^>|]+)>", lambda m: TAKES.get(m[1], m[0]), record[0]), record[1])
                names, text = (re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in record)
                yield f"| `{names.strip()}` | {text} |"
        yield ""
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _command(inner, [*path, name])


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A hook of mkdocs: the reference of commands where the page says so."""
    return markdown.replace(COMMANDS_HERE, commands()) if COMMANDS_HERE in markdown else markdown


def rewrite(page: Path, check: bool = False) -> bool:
    """Make what is made on one page anew, or only look; whether it has changed."""
    text = page.read_text()
    new = MADE.sub(lambda m: m[1] + made(m[2]) + m[4], text)
    if new != text and not check:
        page.write_text(new)
    return new != text


def main() -> int:
    check = "--check" in sys.argv[1:]
    changed = 0
    for page in pages():
        if rewrite(page, check):
            changed += 1
            print(page.relative_to(REPOSITORY))
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
