"""The exported file of the default model: what the model answers, in few nodes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from narformer.models.kernel_processes import KernelProcesses, coordinates
from narformer.models.tally2 import Tally2, Tally2Config
from narformer.tokens import runtime_kernels as tokens
from narformer.training.export import export_onnx


def _token(kind: str, size: float) -> torch.Tensor:
    row = torch.zeros(tokens.WIDTH)
    row[: len(tokens.COLUMNS)] = size
    row[tokens.FIRST_KIND + tokens.KINDS.index(kind)] = 1
    row[tokens.FIRST_WINDOW] = 1
    return row


def _model() -> Tally2:
    """Four targets with factors of tiles, of kernels, prices of NPUs and waits for a host."""
    torch.manual_seed(0)
    hardware, views = ("gpu", "cpu", "npu", "cpu"), ("a", "b", "c", "d")
    model = Tally2(Tally2Config(outputs=4, hardware=hardware, views=views, tiled=(3,), npus=(2,))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
        model._refer()
    process = model.kernel_processes[0]
    assert isinstance(process, KernelProcesses)
    near = coordinates(_token("convolution", 40.0)[None]).double().numpy()
    process.hold(near, np.array([tokens.KINDS.index("convolution")]), np.array([[0.5]]))
    return model


def test_the_exported_file_answers_as_the_model_does_in_few_nodes(tmp_path: Path) -> None:
    model = _model()
    path = tmp_path / "model.onnx"
    export_onnx(model, tokens.WIDTH, tokens.STATIC_WIDTH, path)

    assert str(Path.cwd()).encode() not in path.read_bytes()  # nor any other path of the machine
    assert not any(node.metadata_props for node in onnx.load(path).graph.node)
    # Columns that are taken one by one were most of 871 nodes once, and each is run.
    operators = Counter(node.op_type for node in onnx.load(path).graph.node)
    assert sum(operators.values()) < 450
    assert operators["Gather"] + operators["GatherND"] + operators["Unsqueeze"] < 60

    # A network that repeats a kernel, one that has it too, and tokens that fill the batch up.
    convolution, other, addition = _token("convolution", 36.0), _token("pointwise", 20.0), _token("add", 1e4)
    features = torch.stack(
        [
            *(_token("run", 1.0), convolution, addition, convolution, convolution),
            *(_token("run", 1.0), other, convolution),
            *torch.zeros(2, tokens.WIDTH),
        ]
    )
    graph = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    batch = (features, torch.zeros(2, 0, dtype=torch.int64), graph, torch.ones(3, tokens.STATIC_WIDTH))
    with torch.no_grad():
        expected = model.answers(*batch)
        assert (
            model.priced(convolution[None])[0, 1]
            > 1.3 * model.roofline(convolution[None], model.prices.prices(), model.prices.oddity())[0, 1]
        )  # the process of kernels says something
    feed = dict(zip(("features", "edges", "graph", "static"), (each.numpy() for each in batch), strict=True))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    for told, answer in zip(expected, session.run(None, feed), strict=True):
        np.testing.assert_allclose(answer, told.numpy(), rtol=2e-4, atol=1e-5)

    # A network alone is told what it is told among others.
    alone = [torch.index_select(each, 0, torch.arange(5)) for each in (features, graph)]
    single = model(alone[0], batch[1], alone[1], torch.ones(1, 1)).detach()
    torch.testing.assert_close(single[0], expected[0][0], rtol=1e-4, atol=0)
