"""A file that is no ONNX file: the message says what it is and how its network becomes one."""

from __future__ import annotations

import zipfile
from pathlib import Path

import onnx
import pytest

from narformer import read_onnx
from narformer.errors import ModelError, ModelWarning

CASES = {
    "tflite": ("model.tflite", b"\x1c\0\0\0TFL3" + bytes(100), r"python -m tf2onnx\.convert --tflite \S*model\.tflite"),
    "tflite of another name": ("model", b"\x1c\0\0\0TFL3" + bytes(100), "a TensorFlow Lite model"),
    "Keras": ("model.h5", b"\x89HDF\r\n\x1a\n" + bytes(100), r'export\("model\.onnx", format="onnx"\)'),
    "weights": (
        "model.safetensors",
        b"\x40\0\0\0\0\0\0\0{" + bytes(100),
        "holds weights without a network.*optimum-cli",
    ),
    "llama.cpp": ("model.gguf", b"GGUF\x03" + bytes(100), "holds weights without a network"),
    "OpenVINO": ("model.xml", b"<?xml version='1.0'?><net/>", "perhaps of OpenVINO"),
    "ONNX Runtime's own": ("model.ort", b"\x1c\0\0\0ORTM" + bytes(100), "the .onnx file that it was made from"),
    "gzip": ("model.onnx.gz", b"\x1f\x8b\x08" + bytes(100), r"gunzip \S*model\.onnx\.gz"),
    "a page of a login": ("model.onnx", b"<!DOCTYPE html><html></html>", "a web page"),
    "Git LFS": ("model.onnx", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "a pickle": ("model.pkl", b"\x80\x04" + bytes(100), r"torch\.onnx\.export"),
}


@pytest.mark.parametrize("case", CASES)
def test_another_format_is_named_with_what_converts_it(case: str, tmp_path: Path) -> None:
    name, content, told = CASES[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=told) as error:
        read_onnx(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("program.pt2", r"torch\.export\.load"),
        ("checkpoint.pth", r"torch\.onnx\.export"),
        ("network.keras", r"keras\.models\.load_model"),
        ("archive.onnx", "unpack it"),
    ],
)
def test_a_zip_archive_is_told_by_its_name(name: str, told: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        archive.writestr("data.pkl", "")
    with pytest.raises(ModelError, match=told):
        read_onnx(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("-", "standard input is not read"),
        ("https://example.org/model.onnx", "an address, not a file; download it"),
        ("rtx4090", "no such file; a target is given with --device"),
        ("~/model.onnx", "no such file; ~ stands for"),
        ("nowhere.onnx", "no such file$"),
    ],
)
def test_a_path_that_names_no_file_is_told_what_it_may_have_meant(path: str, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        read_onnx(path)


def _relu(opset: int) -> onnx.ModelProto:
    x, y = (onnx.helper.make_tensor_value_info(name, 1, [1, 4]) for name in "xy")
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])


@pytest.mark.parametrize("opset", [6, onnx.defs.onnx_opset_version() + 1])
def test_an_opset_that_nobody_has_read_is_noted(opset: int) -> None:
    with pytest.warns(ModelWarning, match=f"opset {opset}, read as opsets 7 to "):
        assert len(read_onnx(_relu(opset))) == 1


@pytest.mark.parametrize("opset", [7, onnx.defs.onnx_opset_version()])
def test_other_opsets_are_read_without_a_word(opset: int) -> None:
    assert len(read_onnx(_relu(opset))) == 1  # a warning is an error here
