"""The client of a service: answers as in this process, and no weight on the wire."""

from __future__ import annotations

import gzip
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import narformer
from narformer.client import Client, ServiceError
from narformer.errors import ConfigError, ModelError, UnknownDeviceError
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.frontends.structure import structure_of
from narformer.prediction.predictor import Predictor
from narformer.server.answers import Answers
from narformer.server.failures import body_of, status_of
from narformer.server.question import Network, Question, Setup
from narformer.server.schema import Comparing, Explaining, Predicting
from narformer.server.uploads import options_of

DEVICE = "cortex-a76:tflite-2.1:fp32"
Reply = tuple[int, dict[str, str], bytes]


class Recorded(http.server.BaseHTTPRequestHandler):
    """Keeps what was sent, and replies with what the test says."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.sent.append(body)  # type: ignore[attr-defined]
        self.server.tokens.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        status, headers, content = self.server.replies(self.path, body)  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    """A server on a free port. Its `replies` says what it replies, `sent` and `tokens` what came."""
    made: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorded)
    made.sent, made.tokens, made.replies = [], [], predicted
    made.url = f"http://127.0.0.1:{made.server_address[1]}"
    thread = threading.Thread(target=made.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def predicted(path: str, body: bytes) -> Reply:
    """As the service answers, without its web framework."""
    answers = Answers(Setup(measured=False))
    if path == "/v1/targets":
        return 200, {}, json.dumps(answers.targets()).encode()
    options, *graphs = parts(body)
    networks = tuple(Network("network", "", graph) for graph in graphs)
    if path == "/v1/explain":
        question = Question("explain", networks, (options_of(Explaining, options).target or "",))
    else:
        asked = options_of(Comparing if path == "/v1/compare" else Predicting, options)
        targets = None if asked.targets is None else tuple(asked.targets)
        question = Question("compare" if path == "/v1/compare" else "predict", networks, targets)
    try:
        answer = answers.answer(question)
    except narformer.NarformerError as error:
        return status_of(error), {}, body_of(error)
    return 200, {}, json.dumps(answer).encode()


def parts(body: bytes) -> list[bytes]:
    """The contents of a form's parts."""
    form = gzip.decompress(body)
    boundary = form.split(b"\r\n", 1)[0]
    return [part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") for part in form.split(boundary)[1:-1]]


def test_a_service_answers_as_the_package_does(server: Any, resnet18: Path) -> None:
    client = Client(server.url)
    assert client.predict(resnet18) == narformer.predict(resnet18, measured=False)
    asked: dict[str, Any] = {"devices": DEVICE, "batch_size": 8, "input_shapes": {"input": (-1, 3, 96, 96)}}
    assert client.predict([resnet18], **asked) == narformer.predict([resnet18], **asked, measured=False)


def test_explanations_and_comparisons_are_those_of_the_package(server: Any, resnet18: Path) -> None:
    client, other = Client(server.url), resnet18.with_name("mobilenet_v2.onnx")
    (told,), (expected,) = client.explain(resnet18, devices=DEVICE), narformer.explain(resnet18, devices=DEVICE)
    assert told == expected
    assert client.inspect(resnet18).cost == narformer.inspect(resnet18).cost
    asked: dict[str, Any] = {"devices": [DEVICE], "measured": False}
    server.sent.clear()
    assert client.compare(resnet18, other, **asked) == narformer.compare(resnet18, other, **asked)
    assert len(server.sent) == 4, "one about both, one about targets, and an explanation of each"
    with pytest.raises(ConfigError, match="compared with what"):
        client.compare(resnet18)


def classifier(pattern: bytes) -> onnx.ModelProto:
    """Weights, biases, constants of every size and type, and names, that hold a pattern which is easy to find."""
    numbers = np.frombuffer(pattern * 512, np.float32)
    wide, narrow = numbers[: 4 * 3 * 3 * 3].reshape(4, 3, 3, 3), numbers[:4]
    weights = {
        "w": wide,
        "b": narrow,
        "scale": narrow,
        "shift": narrow,
        "w2": numbers[:12].reshape(4, 3),
        "b2": numbers[:3],
        "zero": np.frombuffer(pattern, np.int8)[:3],
        "shape": np.array([1, -1], np.int64),
        "sizes": np.array([1.0, 1.0, 0.5, 0.5], np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], doc_string=pattern.decode()),
        node("Mul", ["c", "scale_"], ["m"]),
        node("Resize", ["m", "", "sizes"], ["r"]),
        node("GlobalAveragePool", ["r"], ["p"]),
        node("Reshape", ["p", "shape"], ["f"]),
        node("Gemm", ["f", "w2", "b2"], ["g"]),
        node("Constant", [], ["k"], value_floats=numbers[:3].tolist()),
        node("Add", ["g", "k"], ["y"]),
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    tensors.append(numpy_helper.from_array(narrow.reshape(4, 1, 1), "scale_"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        tensors,
        doc_string=pattern.decode(),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"author": pattern.decode()})
    return model


def test_no_weight_leaves_the_machine(server: Any, tmp_path: Path) -> None:
    secret = b"SECRET!!"  # of two float32 that no honest network has
    path = tmp_path / "model-of-a-customer.onnx"
    path.write_bytes(classifier(secret).SerializeToString())
    assert secret in path.read_bytes()
    assert len(Client(server.url).predict(path, devices=DEVICE)) == 1
    (body,) = server.sent
    sent = gzip.decompress(body)
    numbers = np.frombuffer(secret, np.float32).tolist()
    for leaked in (
        secret,
        b"customer",
        *(repr(n).encode() for n in numbers),
        *(f"{n:.6g}"[:6].encode() for n in numbers),
    ):
        assert leaked not in sent
    graph = json.loads(parts(body)[1])
    held = {
        row[4]: row[5] for node in graph["nodes"] for row in node["operands"] if len(row) > 5 and row[5] is not None
    }
    assert held == {"shape": [1, -1], "sizes": [1.0, 1.0, 0.5, 0.5]}


def test_a_file_of_many_megabytes_is_a_few_kilobytes_on_the_wire(server: Any, resnet18: Path, tmp_path: Path) -> None:
    model = onnx.load(resnet18)
    for tensor in model.graph.initializer:
        if np.prod(tensor.dims, dtype=int) > 100_000:
            tensor.raw_data = bytes(int(np.prod(tensor.dims)) * 4)
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    assert path.stat().st_size > 40_000_000
    Client(server.url).predict(path, devices=DEVICE)
    assert len(server.sent[0]) < 10_000


@pytest.mark.parametrize("name", ["resnet18.onnx", "mobilenet_v2.onnx"])
def test_the_structure_is_the_same_network(name: str, resnet18: Path) -> None:
    graph = read_onnx(resnet18.with_name(name))
    bare = structure_of(graph)
    assert network_hash(bare) == network_hash(graph)
    predictor = Predictor.load()
    assert np.array_equal(predictor.latencies([bare]), predictor.latencies([graph]))


def test_structure_keeps_the_shape_of_trees_and_nothing_that_they_learnt() -> None:
    made = {
        "nodes_values": [0.1, 0.2, 0.3],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_truenodeids": [1, 0, 0],
        "classlabels_strings": ["secret", "other"],
    }
    node = helper.make_node("TreeEnsembleClassifier", ["x"], ["l", "p"], domain="ai.onnx.ml", **made)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    y = helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 2])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = read_onnx(helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets, ir_version=8))
    (bare,) = structure_of(graph).nodes
    assert bare.attributes["nodes_modes"] == ("BRANCH_LEQ", "LEAF", "LEAF")
    assert bare.attributes["nodes_truenodeids"] == (1, 0, 0)
    assert bare.attributes["nodes_values"] == (0.0, 0.0, 0.0)
    assert bare.attributes["classlabels_strings"] == ("", "")


def test_errors_of_the_service_are_those_of_the_package(server: Any, resnet18: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownDeviceError, match="unknown target nobody"):
        Client(server.url).predict(resnet18, devices="nobody")
    with pytest.raises(ModelError, match="no such file"):
        Client(server.url).predict(tmp_path / "none.onnx")
    assert len(server.sent) == 1, "a file that cannot be read is not sent"


def test_a_busy_service_is_asked_again(server: Any, resnet18: Path) -> None:
    waits: list[float] = []
    replies = iter([(429, {"Retry-After": "7"}, b"{}"), (503, {"Retry-After": "1"}, b"{}")])
    server.replies = lambda path, body: next(replies, None) or predicted(path, body)
    assert Client(server.url, sleep=waits.append).predict(resnet18, devices=DEVICE)
    assert waits == [7.0, 1.0]
    server.replies = lambda path, body: (429, {"Retry-After": "1"}, body_of(ConfigError("later")))
    with pytest.raises(ConfigError, match="later"):
        Client(server.url, sleep=waits.append).predict(resnet18, devices=DEVICE)
    assert len(waits) == 5


def test_what_is_no_service_says_so(server: Any, resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    for reply in ((200, {}, b"<html>"), (200, {}, b"[]"), (404, {}, b"<html>"), (418, {}, b'{"error": 3}')):
        server.replies = lambda path, body, reply=reply: reply
        with pytest.raises(ServiceError, match="right address"):
            Client(server.url).predict(graph)
    with pytest.raises(ServiceError, match="cannot be reached"):
        Client("http://127.0.0.1:9").predict(graph)
    with pytest.raises(ConfigError, match="write http://HOST:PORT"):
        Client("localhost:8000")


def test_a_service_does_not_send_its_clients_elsewhere(server: Any, resnet18: Path) -> None:
    server.replies = lambda path, body: (307, {"Location": f"{server.url}/other"}, b"")
    with pytest.raises(ServiceError, match="right address"):
        Client(server.url, token="x" * 20).predict(resnet18)
    assert server.tokens == ["Bearer " + "x" * 20]


def test_what_a_newer_service_says_beyond_this_version_is_left_out(server: Any, resnet18: Path) -> None:
    (expected,) = narformer.predict(resnet18, devices=DEVICE, measured=False)
    told = {"estimates": [{**expected.to_dict(), "colour": "blue"}]}
    server.replies = lambda path, body: (200, {}, json.dumps(told).encode())
    assert Client(server.url).predict(resnet18, devices=DEVICE) == [replace(expected, model=str(resnet18))]
