"""What a service is started with: where it listens, who may ask, and how much one request may cost."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from narformer.errors import ConfigError
from narformer.processes import cores

MIB = 1 << 20
OPEN_RATE = 600.0  # requests a minute from one address, where others than this machine can ask


@dataclass(frozen=True)
class Limits:
    """How much a request, a client and all of them together may cost.

    bytes: of a request's body, also after it was decompressed. nodes: of a network. seconds: for reading a network and
    answering about it. memory: bytes that this may take beyond what a worker process has when it starts.
    upload_seconds: for a request's body to arrive. targets, networks: named in one request.
    requests: at a time, those that wait included. rate: requests a minute from one address, 0 for any number.
    kept_bytes: of structures that are remembered by their hash.
    """

    bytes: int = 32 * MIB
    nodes: int = 200_000
    seconds: float = 20.0
    memory: int = 1024 * MIB
    upload_seconds: float = 30.0
    targets: int = 1000
    networks: int = 8
    requests: int = 64
    rate: float = 0.0
    kept_bytes: int = 256 * MIB


@dataclass(frozen=True)
class Settings:
    """How to serve; `checked` says what cannot be.

    token: what a request has to show as `Authorization: Bearer TOKEN`; None for none. hosts: names under which the
    service is asked for, besides those of the address it listens on. origins: of web pages elsewhere that may ask.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = field(default_factory=lambda: max(cores(), 2))
    token: str | None = None
    without_token: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    behind_proxy: bool = False
    predictor: str | None = None
    store: str | None = None
    measured: bool = True
    limits: Limits = Limits()

    @property
    def loopback(self) -> bool:
        """Whether only this machine can ask."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """Names by which requests may ask for the service; empty for any.

        A page of another site may point a name of its own at 127.0.0.1 and so ask as if it were ours: a service
        without a token therefore answers to its own names alone.
        """
        if self.token is not None or self.without_token:
            return self.hosts
        return ("localhost", "127.0.0.1", "::1", self.host, *self.hosts)

    def checked(self) -> Settings:
        """The same settings. Raises ConfigError where they would open the service to others without meaning to.

        And where an origin or a name is written so that no request has it.
        """
        for origin in self.origins:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ConfigError(
                    f"--allow-origin {origin}: write it as browsers do: https://HOST, or http://HOST:PORT"
                )
        for host in self.hosts:
            if not re.fullmatch(r"[^/\s:]+|\[[0-9a-fA-F:.]+\]|[0-9a-fA-F:.]+", host):
                raise ConfigError(f"--allow-host {host}: write the name alone, without http:// and without a port")
        if self.token is not None and (
            len(self.token) < 16 or not self.token.isascii() or not self.token.isprintable()
        ):
            raise ConfigError("the token is too short or no plain text; make one with: openssl rand -hex 24")
        if not self.loopback and self.token is None and not self.without_token:
            raise ConfigError(
                f"{self.host} can be reached by others: give a token in $NARFORMER_TOKEN, or --without-token to let "
                "everybody ask; the default, 127.0.0.1, can be reached from this machine alone"
            )
        return self
