"""Networks as their packages build them, for `make_zoo.py` and `measure_gpu.py`, and weights that stay finite."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any


def build(source: str, name: str, size: int) -> tuple[Any, Sequence[Any], dict[str, Any]]:
    """A network of the zoo with its example inputs: timm's as timm's benchmark builds it.

    That is at the image size, branches merged where the network knows how.
    """
    import torch

    if source == "qai_hub":
        from zoo_networks import NETWORKS

        module, arguments, *more = NETWORKS[name]()
        return module, arguments, more[0] if more else {}
    import timm
    from timm.utils.model import reparameterize_model

    module = timm.create_model(name, pretrained=False)
    if tuple(module.pretrained_cfg["input_size"][1:]) != (size, size):
        with contextlib.suppress(TypeError):  # of those that do not ask, convolutions take images of any size
            module = timm.create_model(name, pretrained=False, img_size=size)
    with torch.no_grad():
        module = reparameterize_model(module.eval())
    return module, (torch.zeros(1, 3, size, size),), {}


def leave_weights_as_they_come() -> Callable[..., Any]:
    """Drawing them on the CPU takes longer than all the rest; returns the function that draws, for the GPU."""
    import torch
    import torch.nn.init

    drawn = torch.Tensor.normal_

    def left(tensor: Any, *_: Any, **__: Any) -> Any:
        return tensor

    for name in dir(torch.nn.init):
        if name.endswith("_") and not name.startswith("_"):
            setattr(torch.nn.init, name, left)
    for name in ("normal_", "uniform_", "erfinv_", "log_normal_", "exponential_"):
        setattr(torch.Tensor, name, left)
    return drawn


def fill(module: Any, draw: Callable[..., Any]) -> None:
    """Weights of variance one over what each output reads; norms and scales one, biases zero."""
    import torch

    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.dim() >= 2:
                draw(parameter, 0.0, (parameter.numel() / parameter.shape[0]) ** -0.5)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
