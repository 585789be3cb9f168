"""`narformer predict --server URL`: files are read here, and their structure is sent to a service."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from narformer.cli.inputs import noted, read_each
from narformer.cli.many import Answer, Question
from narformer.errors import NarformerError

if TYPE_CHECKING:
    from narformer.client import Client
    from narformer.prediction.estimate import Estimate


def remote_answers(paths: Sequence[Path], question: Question, client: Client) -> Generator[Answer, None, None]:
    """One Answer a file, in the order of `paths`. Raises ServiceError where the service cannot be reached."""
    from narformer.client import ServiceError

    devices = None if question.devices is None else list(question.devices)
    for path in paths:
        errors: list[str] = []
        estimates: list[Estimate] = []
        with noted() as notes:
            for sizes in question.each_size():
                try:
                    (graph,) = read_each([path], sizes, paths)
                    estimates += client.predict(graph, devices=devices, measured=question.measured)
                except ServiceError:
                    raise
                except NarformerError as error:
                    errors.append(str(error))
        yield Answer(str(path), tuple(estimates), tuple(dict.fromkeys(errors)), tuple(dict.fromkeys(notes)))
