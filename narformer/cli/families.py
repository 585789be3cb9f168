"""`narformer families`: list them, draw new variants, rebuild the networks of a table and check their MACs."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import typer

from narformer.cli.format import FORMAT, JSON, Format, chosen, print_records, print_text
from narformer.cli.progress import track
from narformer.processes import in_order

app = typer.Typer(no_args_is_help=True, help="Network families: list, sample new variants, check rebuilt ones.")


@app.command("list")
def list_families(form: Format | None = FORMAT, as_json: bool = JSON) -> None:
    """List the families and their versions, and the architectures known by name."""
    from narformer.families.registry import BUILDABLE

    form = chosen(form, as_json)
    if form is not Format.TABLE:
        rows = [{"family": name, "versions": [v for v in module.VERSIONS if v]} for name, module in BUILDABLE.items()]
        print_records(form, rows)
        return
    for name, module in BUILDABLE.items():
        versions = f"  ({', '.join(module.VERSIONS)})" if any(module.VERSIONS) else ""
        print_text(f"{name}{versions}")


@app.command()
def sample(
    family: str = typer.Argument(..., help="Name of a family, see `narformer families list`."),
    count: int = typer.Option(20, "--count", "-n", min=1, help="How many different variants."),
    out: Path = typer.Option(..., "--out", "-o", help="Directory to write, in NNLQP's layout."),
    seed: int = typer.Option(0, "--seed", help="Another seed draws other variants."),
    version: str | None = typer.Option(None, "--version", help="One version of the family. Default: all in turn."),
) -> None:
    """Draw new variants: weightless ONNX files below OUT/onnx, listed in OUT/gt.txt, latency `nan` until measured."""
    from narformer.errors import DataError
    from narformer.families.registry import sample as draw

    variants = draw(family, count, seed, version)
    try:
        folder = out / "onnx" / family
        folder.mkdir(parents=True, exist_ok=True)
        lines = []
        for number, variant in enumerate(variants):
            stem = f"{family}{variant.version}_{seed}_{number}"
            (folder / f"{stem}.onnx").write_bytes(variant.build().SerializeToString())
            lines.append(f"{number} onnx/{family}/{stem}.onnx 1 nan {family} none\n")
        with (out / "gt.txt").open("a", encoding="utf-8") as file:
            file.writelines(lines)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
    print(f"{count} networks below {folder}, listed in {out / 'gt.txt'}")


@app.command()
def check(table: Path = typer.Argument(..., help="CSV with id, family, version, config, macs.", metavar="CSV")) -> None:
    """Rebuild every network of a table, read it back, compare its MACs with the table's; exit code 1 on a mismatch."""
    from narformer.datasets.table import read_table

    rows = read_table(table, ("id", "family", "version", "config", "macs"))
    jobs = [(r["id"], r["family"], r["version"], r["config"], int(r["macs"])) for r in rows]
    total, wrong = Counter[str](), []
    chunks = [jobs[start : start + 64] for start in range(0, len(jobs), 64)]
    results = itertools.chain.from_iterable(in_order(_rebuilt_macs, chunks))
    for (name, family, _, _, macs), got in zip(jobs, track(results, "rebuilding", len(jobs)), strict=True):
        total[family] += 1
        if got != macs:
            wrong.append((name, family, macs, got))
    failed = Counter(family for _, family, _, _ in wrong)
    for family, count in sorted(total.items()):
        print(f"{family:15s} {count:6d} networks, {count - failed[family]:6d} with the table's MACs")
    for name, _, macs, got in itertools.islice(wrong, 10):
        print(f"{name}: {got} instead of {macs} MACs", file=sys.stderr)
    print(f"{'all':15s} {len(jobs):6d} networks, {len(jobs) - len(wrong):6d} with the table's MACs")
    if wrong:
        raise typer.Exit(1)


def _rebuilt_macs(jobs: Sequence[tuple[str, str, str, str, int]]) -> list[int]:
    from narformer.cost import graph_cost
    from narformer.families.registry import build
    from narformer.frontends.onnx import read_onnx

    return [graph_cost(read_onnx(build(family, config, version))).macs for _, family, version, config, _ in jobs]
