"""What clients send by mistake or on purpose: an answer that says what is wrong, and nothing else is harmed."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from starlette.requests import ClientDisconnect, Request
from starlette.testclient import TestClient

from narformer.errors import ConfigError
from narformer.frontends.onnx import read_onnx
from narformer.server.failures import Refused
from narformer.server.pool import Pool
from narformer.server.question import Network
from narformer.server.rate import Rate
from narformer.server.settings import Limits, Settings
from narformer.server.structures import Structures
from narformer.server.uploads import received

Form = Callable[..., Any]
Make = Callable[..., TestClient]
ROUTES = ("predict", "explain", "inspect", "compare")
FORM = "multipart/form-data; boundary=x"


def told(answer: Any, status: int) -> str:
    """The message of an answer, which is one line and tells nothing of this machine."""
    assert answer.status_code == status, answer.text
    message: str = answer.json()["error"]["message"]
    assert "\n" not in message
    for part in (str(Path(__file__).parents[2]), str(Path.home()), "Traceback", "site-packages"):
        assert part not in message
    return message


@pytest.mark.parametrize("route", ROUTES)
def test_no_file(client: TestClient, form: Form, route: str) -> None:
    assert told(client.post(f"/v1/{route}", **form()), 422).startswith("no network")
    assert told(client.post(f"/v1/{route}", json={}), 422).startswith("no network")
    assert "empty" in told(client.post(f"/v1/{route}", **form(("m.onnx", b""))), 422)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "data", [b"not a network", b"PK\x03\x04zip", b"\x00" * 100, b"{}", b"{", b"[" * 100_000, b'{"a":' * 50_000]
)
def test_what_is_no_network(client: TestClient, form: Form, route: str, data: bytes) -> None:
    assert "m.onnx" in told(client.post(f"/v1/{route}", **form(("m.onnx", data))), 422)


@pytest.mark.parametrize(
    "change",
    [
        {"nodes": []},
        {"nodes": 3},
        {"inputs": [[[1, -3], "float32"]]},
        {"inputs": [[[1, 3.5], "float32"]]},
        {"inputs": [[[1, 1e300], "float32"]]},
        {"inputs": [[[True, 3], "float32"]]},
        {"inputs": [[[1, 3], "float99"]]},
        {"input_names": [1]},
        {"name": 7},
        {"op": ["Relu"]},
        {"domain": None},
        {"attributes": [1]},
        {"attributes": {"axis": {"a": 1}}},
        {"attributes": {"axis": [1, "a"]}},
        {"attributes": {"axis": None}},
        {"operands": [[[1, 3], "float32", 5]]},
        {"operands": [[[1, 3], "float32", -1, 3]]},
        {"operands": [[[1, 3], "float32", "a"]]},
        {"operands": [[[1, 3], "float32", None, 0, "", [1, 2]]]},
        {"operands": [[[1], "float32", None, 0, "", ["a"]]]},
        {"operands": [[[1], "float32", None, 0, "", None, "yes"]]},
        {"operands": [[]]},
        {"outputs": []},
        {"outputs": [[[10**30], "float32"]]},
        {"left_out": ["a"]},
        {"origin": [1]},
    ],
    ids=str,
)
def test_graphs_that_are_none(client: TestClient, form: Form, change: dict[str, Any]) -> None:
    node = {"name": "r", "op": "Relu", "domain": "", "attributes": {}, "outputs": [[[1, 3], "float32"]]}
    node["operands"] = [[[1, 3], "float32", -1, 0, ""]]
    graph: dict[str, Any] = {"name": "g", "inputs": [[[1, 3], "float32"]], "input_names": ["x"], "nodes": [node]}
    assert client.post("/v1/predict", **form(("g.json", json.dumps(graph).encode()))).status_code == 200
    for key, value in change.items():
        (node if key in node or key in ("left_out", "origin") else graph)[key] = value
    if "name" in change:
        graph["name"] = change["name"]
    told(client.post("/v1/predict", **form(("g.json", json.dumps(graph).encode()))), 422)


def test_what_is_too_large_is_refused_before_it_is_read(client: TestClient) -> None:
    def five_gigabytes() -> Iterator[bytes]:
        raise AssertionError("the body is not asked for")
        yield b""

    headers = {"Content-Length": str(5 << 30), "Content-Type": FORM}
    answer = client.post("/v1/predict", content=five_gigabytes(), headers=headers)
    assert "send the structure alone" in told(answer, 413)
    assert answer.headers["connection"] == "close"
    headers = {"Content-Length": "9" * 5000, "Content-Type": FORM}
    told(client.post("/v1/predict", content=five_gigabytes(), headers=headers), 413)


class Stream:
    """A request whose body comes in chunks, as many as are asked for."""

    def __init__(self, chunks: Iterator[bytes], **headers: str) -> None:
        self.asked = 0
        self._chunks = chunks
        named = {"content-type": FORM, **{name.replace("_", "-"): value for name, value in headers.items()}}
        raw = [(name.encode(), value.encode()) for name, value in named.items()]
        self.request = Request({"type": "http", "method": "POST", "headers": raw}, self._receive)

    async def _receive(self) -> dict[str, Any]:
        self.asked += 1
        chunk = next(self._chunks, None)
        if chunk is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": True}


def test_a_body_without_an_end_is_cut_off() -> None:
    stream = Stream(iter(lambda: bytes(100_000), b""))
    with pytest.raises(Refused, match="more than 1000000 bytes") as refused:
        asyncio.run(received(stream.request, Limits(bytes=1_000_000)))
    assert refused.value.status == 413
    assert stream.asked == 11


def test_a_zip_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 50_000
    stream = Stream(iter([bomb]), content_encoding="gzip")
    with pytest.raises(Refused, match="more than 1000000 bytes"):
        asyncio.run(received(stream.request, Limits(bytes=1_000_000)))


@pytest.mark.parametrize(
    "body",
    [b"no gzip", gzip.compress(b"cut short" * 100)[:-9], zlib.compress(b"x"), b""],
    ids=["text", "cut short", "another format", "empty"],
)
def test_what_gzip_did_not_write(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": FORM, "Content-Encoding": "gzip"}
    assert "gzip" in told(client.post("/v1/predict", content=body, headers=headers), 400)


def test_a_body_that_does_not_come() -> None:
    async def never() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    request = Request({"type": "http", "method": "POST", "headers": [(b"content-type", FORM.encode())]}, never)
    with pytest.raises(Refused, match="did not arrive within") as refused:
        asyncio.run(received(request, Limits(upload_seconds=1e-9)))
    assert refused.value.status == 408


def test_a_client_that_goes_away_while_it_sends() -> None:
    with pytest.raises(ClientDisconnect):
        asyncio.run(received(Stream(iter([b"--x\r\n"])).request, Limits()))


@pytest.mark.parametrize("kind", ["", "text/plain", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_another_content_type(client: TestClient, kind: str) -> None:
    answer = client.post("/v1/predict", content=b"x", headers={"Content-Type": kind})
    assert "multipart/form-data" in told(answer, 415)


def test_another_content_encoding(client: TestClient) -> None:
    headers = {"Content-Type": FORM, "Content-Encoding": "br"}
    assert "send gzip" in told(client.post("/v1/predict", content=b"x", headers=headers), 415)


@pytest.mark.parametrize(
    "body", [b"", b"--x", b"--y\r\n\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n", b"\xff" * 99]
)
@pytest.mark.parametrize("kind", [FORM, "multipart/form-data", "multipart/form-data; boundary="])
def test_forms_that_are_none(client: TestClient, body: bytes, kind: str) -> None:
    answer = client.post("/v1/predict", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 422)
    told(answer, answer.status_code)


def test_fields_that_a_form_has_not(client: TestClient, resnet18: Path) -> None:
    files = {"model": ("m.onnx", resnet18.read_bytes()), "device": (None, "cortexA76cpu")}
    assert "'device'" in told(client.post("/v1/predict", files=files), 422)
    many = [("model", (f"{k}.onnx", b"x")) for k in range(9)]
    told(client.post("/v1/compare", files=many), 400)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"colour": 1}, "colour: no such field; known are batch_size, input_shapes, dims, model, targets, measured"),
        ({"model": {"upload": "ab12"}}, "model.upload: no such field; known are hash, zoo, size, source"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": "4"}, "batch_size"),
        ({"batch_size": 10**30}, "batch_size"),
        ({"targets": "cortexA76cpu"}, "targets"),
        ({"targets": []}, "targets"),
        ({"targets": [7]}, "targets"),
        ({"dims": {"n": -1}}, "dims"),
        ({"input_shapes": {"input": [1, -2]}}, "input_shapes"),
        ({"model": {"hash": "no hash"}}, "hash"),
        ({"model": {}}, "model"),
        ([], ""),
        (7, ""),
    ],
)
def test_options_that_are_not_meant_so(client: TestClient, options: Any, named: str) -> None:
    known = {"model": {"zoo": "resnet50", "size": 224}}
    asked = {**known, **options} if isinstance(options, dict) else options
    assert named in told(client.post("/v1/predict", json=asked), 422)


def test_sizes_that_are_not_those_of_the_network(client: TestClient, form: Form, resnet18: Path) -> None:
    file = ("m.onnx", resnet18.read_bytes())
    assert "'nobody'" in told(client.post("/v1/predict", **form(file, dims={"nobody": 3})), 422)
    told(client.post("/v1/predict", **form(file, input_shapes={"input": [1]})), 422)
    graph = replace(read_onnx(resnet18), name="g").to_json().encode()
    assert "has its sizes" in told(client.post("/v1/predict", **form(("g.json", graph), dims={"n": 4})), 422)


def test_a_hash_that_nobody_knows(client: TestClient) -> None:
    assert "send its file" in told(client.post("/v1/predict", json={"model": {"hash": "0" * 64}}), 404)


def test_a_network_that_the_zoo_does_not_have(client: TestClient) -> None:
    assert "did you mean resnet50" in told(client.post("/v1/predict", json={"model": {"zoo": "resnet_50"}}), 404)


def test_unknown_targets(client: TestClient) -> None:
    known = {"model": {"zoo": "resnet50", "size": 224}}
    for route, asked in (("predict", {"targets": ["nobody"]}), ("explain", {"target": "nobody"})):
        assert "nobody" in told(client.post(f"/v1/{route}", json={**known, **asked}), 404)
    assert "nobody" in told(client.post("/v1/choose", json={"target": "nobody"}), 404)
    some = told(client.post("/v1/predict", json={**known, "targets": [f"t{k}" for k in range(900)]}), 404)
    assert len(some) < 3000
    many = told(client.post("/v1/predict", json={**known, "targets": [f"target-{k}" for k in range(10_000)]}), 422)
    assert many.startswith("10000 targets in one request, more than 1000")
    huge = {**known, "targets": ["t" * 400 for _ in range(10_000)]}
    told(client.post("/v1/predict", json=huge), 413)


def test_a_network_of_too_many_nodes(client: TestClient, form: Form) -> None:
    nodes = [helper.make_node("Relu", [f"v{k}"], [f"v{k + 1}"]) for k in range(20_001)]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("v0", "v20001"))
    data = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), ir_version=8).SerializeToString()
    assert "20001 nodes" in told(client.post("/v1/inspect", **form(("m.onnx", data))), 413)


def claiming(dims: list[int], op: str, data: bytes = b"", kind: int = TensorProto.INT64) -> bytes:
    """A file with a tensor that claims these sizes, read by an operator."""
    tensor = TensorProto(name="t", data_type=kind, dims=dims, raw_data=data)
    x, y = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1]), helper.make_empty_tensor_value_info("y")
    inputs = {"ConstantOfShape": ["t"], "Range": ["zero", "t", "one"], "Tile": ["x", "t"]}.get(op, ["x", "t"])
    scalars = [
        TensorProto(name=n, data_type=kind, raw_data=bytes([k, *bytes(7)])) for k, n in enumerate(("zero", "one"))
    ]
    graph = helper.make_graph([helper.make_node(op, inputs, ["y"])], "g", [x], [y], [tensor, *scalars])
    model: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return model


HUGE = (1 << 40).to_bytes(8, "little")


@pytest.mark.parametrize(
    "data",
    [
        claiming([1 << 62, 1 << 62], "Add", kind=TensorProto.FLOAT),
        claiming([1 << 40], "Add", kind=TensorProto.FLOAT),
        claiming([1 << 40], "Add", data=bytes(8), kind=TensorProto.FLOAT),
        claiming([-1], "Reshape"),
        claiming([1 << 40], "Reshape"),
        claiming([2], "ConstantOfShape", data=HUGE * 2),
        claiming([1], "Expand", data=HUGE),
        claiming([1], "Tile", data=HUGE),
        claiming([], "Range", data=HUGE),
        claiming([1], "ConstantOfShape", data=(100_000_000).to_bytes(8, "little")),
        claiming([1], "Add", kind=99),
    ],
    ids=range(11),
)
def test_tensors_that_claim_more_than_there_is(client: TestClient, pool: Pool, form: Form, data: bytes) -> None:
    before = pool.processes
    answer = client.post("/v1/predict", **form(("m.onnx", data)))
    if answer.status_code != 200:
        assert "m.onnx" in told(answer, 422)
    assert pool.processes == before, "nobody was ended for time or memory"


def test_external_data_is_never_opened(client: TestClient, form: Form, resnet18: Path, tmp_path: Path) -> None:
    model = onnx.load(resnet18)
    secret = tmp_path / "secret"
    os.mkfifo(secret)  # whoever opens it waits for ever
    shape = TensorProto(name="shape", data_type=TensorProto.INT64, dims=[2], data_location=TensorProto.EXTERNAL)
    shape.external_data.add(key="location", value=str(secret))
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["z"]))
    model.graph.node.append(helper.make_node("MatMul", [model.graph.output[0].name, "z"], ["y"]))
    model.graph.output[0].CopyFrom(helper.make_empty_tensor_value_info("y"))
    message = told(client.post("/v1/inspect", **form(("m.onnx", model.SerializeToString()))), 422)
    assert str(tmp_path) not in message


@pytest.mark.parametrize(
    "path", ["/../pyproject.toml", "/%2e%2e/answers.py", "/..%2fanswers.py", "/v1/../../etc/passwd"]
)
def test_no_file_of_the_machine_is_served(client: TestClient, path: str) -> None:
    told(client.get(path), 404)


def test_other_methods_are_told_which_there_are(client: TestClient) -> None:
    for method, path, allowed in (("GET", "/v1/predict", "POST"), ("POST", "/v1/targets", "GET"), ("PUT", "/", "GET")):
        answer = client.request(method, path)
        told(answer, 405)
        assert allowed in answer.headers["allow"]


def test_names_of_files_are_told_without_their_path(client: TestClient, form: Form) -> None:
    for name in ("C:\\Users\\me\\m.onnx", "/home/me/m.onnx", "../../m.onnx"):
        assert told(client.post("/v1/predict", **form((name, b"x"))), 422).startswith("m.onnx:")


def test_the_token_is_asked_for(service: Make, form: Form) -> None:
    client = service(token="a-long-enough-token", host="0.0.0.0")
    assert client.get("/healthz").status_code == 200
    for given in (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "a-long-enough"},
        {"Authorization": "Bearer é"},
    ):
        for path in ("/v1/targets", "/metrics"):
            told(client.get(path, headers={k: v.encode() for k, v in given.items()}), 401)
    assert client.get("/v1/targets", headers={"Authorization": "Bearer a-long-enough-token"}).status_code == 200


def test_others_are_let_in_by_a_token_or_on_purpose_alone() -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "example.org"):
        with pytest.raises(ConfigError, match="token"):
            Settings(host=host).checked()
        assert Settings(host=host, token="a-long-enough-token").checked()
        assert Settings(host=host, without_token=True).checked()
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        assert Settings(host=host).checked()
    with pytest.raises(ConfigError, match="too short"):
        Settings(token="short").checked()


def test_a_page_of_another_site_cannot_ask_under_its_own_name(client: TestClient, service: Make) -> None:
    told(client.get("/v1/targets", headers={"Host": "evil.example"}), 421)
    for host in ("localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"):
        assert client.get("/v1/targets", headers={"Host": host}).status_code == 200
    assert service(hosts=("mine",)).get("/v1/targets", headers={"Host": "mine:80"}).status_code == 200


def test_other_origins_are_let_in_where_asked_for_alone(client: TestClient, service: Make) -> None:
    asked = {"Origin": "https://page.example"}
    assert "access-control-allow-origin" not in client.get("/v1/targets", headers=asked).headers
    other = service(origins=("https://page.example",))
    assert other.get("/v1/targets", headers=asked).headers["access-control-allow-origin"] == "https://page.example"


def test_the_rate_of_an_address(service: Make) -> None:
    client = service(rate=2.0)
    assert [client.get("/v1/targets").status_code for _ in range(3)] == [200, 200, 429]
    assert client.get("/v1/targets").headers["retry-after"] == "30"
    assert client.get("/healthz").status_code == 200


def test_requests_come_back_evenly_over_a_minute() -> None:
    now = [0.0]
    rate = Rate(60, clock=lambda: now[0])
    assert [rate.wait("a") for _ in range(61)] == [0] * 60 + [1]
    assert rate.wait("b") == 0
    now[0] = 1.0
    assert [rate.wait("a"), rate.wait("a")] == [0, 1]
    now[0] = 3600.0
    assert [rate.wait("a") for _ in range(61)] == [0] * 60 + [1]


def test_too_many_requests_at_a_time(service: Make) -> None:
    answer = service(requests=0).get("/v1/targets")
    assert "too many requests" in told(answer, 503)
    assert answer.headers["retry-after"] == "1"


def test_a_full_disk_is_not_noticed(client: TestClient, form: Form, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile._TemporaryFileWrapper.__init__", full)
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setattr("tempfile.mkstemp", full)
    graph = b'{"padding": "' + b"x" * 3_000_000 + b'"}'
    told(client.post("/v1/predict", **form(("g.json", graph))), 422)


def test_what_was_sent_is_forgotten_when_more_comes() -> None:
    structures = Structures(100)
    for name in "abc":
        structures.add(Network(name, name, b"x" * 40))
        structures.add(Network(name, name, b"x" * 40))
    structures.add(Network("large", "large", b"x" * 101))
    assert structures.bytes == 80
    assert [structures.find(name).name for name in "bc"] == ["b", "c"]
    for gone in ("a", "large"):
        with pytest.raises(Refused, match="send its file"):
            structures.find(gone)
