"""Shapes of what scikit-learn's estimators become are those that ONNX Runtime gives."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import narformer
from narformer.frontends.onnx import read_onnx

DOMAIN = "ai.onnx.ml"
KERNEL = {"kernel_params": [0.1, 0.0, 3.0], "support_vectors": [0.2] * 70}
PAIRS = {
    "kernel_type": "RBF",
    "coefficients": [0.1] * 30,
    "rho": [0.1] * 6,
    "vectors_per_class": [1, 2, 3, 4],
    **KERNEL,
}
ODDS = {"prob_a": [0.1] * 6, "prob_b": [0.1] * 6}
TWO = {"coefficients": [0.1] * 10, "rho": [0.1], "vectors_per_class": [5, 5]}
PLANES = {"kernel_params": [0.1, 0.0, 3.0], "kernel_type": "LINEAR", "coefficients": [0.1] * 21, "rho": [0.1]}
NODES: list[tuple[str, dict[str, object]]] = [
    ("Normalizer", {"norm": "L1"}),
    ("Scaler", {"offset": [0.0] * 7, "scale": [1.0] * 7}),
    ("Imputer", {"imputed_value_floats": [0.0] * 7, "replaced_value_float": -1.0}),
    ("FeatureVectorizer", {"inputdimensions": [7]}),
    ("LinearRegressor", {"coefficients": [0.1] * 21, "intercepts": [0.1] * 3, "targets": 3}),
    ("LinearRegressor", {"coefficients": [0.1] * 7, "intercepts": [0.1]}),
    ("SVMRegressor", {"kernel_type": "RBF", "coefficients": [0.1] * 10, "n_supports": 10, "rho": [0.1], **KERNEL}),
    ("SVMClassifier", {"classlabels_ints": [0, 1, 2, 3], **PAIRS}),
    ("SVMClassifier", {"classlabels_ints": [0, 1, 2, 3], **PAIRS, **ODDS}),
    ("SVMClassifier", {"classlabels_ints": [0, 1], **PAIRS, **TWO}),
    ("SVMClassifier", {"classlabels_strings": ["a", "b", "c"], **PLANES}),
]


# A vector is one example; ONNX Runtime takes it for seven of one feature where features are put together.
CASES = [
    (op, told, shape) for op, told in NODES for shape in ((5, 7), (7,)) if (op, shape) != ("FeatureVectorizer", (7,))
]


@pytest.mark.parametrize(("op", "attributes", "shape"), CASES)
def test_the_shapes_of_an_estimator(op: str, attributes: dict[str, object], shape: tuple[int, ...]) -> None:
    outputs = ["label", "y"] if op == "SVMClassifier" else ["y"]
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(op, ["x"], outputs, domain=DOMAIN, **attributes)],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 3)],
        ir_version=8,
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = [np.shape(value) for value in session.run(None, {"x": np.ones(shape, np.float32)})]
    assert [tensor.shape for tensor in read_onnx(model).nodes[0].outputs] == expected


def test_a_pipeline_of_a_scaler_and_a_classifier_is_predicted() -> None:
    """As skl2onnx writes it: any number of rows, and scores as a list of dictionaries."""
    make = helper.make_node
    nodes = [
        make("Imputer", ["x"], ["a"], domain=DOMAIN, imputed_value_floats=[0.0], replaced_value_float=-1.0),
        make("Scaler", ["a"], ["b"], domain=DOMAIN, offset=[0.0], scale=[1.0]),
        make("SVMClassifier", ["b"], ["label", "scores"], domain=DOMAIN, classlabels_ints=[0, 1, 2, 3], **PAIRS),
        make("Normalizer", ["scores"], ["shares"], domain=DOMAIN, norm="L1"),
        make("ZipMap", ["shares"], ["maps"], domain=DOMAIN, classlabels_int64s=[0, 1, 2, 3]),
    ]
    scores = helper.make_sequence_type_proto(
        helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    )
    graph = helper.make_graph(
        nodes,
        "pipeline",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 7])],
        [helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]), onnx.helper.make_value_info("maps", scores)],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 3)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8)
    one, many = (narformer.predict(model, devices="epyc-turin", batch_size=rows, measured=False)[0] for rows in (1, 8))
    assert 0 < one.latency_ms <= many.latency_ms
