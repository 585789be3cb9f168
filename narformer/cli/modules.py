"""`--by module` of `explain` and `inspect`: the options, and when there is no tree."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING

import typer

from narformer.errors import ConfigError

if TYPE_CHECKING:
    from narformer.modules import Module


class By(str, Enum):
    """What nodes are grouped by."""

    operator = "operator"
    module = "module"


LEVELS = 2  # what is shown of the tree where nobody says how much: the blocks of most networks
BY = typer.Option(By.operator, "--by", help="Group nodes by operator, or by the module that calls them.")
DEPTH = typer.Option(None, "--depth", min=0, help=f"With --by module: how many levels of modules to show; {LEVELS}.")


def levels(by: By, depth: int | None) -> int | None:
    """How many levels to show; None where nodes are grouped by operator. Raises ConfigError for a depth there."""
    if by is By.module:
        return LEVELS if depth is None else depth
    if depth is not None:
        raise ConfigError(f"--depth {depth} says how many levels of modules to show: add --by module")
    return None


def check_modules(model: str, found: Sequence[Module], depth: int) -> None:
    """Raises ConfigError where a file says nothing of its modules."""
    if depth and len(found) == 1:
        raise ConfigError(
            f"{model}: no node has a module: neither names of nodes and weights nor metadata of the file have a path "
            "in them; export it again with torch.onnx.export, or group --by operator"
        )
