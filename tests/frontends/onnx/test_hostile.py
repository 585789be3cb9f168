"""Files made to hurt: refused in one line, at once, without memory. The long run is benchmarks/fuzz.py."""

from __future__ import annotations

import builtins
import resource
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ModelError
from narformer.frontends.onnx import read_onnx

REPOSITORY = Path(__file__).resolve().parents[3]
NODE = helper.make_node


def model(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], **more: object) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [helper.make_empty_tensor_value_info("y")], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, **more)


@pytest.fixture(scope="module")
def fuzz() -> dict[str, object]:
    return runpy.run_path(str(REPOSITORY / "benchmarks" / "fuzz.py"))


@pytest.mark.filterwarnings("ignore")
def test_mutated_models_are_read_or_refused(fuzz: dict) -> None:
    pool = fuzz["seeds"]()
    counts = {"read": 0, "refused": 0}
    for index in range(600):
        counts[fuzz["outcome"](*fuzz["mutated"](index, 2024, pool))] += 1
    assert min(counts.values()) > 100, "mutations that all pass, or all fail at once, test nothing"


TERA = np.array([2**20, 2**20])
LARGE: dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray]]] = {
    "filled": ([NODE("ConstantOfShape", ["n"], ["y"])], {"n": TERA}),
    "tiled": ([NODE("Tile", ["x", "n"], ["y"])], {"n": TERA}),
    "expanded": ([NODE("Expand", ["one", "n"], ["y"])], {"one": np.ones(1), "n": TERA}),
    "counted": ([NODE("Range", ["a", "n", "b"], ["y"])], {"a": np.array(0), "b": np.array(1), "n": np.array(2**40)}),
    "padded": ([NODE("Pad", ["x", "n"], ["y"])], {"n": np.array([0, 0, 2**40, 0])}),
    "one-hot": ([NODE("OneHot", ["i", "n", "v"], ["y"])], {"i": TERA, "n": np.array(2**40), "v": np.ones(2)}),
}


@pytest.mark.parametrize("name", LARGE)
def test_what_would_be_large_is_never_made(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graph = read_onnx(model(*LARGE[name]))
    assert graph.nodes[-1].outputs[0].elements >= 2**40
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000, "kilobytes"


def _rank_bomb() -> onnx.ModelProto:
    """Each Gather doubles the number of axes: thirty nodes would make a billion."""
    nodes = [NODE("Gather", [f"a{k}", f"a{k}"], [f"a{k + 1}"]) for k in range(30)]
    return model([*nodes, NODE("Identity", ["a30"], ["y"])], {"a0": np.zeros((1, 1, 1), np.int64)})


def _function_bomb() -> onnx.ModelProto:
    """Each function calls the one before twice: forty would make a trillion nodes."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    made = [helper.make_function("mine", "F0", ["a"], ["b"], [NODE("Relu", ["a"], ["b"])], opsets)]
    for k in range(40):
        calls = [NODE(f"F{k}", [a], [b], domain="mine") for a, b in (("a", "m"), ("m", "b"))]
        made.append(helper.make_function("mine", f"F{k + 1}", ["a"], ["b"], calls, opsets))
    return model([NODE("F40", ["x"], ["y"], domain="mine")], {}, functions=made)


def _recursion() -> onnx.ModelProto:
    opsets = [helper.make_opsetid("mine", 1)]
    calls = [NODE("F", ["a"], ["b"], domain="mine")]
    function = helper.make_function("mine", "F", ["a"], ["b"], calls, opsets)
    return model([NODE("F", ["x"], ["y"], domain="mine")], {}, functions=[function])


def _loops() -> onnx.ModelProto:
    """Loops within loops within loops, a million rounds each."""
    empty = helper.make_empty_tensor_value_info
    nodes = [NODE("Relu", ["h"], ["h2"])]
    for _ in range(4):
        inner = helper.make_graph(
            [NODE("Identity", ["c"], ["c2"]), *nodes],
            "b",
            [empty("i"), empty("c"), empty("h")],
            [empty("c2"), empty("h2")],
        )
        nodes = [NODE("Loop", ["n", "", "h"], ["h2"], body=inner)]
    return model([NODE("Relu", ["x"], ["h"]), *nodes, NODE("Neg", ["h2"], ["y"])], {"n": np.array(10**6)})


def _overflow() -> onnx.ModelProto:
    return model([NODE("Tile", ["x", "n"], ["y"])], {"n": np.array([2**62, 2**62])})


def _empty_but_long() -> onnx.ModelProto:
    return model([NODE("Pad", ["x", "n"], ["y"])], {"n": np.array([-2, 2**62, 0, 2**62])})


def _negative() -> onnx.ModelProto:
    return model([NODE("Pad", ["x", "n"], ["y"])], {"n": np.array([-9, 0, 0, 0])})


def _split_to_pieces() -> onnx.ModelProto:
    nodes = [
        NODE("Expand", ["x", "n"], ["e"]),
        NODE("SplitToSequence", ["e"], ["s"]),
        NODE("SequenceAt", ["s", "z"], ["y"]),
    ]
    return model(nodes, {"n": np.array([2**40, 1, 1]), "z": np.array(0)})


BOMBS = {
    _rank_bomb: "no network has more than 64",
    _function_bomb: "unfold to more than",
    _recursion: "calls itself",
    _loops: "unfolds to more than",
    _overflow: "more elements than can be counted",
    _empty_but_long: "more elements than can be counted",
    _negative: "negative size",
    _split_to_pieces: "unfolds to more than",
}


@pytest.mark.parametrize("build", BOMBS, ids=lambda f: f.__name__.strip("_"))
def test_bombs_are_refused(build: object) -> None:
    with pytest.raises(ModelError, match=BOMBS[build]):  # type: ignore[index]
        read_onnx(build())  # type: ignore[operator]


@pytest.mark.parametrize("place", ["../../secret", "/etc/passwd", "link", "/dev/zero", ""])
def test_external_data_is_opened_nowhere(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for a small constant whose contents a shape depends on: then the shape is unknown."""
    (tmp_path / "secret").write_bytes(np.array([3, 2]).tobytes())
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    net = model([NODE("Reshape", ["x", "to"], ["y"], name="shaped")], {"to": np.array([3, 2])})
    net.graph.initializer[0].ClearField("raw_data")
    net.graph.initializer[0].data_location = TensorProto.EXTERNAL
    net.graph.initializer[0].external_data.add(key="location", value=place)
    path = tmp_path / "net.onnx"
    path.write_bytes(net.SerializeToString())
    opened: list[str] = []
    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda file, *a, **k: opened.append(str(file)) or real(file, *a, **k))
    with pytest.raises(ModelError, match=r"'shaped'.*depends on a shape"):
        read_onnx(path)
    assert not [name for name in opened if "secret" in name or "link" in name or name.startswith(("/etc", "/dev"))]


def _conditions(notes: int, weights: int) -> bytes:
    """A condition whose branches have so many bytes of notes, and of weights, together."""
    branches = []
    for op in ("Relu", "Neg"):
        held = numpy_helper.from_array(np.zeros(weights // 8, np.float32), "w")
        inner = [NODE(op, ["x"], ["r"]), NODE("Identity", ["r"], [op])]
        branch = helper.make_graph(inner, op, [], [helper.make_empty_tensor_value_info(op)], [held])
        branch.doc_string = "n" * (notes // 2)
        branches.append(branch)
    cast = NODE("Cast", ["x0"], ["c"], to=TensorProto.BOOL)
    made = model([cast, NODE("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])], {})
    made.graph.input.append(helper.make_tensor_value_info("x0", TensorProto.FLOAT, []))
    return made.SerializeToString()


def test_bodies_of_many_megabytes_are_refused_with_a_remedy_before_they_are_parsed() -> None:
    with pytest.raises(ModelError, match=r"bodies of If, Loop and Scan take 17 MB .* no more than 16 MB .* onnxslim"):
        read_onnx(_conditions(17 << 20, 0))


def test_weights_within_bodies_are_as_large_as_they_like() -> None:
    assert [node.op for node in read_onnx(_conditions(1 << 20, 40 << 20)).nodes] == ["Cast", "Relu", "Identity", "If"]


def test_names_that_are_no_text_are_refused_in_one_line() -> None:
    data = model([NODE("Relu", ["x"], ["y"], name="NAMEOFNODE")], {}).SerializeToString()
    with pytest.raises(ModelError, match="a name that is no text"):
        read_onnx(data.replace(b"NAMEOFNODE", b"NAME\xff\xfeNODE"))
    data = model([NODE("Relu", ["x"], ["VALUE"]), NODE("Neg", ["VALUE"], ["y"])], {}).SerializeToString()
    with pytest.raises(ModelError, match="a name that is no text"):
        read_onnx(data.replace(b"VALUE", b"\xff\xfeLUE"))
    with pytest.raises(ModelError) as caught:
        read_onnx(model([NODE("Relu", ["gh\nost"], ["y"], name="a\nb")], {}))
    assert "\n" not in str(caught.value)
