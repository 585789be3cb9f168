"""One network through several exporters and optimisers: whether it stays one network, and gets one answer.

    python benchmarks/exporters.py [--torchvision] [--json | --markdown] [NAME ...]

Small networks of fourteen kinds (exported_networks.py), or with --torchvision some of torchvision's own, with weights
as if trained. Each is compared with its form from TorchScript at opset 17: its canonical form, by its hash; the tokens
that a predictor reads, but for whether PyTorch has one kernel for attention; how far estimates are apart, at most, over
all devices; and whether warnings are the same. Minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from exported_networks import NETWORKS, example
from rich.console import Console
from rich.table import Table
from torch import nn
from torch_networks import Example

import narformer
from narformer.errors import ModelError
from narformer.frontends.canonical import canonical
from narformer.frontends.onnx import read_onnx
from narformer.tokens.runtime_kernels import COLUMN, tokenize

FIRST = "torchscript-17"
LEVELS = {
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
TORCHVISION = (
    *("resnet18", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_16"),
    *("swin_t", "shufflenet_v2_x1_0", "regnet_y_400mf", "squeezenet1_1"),
)
Make = Callable[[Path], None]


@dataclass(frozen=True)
class Form:
    """One form of a network, compared with its first.

    nodes: of the file. kernels: of its canonical form. apart: the largest ratio of two estimates for one device, less
    1; None where there is no estimate to compare. failed: why the form could not be made or read.
    """

    network: str
    form: str
    nodes: int = 0
    kernels: int = 0
    same_hash: bool = False
    same_tokens: bool = False
    apart: float | None = None
    same_warnings: bool | None = None
    failed: str = ""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Exporters print, log and warn of what they do."""
    before, nowhere = logging.root.manager.disable, io.StringIO()
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def torchscript(module: nn.Module, inputs: tuple[torch.Tensor, ...], opset: int, path: Path) -> None:
    """What torch.onnx.export wrote before PyTorch 2.9; attention is spelt out where an opset has no way to say it."""
    if opset < 14:
        module = copy.deepcopy(module)
        for part in module.modules():
            if hasattr(part, "fused"):
                part.fused = False  # type: ignore[assignment]
    # Without gradients nn.MultiheadAttention runs as one operator that this exporter does not know.
    torch.backends.mha.set_fastpath_enabled(False)
    torch.onnx.export(module, inputs, str(path), dynamo=False, opset_version=opset)


def dynamo(module: nn.Module, inputs: tuple[torch.Tensor, ...], opset: int, path: Path) -> None:
    """What torch.onnx.export writes by default since PyTorch 2.9."""
    torch.onnx.export(module, inputs, str(path), dynamo=True, verbose=False, external_data=False, opset_version=opset)


def optimised(source: Path, level: str, path: Path) -> None:
    """What ONNX Runtime makes of a file when it loads it, written to a file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.optimized_model_filepath, options.log_severity_level = str(path), 4
    options.intra_op_num_threads = 1
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])


def slimmed(source: Path, path: Path) -> None:
    import onnxslim

    onnx.save(onnxslim.slim(str(source)), str(path))


def forms(trained: Example, fresh: Example, folder: Path) -> dict[str, Make]:
    """How each form of a network is made, by its name; those that optimise read the file of the one before them."""
    made: dict[str, Make] = {}
    for opset in (17, 11, 18):
        made[f"torchscript-{opset}"] = partial(torchscript, *trained, opset)
    made["torchscript-17 fresh"] = partial(torchscript, *fresh, 17)
    for opset in (18, 23):
        made[f"dynamo-{opset}"] = partial(dynamo, *trained, opset)
    made["dynamo-18 fresh"] = partial(dynamo, *fresh, 18)
    for source in (FIRST, "dynamo-18"):
        for level in LEVELS:
            made[f"{source} {level}"] = partial(optimised, file(folder, source), level)
        made[f"{source} onnxslim"] = partial(slimmed, file(folder, source))
    return made


def file(folder: Path, form: str) -> Path:
    return folder / f"{form.replace(' ', '-')}.onnx"


def tokens(graph: narformer.Graph) -> list[bytes]:
    """What a predictor reads of the kernels, in an order that does not depend on the file's.

    But for whether PyTorch has one kernel for attention: at opset 11 it is spelt out, and ONNX Runtime's optimiser
    hides it.
    """
    features = np.delete(tokenize(graph).features, COLUMN["unfused"], axis=1)
    return sorted(row.tobytes() for row in np.asarray(features, dtype=np.float32).round(4))


def compared(network: str, trained: Example, fresh: Example, predicted: bool = True) -> Iterator[Form]:
    """Every form of a network, compared with the first."""
    first: tuple[str, list[bytes], Mapping[str, float], set[str]] | None = None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for form, make in forms(trained, fresh, folder).items():
            path = file(folder, form)
            try:
                with quiet(), torch.no_grad():
                    make(path)
            except Exception as error:  # every exporter raises classes of its own
                yield Form(network, form, failed=_line(error))
                continue
            try:
                graph = read_onnx(path)
                found = canonical(graph)
                estimates = narformer.predict(path) if predicted else []
            except ModelError as error:
                yield Form(network, form, failed=_line(error))
                continue
            values = {str(e.device): e.latency_ms for e in estimates}
            warned = {str(w) for e in estimates for w in e.warnings}
            here = (found.hash, tokens(graph), values, warned)
            first = first or here
            ratios = [values[d] / first[2][d] for d in values if first[2].get(d)]
            yield Form(
                network,
                form,
                nodes=len(graph),
                kernels=len(found),
                same_hash=here[0] == first[0],
                same_tokens=here[1] == first[1],
                apart=max((max(r, 1 / r) - 1 for r in ratios), default=None),
                same_warnings=here[3] == first[3] if predicted else None,
            )


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:100]


def torchvision_examples(name: str) -> tuple[Example, Example]:
    """One of torchvision's networks, as trained and as initialised."""
    import torchvision

    def build() -> Example:
        return torchvision.models.get_model(name, weights=None), (torch.zeros(1, 3, 224, 224),)

    return example(build), example(build, False)


def shown(rows: list[Form]) -> Table:
    """The comparison as a table."""
    table = Table("network", "form", "nodes", "kernels", "hash", "tokens", "apart", "warnings", box=None)
    mark = {True: "same", False: "OTHER", None: ""}
    for row in rows:
        numbers = ("", "", row.failed) if row.failed else (f"{row.nodes}", f"{row.kernels}", mark[row.same_hash])
        apart = "" if row.apart is None else f"{row.apart:.1%}"
        rest = ("", "", "") if row.failed else (mark[row.same_tokens], apart, mark[row.same_warnings])
        table.add_row(row.network, row.form, *numbers, *rest)
    return table


def summary(rows: list[Form]) -> str:
    """A row a network, as Markdown: of how many forms it is the same, and how far the estimates of any are apart."""
    columns = ("network", "kernels", "forms", "same hash", "same tokens", "same warnings", "estimates apart at most")
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for network in dict.fromkeys(row.network for row in rows):
        made = [row for row in rows if row.network == network and not row.failed]
        failed = sum(row.network == network and bool(row.failed) for row in rows)
        apart = max((row.apart for row in made if row.apart is not None), default=None)
        told = (
            *(network, f"{made[0].kernels}" if made else "", f"{len(made)}{f' ({failed} not made)' if failed else ''}"),
            *(f"{sum(map(bool, (getattr(row, name) for row in made)))}" for name in ("same_hash", "same_tokens")),
            *(
                f"{sum(map(bool, (row.same_warnings for row in made)))}",
                "" if apart is None else f"{100 * apart:.1f} %",
            ),
        )
        lines.append(f"| {' | '.join(told)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--torchvision", action="store_true", help="torchvision's own networks")
    parser.add_argument("--json", action="store_true", help="rows as JSON")
    parser.add_argument(
        "--markdown", action="store_true", help="a row a network, as docs/results/exporters.md has them"
    )
    chosen = parser.parse_args()
    names = chosen.names or (TORCHVISION if chosen.torchvision else NETWORKS)
    rows: list[Form] = []
    for name in names:
        if chosen.torchvision:
            trained, fresh = torchvision_examples(name)
        else:
            trained, fresh = example(NETWORKS[name]), example(NETWORKS[name], False)
        print(name, file=sys.stderr)
        rows += compared(name, trained, fresh)
    if chosen.markdown:
        print(summary(rows))
    elif chosen.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
    else:
        Console(width=140).print(shown(rows))


if __name__ == "__main__":
    main()
