"""A worker that crashes, hangs, is killed or cannot start costs one network and never the run.

Most workers here are a few lines of Python that misbehave; they read a Setup, answer None, then misbehave at a Job.
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from narformer.errors import ConfigError
from narformer.measurement.jobs import Job, Result, Setup
from narformer.measurement.supervisor import Supervisor
from narformer.measurement.timing import Plan

SETUP = Setup("onnxruntime", "cpu", 1, (), Plan(budget_s=0.01))
JOB = Job("net", b"")
PREAMBLE = """
import os, pickle, signal, sys, time
from narformer.measurement.jobs import Result
def say(answer):
    pickle.dump(answer, sys.stdout.buffer)
    sys.stdout.buffer.flush()
setup = pickle.load(sys.stdin.buffer)
"""
READY = PREAMBLE + "say(None)\njob = pickle.load(sys.stdin.buffer)\n"


def supervised(code: str, timeout_s: float = 30.0) -> Supervisor:
    return Supervisor(SETUP, timeout_s, (sys.executable, "-c", code))


@pytest.fixture
def real() -> Iterator[Supervisor]:
    with Supervisor(SETUP) as supervisor:
        yield supervisor


def test_a_result_comes_back_and_the_worker_stays() -> None:
    code = READY + "while True:\n    say(Result(float(os.getpid())))\n    job = pickle.load(sys.stdin.buffer)\n"
    with supervised(code) as supervisor:
        assert supervisor.measure(JOB) == supervisor.measure(JOB)


def test_a_crash_is_a_failure_with_the_last_words_and_the_next_job_gets_a_new_worker(tmp_path: Path) -> None:
    flag = tmp_path / "crashed"
    code = READY + (
        f"if not os.path.exists({str(flag)!r}):\n"
        f"    open({str(flag)!r}, 'w').close()\n"
        "    print('double free', file=sys.stderr, flush=True)\n"
        "    os.abort()\n"
        "say(Result(5.0))\n"
    )
    with supervised(code) as supervisor:
        assert supervisor.measure(JOB).failure == "crashed: the measuring process died (signal 6): double free"
        assert supervisor.measure(JOB) == Result(5.0)


def test_a_killed_worker_ran_out_of_memory() -> None:
    with supervised(READY + "os.kill(os.getpid(), signal.SIGKILL)") as supervisor:
        assert supervisor.measure(JOB).failure.startswith("out of memory: the measuring process was killed (signal 9)")


def test_a_worker_that_exits_without_a_word_is_a_failure() -> None:
    with supervised(READY + "sys.exit(3)") as supervisor:
        assert supervisor.measure(JOB).failure == "crashed: the measuring process died (exit code 3)"


def test_half_an_answer_is_none() -> None:
    code = READY + "sys.stdout.buffer.write(pickle.dumps(Result(5.0))[:-5])\nsys.stdout.buffer.flush()\nos._exit(1)"
    with supervised(code) as supervisor:
        assert "exit code 1" in supervisor.measure(JOB).failure


def test_what_never_ends_is_ended() -> None:
    with supervised(READY + "time.sleep(600)", timeout_s=0.2) as supervisor:
        assert supervisor.measure(JOB).failure == "timeout: not measured within 0.2 s"


def test_a_worker_killed_between_two_jobs_costs_one_failure_at_most() -> None:
    code = READY + "say(Result(1.0))"
    with supervised(code) as supervisor:
        assert supervisor.measure(JOB) == Result(1.0)
        second, third = supervisor.measure(JOB), supervisor.measure(JOB)
        assert second.failure.startswith("crashed")
        assert third == Result(1.0)


def test_after_running_out_of_memory_the_worker_is_a_new_one() -> None:
    code = READY + "say(Result(failure=f'out of memory: {os.getpid()}'))\njob = pickle.load(sys.stdin.buffer)"
    with supervised(code) as supervisor:
        assert supervisor.measure(JOB) != supervisor.measure(JOB)


# A child of the worker, as a runtime may start one: it has all of the worker's pipes, and never ends.
FORK = "child = os.fork()\nif not child:\n    {session}\n    while True:\n        time.sleep(600)\n"


def gone(process: int) -> bool:
    """Whether a process ends; one that nobody has asked how is no longer there either."""
    for _ in range(600):
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_a_child_of_the_worker_ends_with_it() -> None:
    code = READY + FORK.format(session="pass") + "say(Result(float(child)))\njob = pickle.load(sys.stdin.buffer)"
    with supervised(code) as supervisor:
        child = supervisor.measure(JOB).median_ms
    assert child is not None
    assert gone(int(child))


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("session", ["pass", "os.setsid()"], ids=["of its session", "of another session"])
def test_a_child_that_holds_the_pipes_hides_no_crash(session: str, tmp_path: Path) -> None:
    number = tmp_path / "child"
    code = READY + FORK.format(session=session) + f"open({str(number)!r}, 'w').write(str(child))\nos._exit(7)"
    with supervised(code, timeout_s=300) as supervisor:
        assert supervisor.measure(JOB).failure == "crashed: the measuring process died (exit code 7)"
    child = int(number.read_text())
    if session == "pass":
        assert gone(child)
    else:
        os.kill(child, signal.SIGKILL)


def test_a_worker_that_speaks_nonsense_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("narformer.measurement.supervisor.EPITAPH_S", 0.1)
    with supervised(READY + "os.write(1, b'nonsense')\ntime.sleep(600)") as supervisor:
        assert supervisor.measure(JOB).failure == "crashed: the measuring process no longer answers"


def test_a_job_that_the_worker_does_not_read_is_not_waited_for() -> None:
    with supervised(READY + "say(Result(1.0))\ntime.sleep(600)", timeout_s=0.5) as supervisor:
        assert supervisor.measure(JOB) == Result(1.0)
        assert supervisor.measure(Job("large", bytes(1 << 22))).failure.startswith("timeout: ")


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_the_real_worker_gives_its_children_no_pipe_of_ours() -> None:
    """What a runtime forks can neither read jobs nor keep the results open; and no lock of standard input stops it."""
    code = (
        "import os, sys\n"
        "from narformer.measurement import worker\n"
        "class Forks(worker.Worker):\n"
        "    def measure(self, job):\n"
        "        child = os.fork()\n"
        "        if not child:\n"
        "            sys.stdin.close()\n"
        "            pipes = [f for f in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{f}')]\n"
        "            held = {os.readlink(f'/proc/self/fd/{f}') for f in pipes}\n"
        "            os._exit(any(link.startswith('pipe:') for link in held))\n"
        "        return worker.Result(repeats=1 + os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "worker.Worker = Forks\n"
        "worker.main()\n"
    )
    with supervised(code) as supervisor:
        assert supervisor.measure(JOB) == Result(repeats=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (PREAMBLE + "say('no such runtime')", "no such runtime"),
        ("raise SystemExit('broken installation')", "broken installation"),
    ],
)
def test_a_worker_that_cannot_start_ends_the_run(code: str, message: str) -> None:
    with supervised(code) as supervisor, pytest.raises(ConfigError, match=message):
        supervisor.measure(JOB)


def test_the_real_worker_measures_rejects_and_goes_on(real: Supervisor, resnet18: Path) -> None:
    broken = real.measure(Job("broken.onnx", b"nonsense"))
    assert broken.failure.startswith("rejected: broken.onnx: ")
    result = real.measure(Job("resnet18", resnet18))
    assert result.failure == ""
    assert result.median_ms is not None
    assert result.median_ms > 0
    assert result.reference_ms is not None
    assert result.repeats >= 4
    if sys.platform == "linux" and result.peak_memory_bytes is not None:
        assert 20e6 < result.peak_memory_bytes < 2e9  # 47 MB of weights, copied or not


def test_the_real_worker_ends_with_whoever_started_it() -> None:
    """Nothing is left running after a kill -9: the worker's input ends with the process that held the other end."""
    command = (sys.executable, "-m", "narformer.measurement.worker")
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert worker.stdin is not None
    assert worker.stdout is not None
    pickle.dump(SETUP, worker.stdin)
    worker.stdin.flush()
    assert pickle.load(worker.stdout) is None
    worker.stdin.close()
    assert worker.wait(timeout=30) == 0
    worker.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_what_the_real_worker_has_started_ends_with_whoever_started_it() -> None:
    code = (
        "import os, time\n"
        "from narformer.measurement import worker\n"
        "class Forks(worker.Worker):\n"
        "    def measure(self, job):\n"
        "        child = os.fork()\n"
        "        while not child:\n"
        "            time.sleep(600)\n"
        "        return worker.Result(repeats=child)\n"
        "worker.Worker = Forks\n"
        "worker.main()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as worker:
        assert worker.stdin is not None
        assert worker.stdout is not None
        for message in (SETUP, JOB):
            pickle.dump(message, worker.stdin)
            worker.stdin.flush()
        assert pickle.load(worker.stdout) is None
        child = pickle.load(worker.stdout).repeats
        worker.stdin.close()
        worker.wait(timeout=60)
    assert gone(child)


def test_no_room_for_a_temporary_file_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with Supervisor(SETUP) as supervisor, pytest.raises(ConfigError, match=r"No space left on device.*TMPDIR"):
        supervisor.measure(JOB)


def test_the_real_worker_tells_of_a_processor_it_lacks() -> None:
    setup = Setup("onnxruntime", "abacus", 1, (), Plan())
    with Supervisor(setup) as supervisor, pytest.raises(ConfigError, match="cannot run on 'abacus' here, only on cpu"):
        supervisor.measure(JOB)
