"""The table of operators: what kind of kernel each is, what it computes, reads and writes, and what its operands are.

operator_of(node) finds the row of a node; it never fails, and says by `known` whether there is one. kernel_kind(node)
is the kind of kernel the node runs as. KINDS lists all kinds with their classes. `register` adds a row of your own.
"""

from narformer.operators.lookup import kernel_kind, operator_of, register
from narformer.operators.operator import CLASSES, KINDS, Operator

__all__ = ["CLASSES", "KINDS", "Operator", "kernel_kind", "operator_of", "register"]
