"""Graph statistics: names and numbers agree, and sizes are what cost says."""

from __future__ import annotations

import math
from pathlib import Path

from narformer.frontends.onnx import read_onnx
from narformer.tokens.statistics import NAMES, statistics


def test_statistics_of_resnet18(resnet18: Path) -> None:
    numbers = dict(zip(NAMES, statistics(read_onnx(resnet18)), strict=True))
    assert numbers["log_macs"] == math.log1p(1_814_073_344)
    assert numbers["log_parameters"] == math.log1p(11_689_512)
    assert numbers["log_nodes"] == math.log1p(69)
    assert numbers["log_depth"] == math.log1p(3 + 8 * 7 + 1 + 3)
    assert numbers["log_count_Conv"] == math.log1p(20)
    assert numbers["log_count_other"] == numbers["log_depthwise_macs"] == 0
    assert numbers["log_matrix_macs"] == math.log1p(512_000)
    assert numbers["batch_size"] == 1
