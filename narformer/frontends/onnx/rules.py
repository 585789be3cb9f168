"""Which rule gives an operator's output shapes: one table of all that there are."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from narformer.frontends.onnx import (
    rules_elementwise,
    rules_generation,
    rules_layout,
    rules_learners,
    rules_products,
    rules_reductions,
    rules_windows,
)
from narformer.frontends.onnx.call import Rule
from narformer.frontends.onnx.rules_contributed import CONTRIBUTED
from narformer.frontends.onnx.rules_fused import BLOCKED, FUSED
from narformer.operators.lookup import find

STANDARD = ("", "ai.onnx")
RULES: Mapping[str, Rule] = {
    **rules_elementwise.RULES,
    **rules_windows.RULES,
    **rules_products.RULES,
    **rules_reductions.RULES,
    **rules_layout.RULES,
    **rules_generation.RULES,
}


def rule_of(node: onnx.NodeProto) -> Rule | None:
    """The rule for an operator, ours or one that a user has registered; None where onnx has to be asked."""
    if node.domain in STANDARD:
        return RULES.get(node.op_type)
    if node.domain == rules_learners.DOMAIN and node.op_type in rules_learners.RULES:
        return rules_learners.RULES[node.op_type]
    if node.domain == "com.microsoft.nchwc" and node.op_type in BLOCKED:
        return BLOCKED[node.op_type]
    if node.domain.startswith("com.microsoft"):
        own = FUSED.get(node.op_type) or CONTRIBUTED.get(node.op_type) or RULES.get(node.op_type)
        if own is not None:
            return own
    return find(node.op_type, node.domain).shapes
