"""Who writes which ATen operator: the tables of all subjects together."""

from __future__ import annotations

from collections.abc import Mapping

from narformer.frontends.torch import (
    elementwise,
    generation,
    layout,
    normalization,
    products,
    recurrent,
    reductions,
    windows,
)
from narformer.frontends.torch.call import Handler

OPERATORS: Mapping[str, Handler] = {
    **layout.OPERATORS,
    **products.OPERATORS,
    **windows.OPERATORS,
    **normalization.OPERATORS,
    **elementwise.OPERATORS,
    **reductions.OPERATORS,
    **generation.OPERATORS,
    **recurrent.OPERATORS,
}
