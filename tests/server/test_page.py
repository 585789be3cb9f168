"""The page: complete, self-contained, built from its sources, and discreet about weights."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from starlette.testclient import TestClient

from narformer.frontends.canonical import network_hash
from narformer.frontends.onnx import read_onnx
from narformer.server.app import PAGE

REPOSITORY = Path(__file__).resolve().parents[2]
WEB = REPOSITORY / "web"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="the stripper of the page runs in node here")

STRIP = """
import { strip } from %r;
import { open, writeFile } from "node:fs/promises";
const file = await open(process.argv[1]);
const size = (await file.stat()).size;
const slice = async (start, end) => {
  const { buffer, bytesRead } = await file.read(new Uint8Array(end - start), 0, end - start, start);
  return buffer.subarray(0, bytesRead);
};
try {
  const { bytes, read } = await strip({ size, slice });
  await writeFile(process.argv[2], bytes);
  console.log(read);
} catch (error) {
  console.log(error.message);
  process.exitCode = 1;
}
await file.close();
"""


def stripped(path: Path) -> tuple[bytes, str]:
    """What the page would send of a file, and what the stripper said: bytes read, or why it refused."""
    out = path.with_suffix(".stripped")
    code = STRIP % (PAGE / "strip.js").as_uri()
    command = ["node", "--input-type=module", "--eval", code, "--", str(path), str(out)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert told.returncode in (0, 1), told.stderr
    return (out.read_bytes() if told.returncode == 0 else b""), told.stdout.strip()


def test_the_page_and_all_that_it_names_are_served(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert {"app.js", "style.css", "icon.svg"} == set(named)
    chunks = {name for file in PAGE.glob("*.js") for name in re.findall(r'from"\./([^"]+)"', file.read_text())}
    assert chunks, "the stripper is shared by the page and this test"
    for name in (*named, *chunks, "layout-worker.js"):
        assert client.get(f"/{name}").status_code == 200, name


def test_nothing_of_the_page_comes_from_elsewhere() -> None:
    for file in PAGE.iterdir():
        for address in re.findall(r"https?://[\w.-]+", file.read_text()):
            # A name space is a name; a licence's address is text.
            assert address == "http://www.w3.org" or file.name.endswith("LEGAL.txt"), (file.name, address)


def test_the_page_is_built_from_its_sources() -> None:
    """After a change of web/src: `npm ci && npm run build` in web."""
    files = [WEB / "package.json", WEB / "build.mjs", *sorted((WEB / "src").iterdir(), key=lambda file: file.name)]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    assert (PAGE / "sources.sha256").read_text().strip() == digest


@needs_node
@pytest.mark.parametrize("name", ["resnet18.onnx", "mobilenet_v2.onnx"])
def test_what_the_page_sends_is_the_same_network(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    model = onnx.load(REPOSITORY / "examples" / name)
    for tensor in model.graph.initializer:
        if not tensor.raw_data:
            tensor.raw_data = np.random.default_rng(0).bytes(4 * int(np.prod(tensor.dims)))
    onnx.save(model, path)
    data, read = stripped(path)
    assert len(data) < 60_000
    assert path.stat().st_size > 10_000_000
    assert int(read) < 5_000_000, "weights are not even read"
    assert network_hash(read_onnx(data)) == network_hash(read_onnx(path))


@needs_node
def test_no_weight_and_no_remark_is_sent_by_the_page(tmp_path: Path) -> None:
    secret = b"SECRET!!"
    numbers = np.frombuffer(secret * 512, np.float32)
    weights = {
        "w": numbers[:108].reshape(4, 3, 3, 3),
        "b": numbers[:4],
        "quantised": np.frombuffer(secret, np.int32),
        "sizes": np.array([1.0, 1.0, 0.5, 0.5], np.float32),
        "shape": np.array([1, -1], np.int64),
        "bound": np.array([6.0], np.float32),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "w", "b"], ["c"], kernel_shape=[3, 3], doc_string=secret.decode()),
        node("Resize", ["c", "", "sizes"], ["r"]),
        node("Constant", [], ["k"], value=numpy_helper.from_array(numbers[:2])),
        node("Constant", [], ["l"], value_floats=numbers[:3].tolist()),
        node("DequantizeLinear", ["quantised", "bound"], ["d"]),
        node("Clip", ["r", "", "bound"], ["p"]),
        node("Reshape", ["p", "shape"], ["y"], mine=[1.5, *numbers[:2].tolist()]),
        node("LinearClassifier", ["y"], ["z"], domain="ai.onnx.ml", coefficients=numbers[:6].tolist()),
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8], doc_string=secret.decode())
    y = helper.make_empty_tensor_value_info("z")
    graph = helper.make_graph(nodes, "g", [x], [y], tensors, doc_string=secret.decode())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"author": secret.decode()})
    path = tmp_path / "m.onnx"
    onnx.save(model, path)
    data, _ = stripped(path)
    for part in (secret, secret[:4], secret[4:]):
        assert part not in data
    kept = {t.name for t in onnx.load_from_string(data).graph.initializer if t.raw_data}
    assert kept == {"sizes", "shape", "bound"}
    assert [n.op_type for n in onnx.load_from_string(data).graph.node] == [n.op_type for n in nodes]


@needs_node
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"PK\x03\x04rest", "a zip archive"),
        (b"no network at all", "not an ONNX model"),
        (b"\x08\x08\x3a\xff\xff\xff\xff\x0f", "cut short"),
        (b"\x08\x08", "it holds no graph"),
        (b"\x08" + b"\xff" * 20, "no number at byte"),
    ],
)
def test_what_is_no_network_is_told_in_the_page(data: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    assert message in stripped(path)[1]
