"""Networks as their packages build them, with weights that keep activations finite; for `measure_gpu.py`."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from gpu_plan import Planned


def build(row: Planned) -> tuple[Any, Sequence[Any], dict[str, Any]]:
    """The network with its example inputs, as make_zoo.py builds it."""
    import torch

    if row.source == "qai_hub":
        from zoo_networks import NETWORKS

        module, arguments, *more = NETWORKS[row.name]()
        return module, arguments, more[0] if more else {}
    import timm
    from timm.utils.model import reparameterize_model

    module = timm.create_model(row.name, pretrained=False)
    if tuple(module.pretrained_cfg["input_size"][1:]) != (row.size, row.size):
        with contextlib.suppress(TypeError):  # of those that do not ask, convolutions take images of any size
            module = timm.create_model(row.name, pretrained=False, img_size=row.size)
    with torch.no_grad():
        module = reparameterize_model(module.eval())
    return module, (torch.zeros(1, 3, row.size, row.size),), {}


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
