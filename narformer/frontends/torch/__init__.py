"""A PyTorch module → Graph, without a file: torch.export traces it, and its program is read operator by operator."""

from narformer.frontends.torch.read import read_torch

__all__ = ["read_torch"]
