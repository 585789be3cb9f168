"""What a trained model says of each kind of kernel, for those who adapt it or look into it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from narformer.datasets.cache import TokenCache
from narformer.datasets.kernel_cache import KernelCache
from narformer.models.interface import KernelSum, LatencyModel
from narformer.tokens import runtime_kernels
from narformer.training.batching import predict_rows, to_tensors


@torch.inference_mode()
def parts_by_kind(
    model: LatencyModel, tokens: TokenCache | KernelCache, batch_size: int = 64
) -> npt.NDArray[np.float64]:
    """ms of every row by kind of kernel on every output: (rows, kinds, outputs).

    A model that tells only totals has them all in the first kind.
    """
    rows, kinds = np.arange(len(tokens)), len(runtime_kernels.KINDS)
    if not isinstance(model, KernelSum) or not isinstance(tokens, KernelCache):
        totals = predict_rows(model, tokens, rows)
        return np.pad(totals[:, None], ((0, 0), (0, kinds - 1), (0, 0)))
    model.eval()
    device = next(model.parameters()).device
    found = []
    for start in range(0, len(rows), batch_size):
        batch = tokens.batch(rows[start : start + batch_size])
        each = model.parts(*to_tensors(batch, device))[1][: len(batch.features)].cpu().double().numpy()
        kind = batch.features[:, runtime_kernels.FIRST_KIND : runtime_kernels.FIRST_WINDOW].argmax(axis=1)
        parts = np.zeros((len(batch.static), kinds, each.shape[1]))
        np.add.at(parts, (batch.graph, kind), each)
        found.append(parts)
    return np.concatenate(found)
