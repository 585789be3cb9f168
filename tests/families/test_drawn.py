"""Drawn networks: the same for ever, run by ONNX Runtime, and read with the shapes that come out."""

from __future__ import annotations

import onnxruntime
import pytest

from narformer.errors import DataError
from narformer.families.drawn.draw import Draw
from narformer.families.drawn.network import UNKNOWN
from narformer.families.drawn.registry import KINDS, drawn
from narformer.frontends.onnx import read_onnx
from narformer.measurement.weights import runnable

onnxruntime.set_default_logger_severity(4)


def test_choices_are_those_of_the_random_numbers_that_python_promises() -> None:
    draw = Draw("tiny network 7")
    # random.Random("tiny network 7").random() gives 0.5392, then 0.3066.
    assert [draw.integer(1, 1000), draw.choice("abcd")] == [30, "b"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_runs_and_is_read_with_the_shapes_that_come_out(kind: str) -> None:
    for seed, batch in ((100, 1), (101, 2)):
        model = drawn(kind, seed, batch)
        assert model == drawn(kind, seed, batch)
        network = runnable(model)
        session = onnxruntime.InferenceSession(network.model.SerializeToString())
        results = [tuple(result.shape) for result in session.run(None, dict(network.inputs))]
        stated = [tuple(d.dim_value or UNKNOWN for d in o.type.tensor_type.shape.dim) for o in model.graph.output]
        for real, said in zip(results, stated, strict=True):
            assert [r for r, s in zip(real, said, strict=True) if s != UNKNOWN] == [s for s in said if s != UNKNOWN]
        graph = read_onnx(model)
        read = {(o.source, o.output) for node in graph.nodes for o in node.operands}
        last = [t.shape for k, n in enumerate(graph.nodes) for p, t in enumerate(n.outputs) if (k, p) not in read]
        known = [real for real, said in zip(results, stated, strict=True) if UNKNOWN not in said]
        assert all(real in last for real in known)


def test_seeds_differ_and_an_unknown_kind_is_told() -> None:
    assert len({drawn("attention", seed).SerializeToString() for seed in range(20)}) == 20
    with pytest.raises(DataError, match="no kind 'attentoin'; there are convolution 1x1"):
        drawn("attentoin", 0)
