"""Working on many items by the whole cluster: in order, each once, whoever dies."""

from __future__ import annotations

from pathlib import Path

import far_away
import pytest
from fleets import Fleet

from narformer.cli.fleet_answers import fleet_answers
from narformer.cli.many import Question, answers
from narformer.errors import ConfigError, StoreError, UserError
from narformer.fleet.scoring import in_order_with
from narformer.frontends.sizes import Sizes


def test_results_come_in_order_and_once_though_a_machine_is_killed(fleet: Fleet) -> None:
    results = []
    for result in in_order_with(far_away.nothing, far_away.fetched, far_away.slowly, range(40)):
        results.append(result)
        if len(results) == 2:
            fleet.kill_alpha()
    assert results == [10 * item + 1 for item in range(40)]


def test_what_is_wrong_is_told_as_where_it_happened(fleet: Fleet) -> None:
    with pytest.raises(ConfigError, match="10 is not liked"):
        list(in_order_with(far_away.nothing, far_away.fetched, far_away.refusing, [1]))


def test_an_item_that_kills_its_process_ends_the_run(fleet: Fleet) -> None:
    with pytest.raises(UserError, match="worked on part 1 died, 4 times"):
        list(in_order_with(far_away.nothing, far_away.fetched, far_away.dying, [1]))


def test_files_are_answered_as_this_machine_answers_them(fleet: Fleet, dummy: Path, resnet18: Path) -> None:
    paths = [resnet18, Path("absent.onnx"), Path(__file__), resnet18]
    question = Question(("p",), Sizes(), str(dummy), None, measured=False, batch_sizes=(1, 4))
    assert list(fleet_answers(paths, question, fleet.address)) == list(answers(paths, question, jobs=1))


def test_a_store_that_other_machines_do_not_see_is_refused(tmp_path: Path) -> None:
    question = Question(("p",), Sizes(), None, str(tmp_path / "store.db"), measured=True)
    with pytest.raises(ConfigError, match="give the URL of a PostgreSQL, or --no-store"):
        list(fleet_answers([], question, "127.0.0.1:1"))


def test_a_database_that_is_away_is_told(fleet: Fleet, dummy: Path, resnet18: Path) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg: pip install 'narformer[postgresql]'")
    question = Question(("p",), Sizes(), str(dummy), "postgresql://me:secret@127.0.0.1:1/data", measured=True)
    with pytest.raises(StoreError, match=r"127\.0\.0\.1") as told:
        list(fleet_answers([resnet18], question, fleet.address))
    assert "secret" not in str(told.value)
