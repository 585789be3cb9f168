"""The zoo: networks that people use, structure only, in one compact file beside this one.

Each is the Graph that `read_torch` reads of the module as a public package builds it, at batch 1, with the names of its
nodes, which tell the module that calls them. The file holds blocks of a few similar networks, each block compressed by
itself: what differs among their nodes is listed once, and a network is a list of places in that list. To load a network
is to read one block. `benchmarks/make_zoo.py` makes the file; docs/reference/zoo.md tells what is in it.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import lzma
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from narformer.errors import ConfigError, DataError
from narformer.graph import Graph, Node, Operand, Tensor

FILE = Path(__file__).parent / "zoo.bin"
# Networks of these packages can change with their version; against tables of latencies these were checked.
CHECKED: Mapping[str, str] = {"timm": "1.0.31", "torchvision": "0.29.1", "transformers": "5.24.0"}
_MAGIC = b"narformer zoo 1\n"
_NETWORKS_IN_BLOCK = 6
_NODES_IN_BLOCK = 800  # that differ
_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
# How an operand comes about, as the file says it: computed, or a constant that training adjusts, that it does not, or
# of which that is not known.
_COMPUTED, _TRAINED, _BUFFER, _CONSTANT = range(4)
_TRAINED_AS: Mapping[int, bool | None] = {_TRAINED: True, _BUFFER: False, _CONSTANT: None}


class Entry(NamedTuple):
    """One network. source: the list that has it (timm, qai_hub). size: of its square image, 0 where it has none."""

    source: str
    name: str
    size: int


class _Zoo(NamedTuple):
    path: Path
    entries: Mapping[Entry, tuple[int, int]]  # block, place in it
    blocks: Sequence[tuple[int, int]]  # offset, bytes
    made: Mapping[str, str]


def names(source: str | None = None, path: Path = FILE) -> tuple[Entry, ...]:
    """All networks, or those of one source. Raises DataError where the file cannot be read."""
    return tuple([entry for entry in _zoo(path).entries if source in (None, entry.source)])


def made_by(path: Path = FILE) -> Mapping[str, str]:
    """Versions of the packages that built the networks, by name."""
    return _zoo(path).made


def check_versions(path: Path = FILE) -> None:
    """Raises DataError where other versions than CHECKED built the networks: a table's latencies may be of others."""
    made = made_by(path)
    other = [f"{name} {made.get(name, 'unknown')}" for name, version in CHECKED.items() if made.get(name) != version]
    if other:
        wanted = " ".join(f"{name}=={version}" for name, version in CHECKED.items())
        raise DataError(
            f"{path}: made with {', '.join(other)}, whose networks may not be those that were measured; take the "
            f"package's own file, or install {wanted} and make it with benchmarks/make_zoo.py"
        )


def load(name: str, size: int | None = None, *, source: str | None = None, path: Path = FILE) -> Graph:
    """The Graph of one network, at batch 1, as a file of it would say it (not in canonical form).

    size: of its square image; it may be left out for a network that is there at one size. source: where two lists have
    a network of this name at this size; timm's by default.
    Raises ConfigError for a network that the zoo does not have, DataError where the file cannot be read.

    >>> from narformer.datasets import zoo
    >>> zoo.load("resnet18", 224).inputs[0].shape
    (1, 3, 224, 224)
    """
    zoo = _zoo(path)
    found = [e for e in zoo.entries if e.name == name and source in (None, e.source)]
    if not found:
        close = difflib.get_close_matches(name, {e.name for e in zoo.entries}, 3)
        hint = f"; did you mean {' or '.join(close)}?" if close else "; narformer.datasets.zoo.names() lists all"
        raise ConfigError(f"the zoo has no network {name!r}{hint}")
    there = [e for e in found if size in (None, e.size)]
    there = [e for e in there if e.source == there[0].source]
    if len(there) != 1:
        spelt = ", ".join([str(e.size) for e in (there or found) if e.size] or ["its only size, which has no number"])
        raise ConfigError(f"the zoo has {name!r} at {spelt}" + ("; say which size" if there else f", not at {size}"))
    block, place = zoo.entries[there[0]]
    rows, networks = _block(path, block)
    return _graph(name, rows, networks[place])


def state(entry: Entry, path: Path = FILE) -> str | None:
    """A digest of what the file says of a network and of its neighbours there; None for one that it does not have."""
    zoo = _zoo(path)
    if entry not in zoo.entries:
        return None
    block, place = zoo.entries[entry]
    return f"{_block_digest(path, block)}:{place}"


@functools.cache
def _block_digest(path: Path, number: int) -> str:
    offset, length = _zoo(path).blocks[number]
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return hashlib.sha256(file.read(length)).hexdigest()[:16]
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); fetch it again") from error


@functools.lru_cache(maxsize=4)
def _zoo(path: Path) -> _Zoo:
    try:
        with path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise DataError(f"{path}: not a zoo, or one of another version; make it with benchmarks/make_zoo.py")
            length = int.from_bytes(file.read(4), "little")
            header = json.loads(lzma.decompress(file.read(length)))
            start = file.tell()
    except (OSError, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); make it with benchmarks/make_zoo.py") from error
    entries = {Entry(source, name, size): (block, place) for source, name, size, block, place in header["entries"]}
    blocks = [(start + offset, length) for offset, length in header["blocks"]]
    return _Zoo(path, entries, blocks, header["made"])


@functools.lru_cache(maxsize=4)
def _block(path: Path, number: int) -> tuple[list[Any], list[Any]]:
    """Rows of the nodes that differ in a block, and its networks."""
    offset, length = _zoo(path).blocks[number]
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = json.loads(lzma.decompress(file.read(length)))
    except (OSError, lzma.LZMAError, ValueError) as error:
        raise DataError(f"{path}: a part of it cannot be read ({error}); fetch it again") from error
    return data["nodes"], data["networks"]


class _Kind(NamedTuple):
    """What nodes that do the same have in common; operands without their sources."""

    op: str
    attributes: Mapping[str, Any]
    operands: tuple[Operand, ...]
    computed: tuple[bool, ...]
    outputs: tuple[Tensor, ...]
    left_out: tuple[int, ...]
    domain: str


def _kind(row: Sequence[Any]) -> _Kind:
    op, attributes, operands, outputs, left_out, domain = row
    return _Kind(
        op,
        {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()},
        tuple(
            [
                Operand(
                    Tensor(tuple(shape), dtype),
                    value=tuple(value[0]) if value else None,
                    trained=_TRAINED_AS.get(kind),
                )
                for shape, dtype, kind, *value in operands
            ]
        ),
        tuple([operand[2] == _COMPUTED for operand in operands]),
        tuple([Tensor(tuple(shape), dtype) for shape, dtype in outputs]),
        tuple(left_out),
        domain,
    )


def _graph(name: str, rows: Sequence[Any], network: Mapping[str, Any]) -> Graph:
    kinds = {number: _kind(rows[number]) for number in set(network["nodes"])}
    sources = iter(network["sources"])
    shared = {(node, place): group for node, place, group in network["shared"]}
    nodes: list[Node] = []
    called = _unfolded(network["names"])
    for index, number in enumerate(network["nodes"]):
        kind = kinds[number]
        operands: list[Operand] = []
        for place, (operand, computed) in enumerate(zip(kind.operands, kind.computed, strict=True)):
            if computed:
                port, back = divmod(next(sources), _FAR)
                operands.append(operand._replace(source=index - back, output=port))  # inputs lie before node 0
            elif operand.value is not None:
                operands.append(operand)
            else:
                group = shared.get((index, place))
                named = f"{called[index]}.{place}" if group is None else f"shared.{group}"
                operands.append(operand._replace(name=named))
        nodes.append(
            Node(
                called[index],
                kind.op,
                tuple(operands),
                kind.outputs,
                kind.attributes,
                kind.domain,
                left_out=kind.left_out,
            )
        )
    inputs = tuple([Tensor(tuple(shape), dtype) for shape, dtype in network["inputs"]])
    return Graph(tuple(nodes), inputs, tuple(network["input_names"]), name)


_FAR = 1 << 24  # nodes that a source may lie back


def _unfolded(text: str) -> list[str]:
    """Names, of which each line says how many letters it shares with the one before."""
    names: list[str] = []
    before = ""
    for line in text.split("\n"):
        count, _, rest = line.partition(" ")
        before = before[: int(count)] + rest
        names.append(before)
    return names


def _folded(names: Sequence[str]) -> str:
    lines: list[str] = []
    before = ""
    for name in names:
        count = next(
            (k for k, (a, b) in enumerate(zip(before, name, strict=False)) if a != b), min(len(before), len(name))
        )
        lines.append(f"{count} {name[count:]}")
        before = name
    return "\n".join(lines)


# Writing.


def write(networks: Iterable[tuple[Entry, Graph]], path: Path, made: Mapping[str, str]) -> None:
    """A zoo of these networks; those that are alike should come one after the other."""
    entries: list[list[Any]] = []
    blocks: list[bytes] = []
    places: list[tuple[int, int]] = []
    table: dict[str, int] = {}
    rows: list[dict[str, Any]] = []

    def finish() -> None:
        text = '{"nodes":[' + ",".join(table) + '],"networks":' + _json(rows) + "}"
        blocks.append(lzma.compress(text.encode(), lzma.FORMAT_XZ, filters=_FILTERS))
        table.clear()
        rows.clear()

    for entry, graph in networks:
        if rows and (len(rows) >= _NETWORKS_IN_BLOCK or len(table) >= _NODES_IN_BLOCK):
            finish()
        entries.append([*entry, len(blocks), len(rows)])
        rows.append(_row(graph, table))
    if rows:
        finish()
    offset = 0
    for block in blocks:
        places.append((offset, len(block)))
        offset += len(block)
    header = lzma.compress(_json({"made": dict(made), "entries": entries, "blocks": places}).encode())
    path.write_bytes(b"".join([_MAGIC, len(header).to_bytes(4, "little"), header, *blocks]))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _row(graph: Graph, table: dict[str, int]) -> dict[str, Any]:
    """A network as the file has it; adds to the table the nodes that are not yet there."""
    readers: dict[str, list[tuple[int, int]]] = {}
    numbers: list[int] = []
    sources: list[int] = []
    for index, node in enumerate(graph.nodes):
        operands: list[list[Any]] = []
        for place, o in enumerate(node.operands):
            shape, dtype = list(o.tensor.shape), o.tensor.dtype
            if o.source is not None:
                sources.append(o.output * _FAR + index - o.source)
                operands.append([shape, dtype, _COMPUTED])
                continue
            kind = _CONSTANT if o.trained is None else _TRAINED if o.trained else _BUFFER
            value = None if o.trained or o.value is None else [v if isinstance(v, int) else float(v) for v in o.value]
            operands.append([shape, dtype, kind] if value is None else [shape, dtype, kind, value])
            if value is None and o.name:
                readers.setdefault(o.name, []).append((index, place))
        outputs = [[list(t.shape), t.dtype] for t in node.outputs]
        attributes = {k: list(v) if isinstance(v, tuple) else v for k, v in node.attributes.items()}
        row = [node.op, attributes, operands, outputs, list(node.left_out), node.domain]
        numbers.append(table.setdefault(_json(row), len(table)))
    several = [places for places in readers.values() if len(places) > 1]
    return {
        "names": _folded([node.name for node in graph.nodes]),
        "nodes": numbers,
        "sources": sources,
        "shared": [[*place, group] for group, places in enumerate(several) for place in places],
        "inputs": [[list(t.shape), t.dtype] for t in graph.inputs],
        "input_names": list(graph.input_names),
    }
