"""MACs and parameters against independent counters on shared networks; every difference has a name.

PyTorch's flop counter runs here. Figures of fvcore 0.1.5 (on the modules) and onnx-tool 1.0.1 (on the same exports)
were taken once; docs/reference/formats.md says how each of them counts.
"""

from __future__ import annotations

import io
import runpy
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from narformer.cost import graph_cost, node_cost
from narformer.frontends.onnx import read_onnx
from narformer.graph import Graph

NETWORKS = runpy.run_path(str(Path(__file__).resolve().parents[1] / "benchmarks" / "torch_networks.py"))
# Parameters in the file beyond the module's, and why.
BEYOND = {
    "residual": -24,  # two BatchNormalizations of 16 parameters each, folded into convolutions of which one had no bias
    "mobile": -64,
    "language model": 1600,  # the embedding, stored once more as the transposed logits matrix
}
# fvcore counts convolutions, linear layers, products and einsum as MACs; networks without attention and recurrence.
FVCORE = {
    "residual": 376_832 + 160,
    "mobile": 184_448,
    "u-net": 1_024_000,
    "detector": 161_280,
    "volume": 579_584,
    "signal": 1_680,
    "super-resolution": 331_776,
}
# onnx-tool's figures of MatMul, Einsum and Gemm; to a Gemm it adds one for each element of the bias.
ONNX_TOOL = {
    "attention": {"MatMul": 31_808},
    "language model": {"MatMul": 71_680},
    "windows": {"Einsum": 12_288},
    "vision transformer": {"MatMul": 164_832},
    "encoder-decoder": {"MatMul": 26_976},
}


def exported(name: str) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...], Graph]:
    module, inputs = NETWORKS["example"](name)
    file = io.BytesIO()
    torch.onnx.export(module, inputs, file, dynamo=False, opset_version=17)
    return module, inputs, read_onnx(file.getvalue())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS["NETWORKS"])
def test_macs_and_parameters_agree_with_other_counters(name: str) -> None:
    module, inputs, graph = exported(name)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused layers hide their products from the counter
    try:
        with (
            torch.no_grad(),
            torch.backends.mkldnn.flags(enabled=False),
            sdpa_kernel(SDPBackend.MATH),
            FlopCounterMode(display=False) as counter,
        ):
            module(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    cost = graph_cost(graph)
    assert cost.flops == counter.get_total_flops()
    assert cost.parameters - sum(p.numel() for p in module.parameters()) == BEYOND.get(name, 0)
    assert cost.macs == FVCORE.get(name, cost.macs)
    for op, macs in ONNX_TOOL.get(name, {}).items():
        assert sum(node_cost(n).macs for n in graph.nodes if n.op == op) == macs
