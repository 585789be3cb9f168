"""Many files in one call: read and answered a chunk at a time, by all cores, in the order they were given."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from narformer.cli.inputs import NOTHING, noted, read_each
from narformer.errors import NarformerError, UserError
from narformer.processes import ProcessDiedError, in_order_with

if TYPE_CHECKING:
    from narformer.frontends.sizes import Sizes
    from narformer.graph import Graph
    from narformer.prediction.estimate import Estimate
    from narformer.prediction.predictor import Predictor

CHUNK = 16  # files: enough for one run of the model, few enough that results come in steadily
FEW = 48  # files, below which starting processes takes longer than it saves


@dataclass(frozen=True)
class Question:
    """What is asked of every file; as the options of `narformer predict`. sizes: without a batch size."""

    devices: tuple[str, ...] | None
    sizes: Sizes
    predictor: str | None
    store: str | None
    measured: bool
    batch_sizes: tuple[int | None, ...] = (None,)

    def each_size(self) -> list[Sizes]:
        """The sizes at which every file is read: at each of the batch sizes."""
        return [replace(self.sizes, batch_size=batch_size) for batch_size in self.batch_sizes]


@dataclass(frozen=True)
class Answer:
    """What is said of one file: an Estimate a device, what went wrong, and what is worth knowing, a line each."""

    path: str
    estimates: tuple[Estimate, ...] = ()
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def answers(paths: Sequence[Path], question: Question, jobs: int) -> Generator[Answer, None, None]:
    """One Answer a file, in the order of `paths`, as they come; by this process alone where the files are few.

    Raises DataError and StoreError where predictor or store cannot be opened, UserError where a process dies.
    """
    from narformer.adaptation.predictor import default_predictor

    chunks = [paths[start : start + CHUNK] for start in range(0, len(paths), CHUNK)]
    reader = Reader(question, default_predictor(question.predictor), paths)
    if jobs < 2 or len(paths) < FEW:
        for chunk in chunks:
            yield from reader.answers(chunk)
        return
    # What cannot be opened has been told by now; a connection is not made to be forked.
    reader.close()
    answered = 0
    try:
        for found in in_order_with(partial(_loaded, question, paths), _answers, chunks, jobs):
            yield from found
            answered += len(found)
    except ProcessDiedError as error:
        raise UserError(
            f"{paths[answered]} or a file soon after it: the process that read it was killed, perhaps for want of "
            "memory; --jobs 1 reads one file after another"
        ) from error


class Reader:
    """Answers a question about some files, in one process."""

    def __init__(self, question: Question, predictor: Predictor, among: Sequence[Path]) -> None:
        """among: all files of the command, for the one line of it that is about one of them."""
        from narformer.measurement.answers import existing_store

        self.among = among
        self.question = question
        self.predictor = predictor
        self.store = existing_store(question.store) if question.measured else None

    def close(self) -> None:
        """Close the store, where one is open."""
        if self.store is not None:
            self.store.close()

    def answers(self, paths: Sequence[Path], contents: Mapping[Path, bytes] = NOTHING) -> list[Answer]:
        """One Answer a file; the model runs once for all of them. contents: of files that lie on another machine."""
        from narformer.measurement.answers import answer

        asked = self.question
        notes: list[list[str]] = []
        errors: list[list[str]] = []
        graphs: list[Graph] = []
        of: list[int] = []  # the file of each Graph
        for place, path in enumerate(paths):
            wrong: list[str] = []
            with noted() as told:
                for sizes in asked.each_size():
                    try:
                        graphs += read_each([path], sizes, self.among, contents)
                        of.append(place)
                    except NarformerError as error:
                        wrong.append(str(error))
            notes.append(list(dict.fromkeys(told)))
            errors.append(list(dict.fromkeys(wrong)))
        found: list[list[Estimate]] = [[] for _ in paths]
        for place, estimates in zip(of, answer(graphs, self.predictor, asked.devices, self.store), strict=True):
            missing = sorted(set(asked.devices or ()) - {estimate.target for estimate in estimates})
            errors[place] += [
                f"{paths[place]}: not measured on {target}, and the predictor does not know it" for target in missing
            ]
            found[place] += estimates
        return [
            Answer(str(path), tuple(estimates), tuple(dict.fromkeys(wrong)), tuple(told))
            for path, estimates, wrong, told in zip(paths, found, errors, notes, strict=True)
        ]


def _loaded(question: Question, among: Sequence[Path]) -> Reader:
    """What a process of the pool answers with, loaded anew: a session of ONNX Runtime is not made to be forked."""
    from narformer.adaptation.predictor import with_adapted
    from narformer.prediction.predictor import Predictor

    return Reader(question, with_adapted(Predictor.load(question.predictor)), among)


def _answers(reader: Reader, paths: Sequence[Path]) -> list[Answer]:
    return reader.answers(paths)
