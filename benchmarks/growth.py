"""How time and memory grow with a network: reading, tokens and prediction, for 100 to 10,000 nodes and each predictor.

    python benchmarks/growth.py [--plot FILE.svg] [--json]

Each size and predictor runs in a process of its own, on one thread: processor time, the median of 5 rounds behind one
that warms up, and the peak memory above what the process had with the predictor loaded.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass

from frontend import deep
from rich.console import Console
from rich.progress import track

from narformer.frontends.onnx import read_onnx
from narformer.prediction.predictor import PRETRAINED, Predictor
from narformer.tokens.registry import TOKENIZERS

SIZES = (100, 200, 500, 1_000, 2_000, 5_000, 10_000)
ROUNDS = 5


@dataclass(frozen=True)
class Growth:
    """Milliseconds to read a file, to make tokens, and to predict from the Graph (tokens included); peak megabytes."""

    predictor: str
    nodes: int
    read_ms: float
    tokens_ms: float
    predict_ms: float
    megabytes: float


def measured(name: str, nodes: int) -> Growth:
    predictor = Predictor.load(name)
    tokenize = TOKENIZERS[predictor.card.tokenizer]
    predictor.predict([read_onnx(deep(100))])
    data = deep(nodes)
    before = _peak()
    seconds = []
    for _ in range(ROUNDS + 1):
        marks = [time.process_time()]
        graph = read_onnx(data)
        marks.append(time.process_time())
        tokenize(graph)
        marks.append(time.process_time())
        predictor.predict([read_onnx(data)])
        marks.append(time.process_time())
        seconds.append([b - a for a, b in itertools.pairwise(marks)])
    read, tokens, both = (1000 * statistics.median(side) for side in zip(*seconds[1:], strict=True))
    return Growth(name, nodes, read, tokens, both - read, _peak() - before)


def _peak() -> float:
    """Most megabytes that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plot(path: str, rows: list[Growth]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "growth"})
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4))
    for name in dict.fromkeys(row.predictor for row in rows):
        own = [row for row in rows if row.predictor == name]
        sizes = [row.nodes for row in own]
        left.loglog(sizes, [row.read_ms + row.predict_ms for row in own], "o-", label=f"file to estimate, {name}")
        right.loglog(sizes, [max(row.megabytes, 0.1) for row in own], "o-", label=name)
    first = [row for row in rows if row.predictor == rows[0].predictor]
    left.loglog(
        [row.nodes for row in first], [row.read_ms for row in first], "o-", label="file to Graph", color="black"
    )
    slope = first[-1].read_ms / first[-1].nodes
    left.loglog(SIZES, [slope * size for size in SIZES], ":", color="grey", label="in proportion to nodes")
    left.set(xlabel="nodes", ylabel="ms of processor time")
    right.set(xlabel="nodes", ylabel="peak MB, beyond the predictor")
    for axes in (left, right):
        axes.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plot", metavar="FILE.svg")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    asked = [(path.stem, size) for path in sorted(PRETRAINED.glob("*.onnx"), reverse=True) for size in SIZES]
    console = Console(stderr=True)
    shown = track(asked, "sizes", console=console, transient=True, disable=not sys.stderr.isatty())
    rows = []
    for name, size in shown:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            rows.append(process.submit(measured, name, size).result())
    if options.plot:
        plot(options.plot, rows)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return
    print("| predictor | nodes | read, ms | tokens, ms | predict, ms | peak MB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        figures = [f"{value:.1f}" for value in (row.read_ms, row.tokens_ms, row.predict_ms, row.megabytes)]
        print(f"| {row.predictor} | {row.nodes:,} | {' | '.join(figures)} |")


if __name__ == "__main__":
    main()
