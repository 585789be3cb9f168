"""`narformer predict --fleet`: files of this machine, answered in order by all machines of a cluster.

Files are read here, where they are; their structure goes out a few at a time, with a copy of what this machine predicts
with, so that every machine gives the answer that this one would.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from narformer.adaptation.device import devices_directory
from narformer.adaptation.predictor import with_adapted
from narformer.cli.many import CHUNK, Answer, Question, Reader
from narformer.cli.notes import note
from narformer.errors import ConfigError, NarformerError
from narformer.fleet import cluster
from narformer.fleet.scoring import in_order_with
from narformer.frontends.onnx.parsing import parsed
from narformer.measurement.store import default_store
from narformer.prediction.predictor import Predictor, predictor_file

NAMED = 1000  # files that an error's advice may have to leave out of the command


@dataclass(frozen=True)
class Kit:
    """What this machine answers with: the question, its predictor's files, those of adapted devices, the command."""

    question: Question
    predictor: Mapping[str, bytes]
    devices: Mapping[str, bytes]
    among: tuple[Path, ...]
    command: tuple[str, ...]


@dataclass(frozen=True)
class Fetched:
    """Files as they go out: contents without large weights, or why there are none, by path."""

    paths: tuple[Path, ...]
    contents: Mapping[Path, bytes]
    errors: Mapping[Path, str]


def fleet_answers(paths: Sequence[Path], question: Question, address: str) -> Generator[Answer, None, None]:
    """One Answer a file, in the order of `paths`, by the machines of the cluster at an address.

    Raises ConfigError for a cluster or a store that they cannot reach.
    """
    kit = _packed(_reachable(question), paths)
    chunks = [tuple(paths[start : start + CHUNK]) for start in range(0, len(paths), CHUNK)]
    with (
        cluster.connected(address),
        closing(in_order_with(partial(_unpacked, kit), _fetched, _answers, chunks)) as all_,
    ):
        for found in all_:
            yield from found


def _reachable(question: Question) -> Question:
    """The question with a store that every machine reaches, or without any."""
    location = question.store or default_store()
    if not question.measured or location.startswith("postgres"):
        return replace(question, store=location if question.measured else None)
    if question.store:
        raise ConfigError(
            f"--store {location}: a file that other machines do not see; give the URL of a PostgreSQL, or --no-store"
        )
    if Path(location).exists():
        note(f"{location} is a file of this machine, not asked on a fleet: what was measured is predicted")
    return replace(question, measured=False)


def _packed(question: Question, paths: Sequence[Path]) -> Kit:
    file = predictor_file(question.predictor)
    predictor = {part.name: part.read_bytes() for part in sorted(file.parent.glob(f"{file.stem}.*"))}
    devices = {part.name: part.read_bytes() for part in sorted(devices_directory().glob("*.json"))}
    question = replace(question, predictor=file.name)
    return Kit(question, predictor, devices, tuple(paths[:NAMED]), tuple(sys.argv))


def _unpacked(kit: Kit) -> Reader:
    """What a process of the cluster answers with."""
    with tempfile.TemporaryDirectory(prefix="narformer-fleet-") as temporary:
        directory = Path(temporary)
        (directory / "devices").mkdir()
        for name, content in kit.predictor.items():
            (directory / name).write_bytes(content)
        for name, content in kit.devices.items():
            (directory / "devices" / name).write_bytes(content)
        os.environ["NARFORMER_DEVICES"] = str(directory / "devices")
        sys.argv = list(kit.command)
        predictor = with_adapted(Predictor.load(directory / str(kit.question.predictor)))
    return Reader(kit.question, predictor, kit.among)


def _fetched(paths: tuple[Path, ...]) -> Fetched:
    contents, errors = {}, {}
    for path in paths:
        try:
            contents[path] = parsed(path, str(path)).SerializeToString()
        except NarformerError as error:
            errors[path] = str(error)
    return Fetched(paths, contents, errors)


def _answers(reader: Reader, fetched: Fetched) -> list[Answer]:
    answered = {answer.path: answer for answer in reader.answers(list(fetched.contents), fetched.contents)}
    return [
        Answer(str(path), errors=(fetched.errors[path],)) if path in fetched.errors else answered[str(path)]
        for path in fetched.paths
    ]
