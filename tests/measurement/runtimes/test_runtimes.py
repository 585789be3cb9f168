"""Each runtime that is installed runs a network; each that is not says what brings it."""

from __future__ import annotations

import builtins
import subprocess
import sys
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from narformer.errors import ConfigError, MissingExtraError, ModelError
from narformer.measurement.here import available
from narformer.measurement.runtimes.registry import RUNTIMES, runtime
from narformer.measurement.runtimes.runtime import processor_of
from narformer.measurement.weights import Runnable, runnable
from narformer.prediction.target import measured_target

PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "openvino", "pytorch": "torch", "torchcompile": "torch"}


@pytest.fixture
def uninstalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which no runtime can be imported."""
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.partition(".")[0] in PACKAGES.values():
            raise ImportError(name)
        return real(name, *rest, **more)

    for package in set(PACKAGES.values()):
        monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)


def small(op: str = "Relu", domain: str = "") -> Runnable:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], kernel_shape=(3, 3), pads=(1, 1, 1, 1)),
        helper.make_node(op, ["c"], ["y"], name="last", domain=domain),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 8, 8))]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 4, 8, 8))]
    weight = numpy_helper.from_array(np.ones((4, 3, 3, 3), np.float32), "w")
    graph = helper.make_graph(nodes, "small", inputs, outputs, [weight])
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    graph.value_info.append(helper.make_tensor_value_info("c", TensorProto.FLOAT, (1, 4, 8, 8)))
    model: onnx.ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return runnable(model)


# torchcompile shares all but one call with pytorch, and compiling takes longer than all other tests here.
@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "pytorch"])
def test_a_network_runs_and_one_with_an_unknown_operator_is_rejected_by_name(name: str) -> None:
    pytest.importorskip(PACKAGES[name])
    chosen = runtime(name)
    assert chosen.processors()[0] == "cpu"
    target = measured_target("here", name, "1.0", "cpu")
    run = chosen.load(small(), target)
    run()
    assert run() is None
    with pytest.raises(ModelError, match="Wibble"):
        chosen.load(small("Wibble", "odd"), target)


def test_importing_openvino_does_not_start_its_telemetry() -> None:
    pytest.importorskip("openvino")
    code = (
        "import sys\n"
        "from narformer.measurement.runtimes.registry import runtime\n"
        "runtime('openvino').version()\n"
        "sys.exit(any(name.startswith('openvino_telemetry') for name in sys.modules))\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", PACKAGES)
def test_an_absent_runtime_names_the_command_that_brings_it(name: str, uninstalled: None) -> None:
    with pytest.raises(MissingExtraError, match="pip install"):
        RUNTIMES[name].version()


def test_here_lists_what_is_present_and_what_would_bring_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: object) -> str:
        raise MissingExtraError("OpenVINO is not installed: pip install openvino")

    def broken(self: object) -> str:
        raise OSError("libtorch.so: cannot open shared object file")

    monkeypatch.setattr(type(RUNTIMES["openvino"]), "version", absent)
    monkeypatch.setattr(type(RUNTIMES["pytorch"]), "version", broken)
    entries = {(entry.runtime, entry.processor): entry for entry in available()}
    assert entries["onnxruntime", "cpu"].device.endswith(":fp32:1t")
    assert "pip install openvino" in entries["openvino", ""].missing
    assert "libtorch.so" in entries["pytorch", ""].missing
    assert [bool(entry.missing) for entry in available()] == sorted(bool(entry.missing) for entry in available())


def test_a_target_of_this_machine_says_what_it_runs_on() -> None:
    def processor(name: str, processor: str) -> str:
        return processor_of(measured_target("here", name, "1.0", processor), ("tensorrt", "gpu", "npu"))

    assert processor("onnxruntime", "cpu") == "cpu"
    assert processor("torchcompile", "cuda") == "cuda"
    assert processor("onnxruntime", "tensorrt") == "tensorrt"
    assert processor("openvino", "npu") == "npu"


def test_an_unknown_runtime_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown runtime 'tensorrt'"):
        runtime("tensorrt")
