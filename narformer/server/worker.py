"""A process that reads what clients sent, with limits of its own: what harms it harms no other request.

It is told a Question at a time and answers with the status and the body of the HTTP response. It ends when nobody can
tell it anything any more. Signals that are meant for the service it leaves alone: what is under way is answered.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

from narformer.errors import NarformerError, StoreError
from narformer.server.answers import Answers
from narformer.server.failures import Refused, body_of, status_of
from narformer.server.question import Question, Setup

READY = b"ready"
# What an answer begins with: whether the process is as good as before, or should be replaced.
GOOD, SPENT = b"+", b"-"
COLLECTED_AFTER = 10_000  # objects that came and did not go
log = logging.getLogger("narformer.server")


def main(connection: Connection, setup: Setup) -> None:
    """Answer until the connection ends. The first message tells that all is ready, or why it is not."""
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    try:
        answers = Answers(setup)
    except NarformerError as error:
        connection.send_bytes(body_of(error))
        return
    limit_memory(setup.memory)
    # What is here stays, and answers leave no circles of references (tests/server/test_lately.py): a collector that
    # looks through everything again and again would keep clients waiting.
    gc.freeze()
    gc.set_threshold(COLLECTED_AFTER)
    connection.send_bytes(READY)
    while True:
        try:
            question = connection.recv()
        except EOFError:
            return
        connection.send_bytes(answered(answers, question))


def answered(answers: Answers, question: Question) -> bytes:
    """A mark, three digits of status, and the body.

    No error outlives its clause: by its traceback it has this frame, and what the frame has would stay with it.
    """
    try:
        return GOOD + b"200" + json.dumps(answers.answer(question)).encode()
    except StoreError as away:  # its message names the place of the database, which is nobody's business
        log.error("%s", away)
        return _refused(
            503,
            'the measurements cannot be read at the moment; ask again later, or with "measured": false for predictions',
            "StoreError",
        )
    except NarformerError as told:
        return GOOD + str(status_of(told)).encode() + body_of(told)
    except MemoryError:
        # What the attempt has left behind would harm the next.
        return _refused(
            413, f"{_names(question)}: needs more memory than this service gives a request", "LimitError", SPENT
        )
    except Exception as unexpected:
        log.exception("unexpected while answering %s", question.operation)
        why = type(unexpected).__name__
        if question.networks and all(network.is_graph for network in question.networks):
            return _refused(422, f"{_names(question)}: a Graph that cannot be one of a network ({why})", "ModelError")
        return _refused(500, f"{_names(question)}: a mistake within narformer ({why}); please report it", "Internal")


def _refused(status: int, message: str, kind: str, mark: bytes = GOOD) -> bytes:
    return mark + str(status).encode() + body_of(Refused(status, message, kind))


def _names(question: Question) -> str:
    return ", ".join(network.name for network in question.networks) or question.operation


def limit_memory(extra: int) -> None:
    """Let this process have so many bytes more than now, and write no file; where the system can do that."""
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        now = int(statistics.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (now + extra, now + extra))
