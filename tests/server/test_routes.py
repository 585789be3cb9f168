"""What the service answers: the same as the package does in this process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from starlette.testclient import TestClient

import narformer
from narformer.adaptation.predictor import default_predictor
from narformer.cost import graph_cost
from narformer.datasets import zoo
from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.frontends.sizes import Sizes
from narformer.prediction.choice import Choice, Choices, Survey
from narformer.prediction.estimate import Estimate
from narformer.server.answers import Answers
from narformer.server.question import Choice as Limited
from narformer.server.question import Network, Question, Setup

Form = Callable[..., Any]
DEVICE = "cortex-a76:tflite-2.1:fp32"


def test_a_file_is_predicted_as_the_package_predicts_it(client: TestClient, form: Form, resnet18: Path) -> None:
    answer = client.post("/v1/predict", **form(("resnet18.onnx", resnet18.read_bytes()))).json()
    expected = narformer.predict(resnet18, measured=False)
    assert [e["device"] for e in answer["estimates"]] == [e.device for e in expected]
    for told, estimate in zip(answer["estimates"], expected, strict=True):
        assert told == {**estimate.to_dict(), "model": "resnet18.onnx"}


def test_a_graph_in_json_is_predicted_like_its_file(client: TestClient, form: Form, resnet18: Path) -> None:
    graph = read_onnx(resnet18)
    answer = client.post("/v1/predict", **form(("graph.json", graph.to_json().encode()), targets=[DEVICE])).json()
    (expected,) = narformer.predict(graph, devices=DEVICE, measured=False)
    assert answer["estimates"] == [expected.to_dict()]


def test_what_was_sent_is_known_by_its_hash(client: TestClient, form: Form, resnet18: Path) -> None:
    data = resnet18.read_bytes()
    sent = client.post("/v1/predict", **form(("resnet18.onnx", data), batch_size=4)).json()
    assert sent["upload"] == hashlib.sha256(data).hexdigest()
    again = client.post("/v1/predict", json={"model": {"hash": sent["upload"]}, "batch_size": 4}).json()
    assert again == sent


def test_sizes_are_bound(client: TestClient, form: Form, resnet18: Path) -> None:
    sizes: dict[str, Any] = {"batch_size": 8, "input_shapes": {"input": [-1, 3, 96, 96]}}
    answer = client.post("/v1/inspect", **form(("m.onnx", resnet18.read_bytes()), **sizes)).json()
    graph = read_onnx(resnet18, **sizes)
    assert answer["inputs"] == {"input": [8, 3, 96, 96]}
    assert answer["dtypes"] == {"input": "float32"}
    assert answer["hash"] == network_hash(graph)
    assert answer["macs"] == graph_cost(graph).macs
    assert sum(row["count"] for row in answer["operators"].values()) == len(graph)


def test_a_network_of_the_zoo_is_resized(client: TestClient) -> None:
    asked = {"model": {"zoo": "resnet50", "size": 224}, "batch_size": 8, "input_shapes": {"": [-1, -1, 96, 96]}}
    (shape,) = client.post("/v1/inspect", json=asked).json()["inputs"].values()
    assert shape == [8, 3, 96, 96]


def test_sizes_that_are_open_come_with_some_that_bind_them(client: TestClient, form: Form, resnet18: Path) -> None:
    model = onnx.load(resnet18)
    for axis in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = "side"
    data = model.SerializeToString()
    answer = client.post("/v1/inspect", **form(("m.onnx", data)))
    assert answer.status_code == 422
    problem = answer.json()["error"]
    assert problem["type"] == "ShapeError"
    assert problem["bind"] == {"dims": {"side": 224}, "input_shapes": {}}
    assert client.post("/v1/inspect", **form(("m.onnx", data), **problem["bind"])).status_code == 200


def test_the_parts_of_an_explanation_sum_to_the_estimate(client: TestClient) -> None:
    asked = {"model": {"zoo": "resnet50", "size": 224}}
    explained = client.post("/v1/explain", json={**asked, "target": DEVICE}).json()
    (estimate,) = client.post("/v1/predict", json={**asked, "targets": [DEVICE]}).json()["estimates"]
    assert sum(node["ms"] for node in explained["nodes"]) == pytest.approx(estimate["latency_ms"], rel=1e-3)
    read, _ = default_predictor().explain(zoo.load("resnet50", 224))
    assert [(n["operator"], n["reads"]) for n in explained["nodes"]] == [(n.op, list(n.sources)) for n in read.nodes]


def test_a_node_that_writes_no_tensor_is_explained_too(client: TestClient, form: Form) -> None:
    nodes = [
        onnx.helper.make_node("Relu", ["x"], ["r"]),
        onnx.helper.make_node("SequenceConstruct", ["r"], ["s"]),
        onnx.helper.make_node("SequenceErase", ["s"], ["empty"]),
        onnx.helper.make_node("SequenceLength", ["empty"], ["y"]),
    ]
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.INT64, [])
    model = onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y]), ir_version=8)
    answer = client.post("/v1/explain", **form(("m.onnx", model.SerializeToString())))
    assert answer.status_code == 200, answer.text
    types = {node["operator"]: node["dtype"] for node in answer.json()["nodes"]}
    assert (types["Relu"], types["SequenceErase"]) == ("float32", "")


def test_networks_are_compared_in_the_order_of_the_request(client: TestClient, form: Form, resnet18: Path) -> None:
    known = {"models": [{"zoo": "resnet50", "size": 224}], "targets": [DEVICE]}
    answer = client.post("/v1/compare", **form(("mine.onnx", resnet18.read_bytes()), **known)).json()
    assert [model["model"] for model in answer["models"]] == ["resnet50", "mine.onnx"]
    large, small = (model["estimates"][0]["latency_ms"] for model in answer["models"])
    assert large > small


def test_targets_and_zoo_are_those_of_the_package(client: TestClient) -> None:
    targets = client.get("/v1/targets").json()["targets"]
    assert [row["target"] for row in targets] == list(default_predictor().devices)
    networks = client.get("/v1/zoo").json()["networks"]
    assert [(n["source"], n["zoo"], n["size"] or 0) for n in networks] == [tuple(e) for e in zoo.names()]


def test_pretrained_networks_are_chosen_within_limits(resnet18: Path) -> None:
    answers = Answers(Setup(measured=False))
    rows = (("a", 80.0, 5.0), ("b", 70.0, 6.0), ("c", 75.0, 3.0), ("d", 60.0, 1.0), ("e", 85.0, 50.0))
    networks = Choices(Choice(Estimate(name, DEVICE, ms, ms, ms, batch_size=1), 224, top1) for name, top1, ms in rows)
    answers._surveys[DEVICE, 1] = Survey(DEVICE, 1, networks, 7)
    asked = Question("choose", (Network("m.onnx", "h", resnet18.read_bytes()),), (DEVICE,))

    def chosen(**limits: Any) -> list[tuple[str, bool]]:
        answer = answers.answer(replace(asked, choice=Limited(**limits)))
        assert answer["mine"]["model"] == "m.onnx"
        assert answer["left_out"] == 7
        return [(row["network"], row["frontier"]) for row in answer["choices"]]

    assert chosen() == [("e", True), ("a", True), ("c", True), ("d", True)]
    assert chosen(max_ms=10, top1=70) == [("a", True), ("c", True)]
    assert chosen(max_ms=10, top1=70, every=True) == [("a", True), ("c", True), ("b", False)]
    graph = read_onnx(resnet18).to_json().encode()
    answers._surveys[DEVICE, 2] = answers._surveys[DEVICE, 1]
    twice = answers.answer(replace(asked, networks=(Network("g", "h", graph),), sizes=Sizes(2)))
    assert twice["mine"]["batch_size"] == 2


def test_health_and_metrics(client: TestClient, form: Form, resnet18: Path) -> None:
    assert client.get("/healthz").json()["status"] == "ok"
    client.post("/v1/inspect", **form(("m.onnx", resnet18.read_bytes())))
    text = client.get("/metrics").text
    assert 'narformer_requests_total{route="/v1/inspect",status="200"}' in text
    assert "narformer_workers 2.0" in text


def test_the_document_describes_every_route(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    asked = {"predict", "explain", "inspect", "compare", "choose"}
    assert set(document["paths"]) == {f"/v1/{name}" for name in asked | {"targets", "zoo"}} | {"/healthz"}
    for name in asked:
        body = document["paths"][f"/v1/{name}"]["post"]["requestBody"]["content"]
        schema = body["application/json"]["schema"]
        reference = schema.get("allOf", [schema])[0]["$ref"].rpartition("/")[2]
        assert reference in document["components"]["schemas"]
