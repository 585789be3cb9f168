"""What is told of a cluster that is not there, and of machines that do not offer what is asked for."""

from __future__ import annotations

import socket
import sys

import pytest

from narformer.errors import ConfigError, MissingExtraError
from narformer.fleet.agent import Wish
from narformer.fleet.cluster import Machine, connected
from narformer.fleet.measuring import wishes_of

MACHINES = (Machine("1", "a", ("alpha",), {}), Machine("2", "b", ("alpha", "beta"), {}), Machine("3", "c", (), {}))


def test_all_hardware_is_asked_for_by_default() -> None:
    assert wishes_of([], MACHINES) == [Wish("alpha", asked=False), Wish("beta", asked=False)]
    assert wishes_of(["beta", "beta"], MACHINES) == [Wish("beta")]


def test_what_nobody_offers_is_told_with_what_is_offered() -> None:
    with pytest.raises(ConfigError, match=r"gamma: no machine .* offers gamma; there are alpha \(2\), beta \(1\)"):
        wishes_of(["gamma"], MACHINES)
    with pytest.raises(ConfigError, match="narformer fleet offer"):
        wishes_of([], MACHINES[2:])


def test_without_ray_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install '.\[fleet\]'"), connected("127.0.0.1:6379"):
        pass


@pytest.mark.parametrize("address", ["nowhere", "host:", ":6379", "host:99999", "host:port"])
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="is not the address of a cluster; write host:port"), connected(address):
        pass


def test_an_address_where_nobody_answers_is_told_at_once() -> None:
    pytest.importorskip("ray")
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"ray start --head --port={port}"), connected(f"127.0.0.1:{port}"):
            pass
