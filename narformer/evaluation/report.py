"""The page of all results: intervals, shipped predictors, one overview, then what each protocol says of its own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from narformer.errors import DataError, did_you_mean
from narformer.evaluation.interval_tables import HEADER, REAL_FILES, interval_rows
from narformer.evaluation.latency_tables import is_shipped, overview_tables, shipped_tables
from narformer.evaluation.markdown import table
from narformer.evaluation.protocol import Section
from narformer.evaluation.protocols import LATENCY, PROTOCOLS
from narformer.evaluation.results import Result, file_stem


def by_protocol(results: Sequence[Result]) -> dict[str, list[Result]]:
    """Results of each protocol that there are any of, in the order of the table of protocols; real files left out.

    Raises DataError for results of a protocol that does not exist.
    """
    for result in results:
        if result.protocol not in (*PROTOCOLS, REAL_FILES):
            meant = did_you_mean(result.protocol, PROTOCOLS)
            raise DataError(f"results of the protocol {result.protocol!r}, which is not known here; {meant}remove them")
    found = {name: [r for r in results if r.protocol == name] for name in PROTOCOLS}
    return {name: group for name, group in found.items() if group}


def page(results: Sequence[Result], files: Collection[str] = ()) -> str:
    """The page of all tables, in Markdown; `files` are those beside it, whose plots it shows."""
    parts = [
        "# Results",
        "Every figure here was made by `narformer evaluate`; this page by `narformer report`, from the JSON files "
        "beside it. MAPE is the mean absolute percentage error, Acc(10 %) the share of networks predicted within "
        "10 %. A test row is never trained or tuned on; the best epoch is chosen on 5 % of the train rows. Where "
        "several seeds were run, mean ± standard deviation. Full and quick forms (150 train and 50 test rows a "
        "family) are never mixed.",
    ]
    if intervals := interval_rows(results):
        parts += [
            "## Intervals",
            "Of the 90 % intervals, on rows that nothing was fitted to: of shipped predictors on test rows drawn at "
            "random; of models trained without the tested families, the interval as a predictor of that training "
            "would state it, and one of the width that the other left-out families tell; and on real files "
            "(`benchmarks/wild.py`).",
            table(HEADER, intervals),
        ]
    groups = by_protocol(results)
    latency = [r for name in LATENCY for r in groups.get(name, ())]
    sections = [_shipped(r) for r in results if r in latency and is_shipped(r)]
    if latency:
        # Shipped predictors were trained on the train rows alone, so they stand beside models trained for a protocol.
        named = [r for r in latency if not is_shipped(r)]
        named += [replace(r, model=f"{r.model} (shipped)") for r in latency if is_shipped(r)]
        sections.append(Section("All protocols", list(overview_tables(named))))
    for name, group in groups.items():
        sections += PROTOCOLS[name].sections(group)
    for section in sections:
        parts += [f"## {section.title}", *section.parts]
        if section.picture in files:
            parts.append(f"![{section.picture}]({section.picture})")
    parts += ["Published figures beside ours: [published](published.md)."]
    return "\n\n".join(parts) + "\n"


def _shipped(result: Result) -> Section:
    quick = ", quick form" if result.form == "quick" else ""
    picture = f"{file_stem(result.protocol, result.form)}.{result.model}.png"
    return Section(f"Shipped predictor `{result.model}`{quick}", list(shipped_tables(result)), picture)
