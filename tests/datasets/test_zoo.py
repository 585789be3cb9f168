"""The zoo: what is written is read again; what it does not have is told; known networks cost what is published."""

from __future__ import annotations

from pathlib import Path

import pytest

from narformer.cost import graph_cost
from narformer.datasets import zoo
from narformer.errors import ConfigError, DataError
from narformer.frontends.canonical import canonical
from narformer.graph import Graph, Node, Operand, Tensor


def small(width: int, name: str = "small") -> Graph:
    """Two layers that share their weight, a constant that is known, and a node with two outputs."""
    x = Tensor((1, width))
    weight = Operand(Tensor((width, width)), name="w", trained=True)
    mask = Operand(Tensor((1, width)), name="mask", trained=False)
    half = Tensor((1, width // 2))
    return Graph(
        (
            Node("a/linear", "Gemm", (Operand(x, ~0), weight), (x,)),
            Node("a/linear_1", "Gemm", (Operand(x, 0), weight, Operand(Tensor((width,)), name="b")), (x,)),
            Node("b/mul", "Mul", (Operand(x, 1), Operand(Tensor(()), value=(0.5,))), (x,)),
            Node("c/add", "Add", (Operand(x, 2), mask), (x,)),
            Node("c/split", "Split", (Operand(x, 3),), (half, half), {"axis": 1}),
            Node("c/cat", "Concat", (Operand(half, 4, 1), Operand(half, 4), Operand(x, ~1)), (x,), {"axis": 1}),
            Node("r", "Resize", (Operand(x, 5), Operand(Tensor((4,)))), (x,), {"mode": "linear"}, left_out=(1,)),
        ),
        (x, x),
        ("x", "y"),
        name,
    )


def test_networks_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "zoo.bin"
    graphs = {zoo.Entry("ours", f"n{width}", width): small(width) for width in range(2, 42, 2)}
    zoo.write(graphs.items(), path, {"torch": "2"})
    assert zoo.names(path=path) == tuple(graphs)
    assert zoo.made_by(path) == {"torch": "2"}
    for entry, graph in graphs.items():
        read = zoo.load(entry.name, entry.size, path=path)
        assert read.hash == graph.hash
        assert canonical(read).hash == canonical(graph).hash
        assert graph_cost(read) == graph_cost(graph)
        assert [node.name for node in read.nodes] == [node.name for node in graph.nodes]
        assert [node.left_out for node in read.nodes] == [node.left_out for node in graph.nodes]
        assert [o.trained for node in read.nodes for o in node.operands] == [
            o.trained for node in graph.nodes for o in node.operands
        ]
        assert read.nodes[2].operands[1].value == (0.5,)


def test_the_state_of_a_network_is_that_of_its_part_of_the_file(tmp_path: Path) -> None:
    entries = [zoo.Entry("ours", f"n{k}", k) for k in range(20)]
    widths = [[2 * k for k in range(20)], [2 * k for k in range(19)] + [99]]
    paths = [tmp_path / "a.bin", tmp_path / "b.bin"]
    for path, of_file in zip(paths, widths, strict=True):
        zoo.write([(e, small(width + 2)) for e, width in zip(entries, of_file, strict=True)], path, {"torch": "2"})
    first, second = ([zoo.state(entry, path) for entry in entries] for path in paths)
    assert first[:6] == second[:6]
    assert first[-1] != second[-1]
    assert len(set(first)) == 20
    assert zoo.state(zoo.Entry("ours", "n0", 1), paths[0]) is None


def test_what_the_zoo_does_not_have_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no network 'resnet1'; did you mean resnet\d+"):
        zoo.load("resnet1")
    with pytest.raises(ConfigError, match=r"'resnet18' at .*, not at 7"):
        zoo.load("resnet18", 7)
    with pytest.raises(ConfigError, match="say which size"):
        zoo.load("resnet18")


def test_a_file_that_is_no_zoo_is_told(tmp_path: Path) -> None:
    path = tmp_path / "zoo.bin"
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match="not a zoo"):
        zoo.names(path=path)
    with pytest.raises(DataError, match="cannot be read"):
        zoo.names(path=tmp_path / "absent.bin")
    whole = zoo.FILE.read_bytes()
    path.write_bytes(whole[:20000])
    last = zoo.names(path=path)[-1]
    with pytest.raises(DataError, match="a part of it cannot be read"):
        zoo.load(last.name, last.size, path=path)
    path = tmp_path / "shorter.bin"
    path.write_bytes(whole[:1000])
    with pytest.raises(DataError, match="cannot be read"):
        zoo.names(path=path)


# Published: each in thousands of millions of MACs at this size, and parameters in millions (the papers, torchvision).
PUBLISHED = [
    ("resnet50", 224, 4.09, 25.56),
    ("vit_base_patch16_224", 224, 17.56, 86.57),
    ("swin_tiny_patch4_window7_224", 224, 4.51, 28.29),
    ("convnext_tiny", 224, 4.46, 28.59),
    ("efficientnet_b0", 224, 0.385, 5.29),
    ("mobilenetv3_large_100", 224, 0.217, 5.48),
    ("densenet121", 224, 2.83, 7.98),
    ("regnety_032", 224, 3.19, 19.44),
]


@pytest.mark.parametrize(("name", "size", "gmacs", "parameters"), PUBLISHED, ids=[row[0] for row in PUBLISHED])
def test_networks_of_the_zoo_cost_what_is_published(name: str, size: int, gmacs: float, parameters: float) -> None:
    cost = graph_cost(zoo.load(name, size, source="timm"))
    assert cost.macs / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert cost.parameters / 1e6 == pytest.approx(parameters, rel=0.001)


# Published in the papers, or by Qualcomm with its latencies (NAFNet is as wide as it runs there, SESR has its linear
# blocks as they are trained, SuperPoint and MobileFaceNet read two images and mirror images, CLIP five texts).
PHONES = [
    ("real_esrgan_x4plus", None, 16.70),
    ("yolov3", None, 61.95),
    ("osnet", 0.98, 2.2),
    ("u2net_segmentation", None, 44.0),
    ("nafnet_denoise", None, 115.98),
    ("nafnet_deblur", None, 67.89),
    ("sesr_m5", None, 0.343),
    ("mobile_facenet", 4 * 0.22, 1.0),
    ("superpoint", 2 * 26.1, 1.30),
    ("bert_base_uncased_hf", None, 109.5),
    ("ffnet_78s", None, 27.5),
    ("ffnet_122ns_lowres", None, 32.1),
    ("pspnet", None, 65.7),
    ("deeplab_xception", None, 41.26),
    ("mediapipe_pose:pose_landmark_detector", None, 3.36),
    ("foot_track_net", None, 2.53),
    ("cavaface", None, 65.5),
    ("facemap_3dmm", None, 5.42),
    ("yolox", None, 8.98),
    ("easyocr:detector", None, 20.8),
    ("detr_resnet50", None, 41.5),
]


@pytest.mark.parametrize(("name", "gmacs", "parameters"), PHONES, ids=[row[0] for row in PHONES])
def test_networks_of_phones_cost_what_is_published(name: str, gmacs: float | None, parameters: float) -> None:
    cost = graph_cost(zoo.load(name, source="qai_hub"))
    assert cost.parameters / 1e6 == pytest.approx(parameters, rel=0.015)
    assert gmacs is None or cost.macs / 1e9 == pytest.approx(gmacs, rel=0.01)


def test_the_zoo_has_the_networks_that_people_use() -> None:
    entries = zoo.names("timm")
    assert len(entries) == len(set(entries)) > 1400
    assert len({entry.name for entry in entries}) > 1150
    assert len({entry.name.partition(":")[0] for entry in zoo.names("qai_hub")}) == 121
    assert set(zoo.made_by()) >= {"torch", "timm"}
    assert zoo.FILE.stat().st_size < 12e6
