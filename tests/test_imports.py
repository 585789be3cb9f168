"""Which files import which: never in a circle. (Which way imports may point is import-linter's: `make lint`.)"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "narformer"


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def _imported(tree: ast.AST, modules: Mapping[str, str]) -> Iterator[str]:
    """Modules of ours that a file imports, also within functions; not those imported for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in modules else str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        yield from _imported(node, modules)


def imports(sources: Mapping[str, str]) -> dict[str, set[str]]:
    """For each module, given with its source, those of the others that it imports."""
    return {
        name: {other for other in _imported(ast.parse(source), sources) if other in sources and other != name}
        for name, source in sources.items()
    }


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle, one of the circles; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_files_import_each_other_in_a_circle() -> None:
    graph = imports({_name(path): path.read_text() for path in PACKAGE.rglob("*.py")})
    assert sum(map(len, graph.values())) > 500
    assert circle(graph) == []


def test_a_circle_is_found_within_functions_but_not_among_types() -> None:
    a = "import narformer.b"
    within = "def f() -> None:\n    from narformer.a import x"
    types = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from narformer import a"
    assert circle(imports({"narformer.a": a, "narformer.b": within})) != []
    assert circle(imports({"narformer.a": a, "narformer.b": types})) == []
