"""Asks a service (`narformer serve`) instead of this machine: the package's functions, with the same answers.

Networks are read here. What is sent is their structure alone, in JSON: no weight leaves this machine
(frontends/structure.py says what is kept of constants).
"""

from __future__ import annotations

import gzip
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http.client import HTTPException, HTTPResponse
from typing import IO, TYPE_CHECKING, Any

from narformer import errors
from narformer.errors import ConfigError, NarformerError, UserError
from narformer.frontends.canonical import canonical, network_hash
from narformer.frontends.sizes import sizes_of
from narformer.frontends.sources import Source, graph_of, names_of, one_graph, several, traced
from narformer.frontends.structure import structure_of
from narformer.graph import Graph
from narformer.inspection import Inspection, inspection_of
from narformer.prediction.choice import Choice, Choices, with_network
from narformer.prediction.compare import Comparison, Comparisons
from narformer.prediction.estimate import Estimate, Estimates
from narformer.prediction.explanation import Explanation, Explanations

if TYPE_CHECKING:
    import torch

TRIES = 4  # where the service is busy
LONGEST_WAIT = 30.0  # seconds, that a busy service may ask for


class ServiceError(UserError):
    """A service that cannot be reached, or does not answer as one."""


class Client:
    """A service to ask. Raises ConfigError for what is no URL.

    >>> from narformer.client import Client
    >>> Client("http://127.0.0.1:8000/").url
    'http://127.0.0.1:8000'
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        timeout: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """token: that of the service; by default $NARFORMER_TOKEN. timeout: seconds for an answer."""
        if not url.startswith(("http://", "https://")):
            raise ConfigError(f"{url!r} is not the address of a service; write http://HOST:PORT")
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._token = token or os.environ.get("NARFORMER_TOKEN")
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_Stay)

    def predict(
        self,
        models: Source | torch.nn.Module | Sequence[Source],
        example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        devices: str | Sequence[str] | None = None,
        batch_size: int | None = None,
        input_shapes: Mapping[str, Sequence[int | str]] | None = None,
        dims: Mapping[str, int] | None = None,
        measured: bool = True,
    ) -> Estimates:
        """What `narformer.predict` answers there: by the service's predictor, and from its store.

        Raises what `narformer.predict` raises, and ServiceError where the service cannot be reached.
        """
        sizes = sizes_of(batch_size, input_shapes, dims)
        if example_inputs is not None:
            models = traced(models, example_inputs, sizes)
        wanted = names_of(devices)
        if wanted == []:
            raise ConfigError("devices=[]: name at least one device, or leave devices out for all")
        estimates: list[Estimate] = []
        for network in several(models):
            graph = graph_of(network, sizes)
            answer = self.ask("predict", [graph], {"targets": wanted, "measured": measured})
            estimates += [_estimate(graph, told) for told in answer["estimates"]]
        return Estimates(estimates)

    def explain(
        self,
        model: Source | torch.nn.Module,
        example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        devices: str | Sequence[str] | None = None,
        batch_size: int | None = None,
        input_shapes: Mapping[str, Sequence[int | str]] | None = None,
        dims: Mapping[str, int] | None = None,
    ) -> Explanations:
        """What `narformer.explain` answers there, by the service's predictor."""
        graph = one_graph(model, example_inputs, sizes_of(batch_size, input_shapes, dims))
        wanted = names_of(devices)
        if wanted is None:
            wanted = [row["target"] for row in self.targets() if row["source"] == "predicted"]
        return Explanations(self._explained(graph, target) for target in wanted)

    def inspect(
        self,
        model: Source | torch.nn.Module,
        example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
        *,
        batch_size: int | None = None,
        input_shapes: Mapping[str, Sequence[int | str]] | None = None,
        dims: Mapping[str, int] | None = None,
    ) -> Inspection:
        """What `narformer.inspect` answers: it needs no predictor, and nothing is sent."""
        return inspection_of(one_graph(model, example_inputs, sizes_of(batch_size, input_shapes, dims)))

    def compare(
        self,
        first: Source,
        *others: Source,
        devices: str | Sequence[str] | None = None,
        batch_size: int | None = None,
        input_shapes: Mapping[str, Sequence[int | str]] | None = None,
        dims: Mapping[str, int] | None = None,
        measured: bool = True,
    ) -> Comparisons:
        """What `narformer.compare` answers there, by the service's predictor and from its store."""
        if not others:
            raise ConfigError("compare(model): compared with what? Give two networks or more")
        sizes = sizes_of(batch_size, input_shapes, dims)
        graphs = [graph_of(one, sizes) for source in (first, *others) for one in several(source)]
        wanted = names_of(devices)
        if wanted == []:
            raise ConfigError("devices=[]: name at least one device, or leave devices out for all")
        told = self.ask("compare", graphs, {"targets": wanted, "measured": measured})["models"]
        answers = [
            {estimate.target: estimate for estimate in (_estimate(graph, one) for one in model["estimates"])}
            for graph, model in zip(graphs, told, strict=True)
        ]
        known = {row["target"] for row in self.targets() if row["source"] == "predicted"}
        shared = [target for target in answers[0] if all(target in answer for answer in answers)]
        explained = {
            target: [self._explained(graph, target) for graph in graphs] for target in shared if target in known
        }
        return Comparisons(
            Comparison(
                answers[0][target],
                answers[k][target],
                (explained[target][0], explained[target][k]) if target in explained else None,
            )
            for k in range(1, len(graphs))
            for target in shared
        )

    def _explained(self, graph: Graph, target: str) -> Explanation:
        answer = self.ask("explain", [graph], {"target": target})
        form = canonical(graph)
        if [node["operator"] for node in answer["nodes"]] != [node.op for node in form.nodes]:
            raise ServiceError(
                f"{self.url}: reads {graph.name} otherwise than this version of narformer; install its version"
            )
        milliseconds = tuple(node["ms"] for node in answer["nodes"])
        return Explanation(graph.name, answer["target"], form, milliseconds, network_hash(graph))

    def choose(
        self,
        target: str,
        *,
        max_ms: float | None = None,
        top1: float | None = None,
        batch_size: int = 1,
        every: bool = False,
        model: Source | None = None,
    ) -> Choices:
        """What `narformer.choose` answers there, by the service's predictor."""
        graphs: list[Graph] = []
        if model is not None:
            graphs = [model if isinstance(model, Graph) else graph_of(model, sizes_of(batch_size))]
        options = {"target": target, "max_ms": max_ms, "top1": top1, "batch_size": batch_size, "every": every}
        answer = self.ask("choose", graphs, options)
        found = Choices(_choice(told) for told in answer["choices"])
        return found if answer["mine"] is None else with_network(found, _estimate(graphs[0], answer["mine"]))

    def targets(self) -> list[dict[str, Any]]:
        """What the service can predict, as /v1/targets lists it."""
        rows: list[dict[str, Any]] = self._answer(urllib.request.Request(f"{self.url}/v1/targets"))["targets"]
        return rows

    def ask(self, operation: str, graphs: Sequence[Graph], options: Mapping[str, Any]) -> dict[str, Any]:
        """One request of the HTTP API about these networks; the answer as JSON's types."""
        body, kind = _form(graphs, options)
        headers = {"Content-Type": kind, "Content-Encoding": "gzip"}
        return self._answer(urllib.request.Request(f"{self.url}/v1/{operation}", gzip.compress(body, 6), headers))

    def _answer(self, request: urllib.request.Request) -> dict[str, Any]:
        """The answer; a service that is busy is asked again after the time that it says."""
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        for attempt in range(TRIES):
            try:
                with self._opener.open(request, timeout=self.timeout) as response:
                    return self._read(response)
            except urllib.error.HTTPError as error:
                with error:
                    told = error.read()
                wait = error.headers.get("Retry-After", "")
                if error.code in (429, 503) and wait.isdecimal() and attempt < TRIES - 1:
                    self._sleep(min(float(wait), LONGEST_WAIT))
                    continue
                raise self._raised(error.code, told) from None
            except (OSError, HTTPException) as error:
                reason = getattr(error, "reason", None) or error
                raise ServiceError(f"{self.url}: the service cannot be reached ({reason}); is it running?") from error
        raise AssertionError("a busy service is told by the last try")

    def _read(self, response: HTTPResponse) -> dict[str, Any]:
        try:
            answer = json.loads(response.read())
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            raise ServiceError(f"{self.url}: does not answer as a service of narformer does; is it the right address?")
        return answer

    def _raised(self, status: int, told: bytes) -> NarformerError:
        """The package's exception of an answer that tells of one."""
        try:
            problem = json.loads(told)["error"]
            kind, message = str(problem["type"]), str(problem["message"])
        except (ValueError, KeyError, TypeError):
            return ServiceError(f"{self.url}: status {status}, not an answer of narformer's; is it the right address?")
        known = getattr(errors, kind, None)
        if isinstance(known, type) and issubclass(known, UserError):
            return known(message)
        return ServiceError(f"{self.url}: {message}")


class _Stay(urllib.request.HTTPRedirectHandler):
    """A service does not send its clients elsewhere: whoever does would get the network and the token."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


def _estimate(graph: Graph, told: Mapping[str, Any]) -> Estimate:
    """An Estimate from its JSON; a newer service may say more than this version knows."""
    return replace(Estimate.from_dict(told), model=graph.name, hash=network_hash(graph))


def _choice(told: Mapping[str, Any]) -> Choice:
    """A Choice from its JSON."""
    estimate = Estimate.from_dict({**told, "model": told["network"]})
    return Choice(estimate, told["img_size"], told["top1"], told["top5"], told["parameters_millions"], told["rank"])


def _form(graphs: Sequence[Graph], options: Mapping[str, Any]) -> tuple[bytes, str]:
    """A form of multipart/form-data, and its content type."""
    parts = [("options", "", "application/json", json.dumps(options).encode())]
    parts += [("model", "network", "application/json", structure_of(graph).to_json().encode()) for graph in graphs]
    boundary = secrets.token_hex(16)
    lines: list[bytes] = []
    for name, file, kind, content in parts:
        called = f'; filename="{file}"' if file else ""
        lines += [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{called}\r\n'.encode(),
            f"Content-Type: {kind}\r\n\r\n".encode(),
            content,
            b"\r\n",
        ]
    return b"".join([*lines, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"
