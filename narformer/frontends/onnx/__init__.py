"""An ONNX file, its bytes or a model in memory → Graph: read.py reads, walk.py gives every value a shape."""

from narformer.frontends.onnx.read import read_onnx

__all__ = ["read_onnx"]
