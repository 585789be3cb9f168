"""Parametric families of networks, written as weightless ONNX."""
