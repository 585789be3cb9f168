"""A small part of benchmarks/corpus.py: the models in onnx's wheel, and what PyTorch and ONNX Runtime make here."""

from __future__ import annotations

import io
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from narformer.errors import NarformerError
from narformer.frontends.onnx import read_onnx

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def corpus() -> Iterator[dict[str, Any]]:
    sys.path.insert(0, str(BENCHMARKS))
    yield runpy.run_path(str(BENCHMARKS / "corpus.py"))
    sys.path.remove(str(BENCHMARKS))


def test_models_of_the_wheel(corpus: dict[str, Any]) -> None:
    refused = {}
    count = 0
    for case in corpus["backend_files"]():
        count += 1
        try:
            read_onnx(case.model, name=case.name)
        except NarformerError as error:
            refused[case.name] = str(error)
    assert count > 100
    assert set(refused) <= {"test_sequence_model8"}, "it splits by numbers that its caller gives"
    assert all("known only while the network runs" in reason for reason in refused.values())


NAMES = ("residual", "vision transformer", "encoder-decoder", "lstm", "u-net", "detector", "windows")


@pytest.mark.parametrize("name", NAMES)
def test_exports_their_batches_and_what_onnx_runtime_makes_of_them(corpus: dict[str, Any], name: str) -> None:
    """Output shapes are those of the module, at another batch size too; quantised and optimised forms are read."""
    module, inputs = runpy.run_path(str(BENCHMARKS / "torch_networks.py"))["example"](name)
    file = io.BytesIO()
    torch.onnx.export(module, inputs, file, dynamo=False, opset_version=17)
    with torch.no_grad():
        for batch in (1, 3):
            out = module(*(torch.cat([tensor] * batch) for tensor in inputs))
            shapes = {tuple(t.shape) for t in (out if isinstance(out, tuple) else (out,))}
            graph = read_onnx(file.getvalue(), batch_size=batch)
            assert shapes <= {t.shape for node in graph.nodes for t in node.outputs}
    case = corpus["Case"]("test", name, onnx.load_from_string(file.getvalue()))
    for made in corpus["transformed"]([case]):
        read_onnx(made.model, name=made.source)
