"""Hostile input over HTTP: mutated models and Graphs must get an answer, never status 500, and harm nobody else.

python benchmarks/fuzz_server.py [--inputs 2000] [--seed 0] [--json]

The inputs are those of benchmarks/fuzz.py, and Graphs in JSON mutated likewise. A service is started in this process's
child on a free port; every tenth request asks about a good network, which must always be answered. Input k of a seed
is always the same.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
from collections import Counter
from typing import Any

from fuzz import mutated, seeds
from service import Service

from narformer.errors import NarformerError
from narformer.frontends.onnx import read_onnx

ROUTES = ("predict", "explain", "inspect", "compare")
VALUES = (
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**30,
    0.5,
    1e300,
    "",
    "Conv",
    "float32",
    "int4",
    [],
    [0],
    [[]],
    {},
    "é" * 99,
)
GOOD = {"model": {"zoo": "resnet50", "size": 224}}


def graphs(pool: list[bytes]) -> list[dict[str, Any]]:
    """Graphs in JSON of the seeds that can be read."""
    found = []
    for data in pool[:200]:
        try:
            found.append(json.loads(read_onnx(data).to_json()))
        except NarformerError:
            continue
    return found


def mutated_graph(index: int, seed: int, pool: list[dict[str, Any]]) -> bytes:
    """A Graph with a few values, anywhere within it, replaced, left out or doubled."""
    draw = random.Random(f"{seed} {index}")
    graph = json.loads(json.dumps(draw.choice(pool)))
    for _ in range(draw.choice((1, 1, 2, 4))):
        place: Any = graph
        while True:
            keys = list(place) if isinstance(place, dict) else range(len(place))
            if not keys:
                break
            key = draw.choice(keys)
            if isinstance(place[key], dict | list) and place[key] and draw.random() < 0.85:
                place = place[key]
                continue
            if draw.random() < 0.2:
                del place[key]
            elif isinstance(place, list) and draw.random() < 0.2:
                place.append(copy.deepcopy(place[key]))
            else:
                place[key] = copy.deepcopy(draw.choice(VALUES))
            break
    return json.dumps(graph).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pool = seeds()
    written = graphs(pool)
    statuses: Counter[int] = Counter()
    failures = []
    with Service("--max-seconds", "10") as service:
        for index in range(options.first, options.first + options.inputs):
            data = mutated_graph(index, options.seed, written) if index % 2 else mutated(index, options.seed, pool)[0]
            status, body = service.send(ROUTES[index // 2 % len(ROUTES)], bytes(data))
            statuses[status] += 1
            if status == 500:
                failures.append({"input": index, "answer": body.decode(errors="replace")[:300]})
            if index % 10 == 0:
                status, body = service.ask("predict", GOOD)
                if status != 200:
                    failures.append({"input": index, "good": body.decode(errors="replace")[:300]})
        ended = [line for line in service.metrics().splitlines() if line.startswith("narformer_workers_ended{")]
    if options.json:
        print(json.dumps({"statuses": statuses, "failures": failures, "workers": ended}, indent=1))
    else:
        print(f"{options.inputs} inputs, by status: {dict(sorted(statuses.items()))}; {'; '.join(ended)}")
        for failure in failures:
            print(failure)
    raise SystemExit(1 if failures else 0)


if __name__ == "__main__":
    main()
