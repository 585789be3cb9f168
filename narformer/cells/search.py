"""Search with a tabular benchmark as oracle: how many trainings until one of the best cells is found.

- random: cells in random order.
- evolution: regularised evolution (Real et al., 2019): population 50, tournament of 10, the oldest dies. A mutation is
  one of the 24 cells of the table nearest in statistics (of the cells as they are written) that was not asked for yet.
- predictor: 20 random cells, then by turns a Gaussian process is fitted to all answers and the 10 cells that it ranks
  highest are asked for. Cells that are one network have one score.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narformer.cells.dataset import CellDataset
from narformer.cells.networks import distinct_networks, reaches_output
from narformer.cells.predictor import UNREACHED, statistics_as_written
from narformer.cells.process import GaussianProcess
from narformer.plotting import new_figure, readable_axis, save_plot

Array = npt.NDArray[np.float64]
TOP = 0.001
NEIGHBOURS, POPULATION, TOURNAMENT, START, STEP = 24, 50, 10, 20, 10


@dataclass(frozen=True)
class Search:
    """One kind of search, from several seeds.

    found: how many reached the goal. mean_queries, median_queries: trainings until then, the limit for those that did
    not. queries: of each seed, None for those. curve: the best accuracy after each training, the mean over seeds.
    """

    found: int
    mean_queries: float
    median_queries: float
    queries: tuple[int | None, ...]
    curve: tuple[float, ...]


@dataclass(frozen=True)
class Searches:
    """Searches of a space of so many cells, by name. goal: accuracy of its top 0.1 %. limit: of trainings a search."""

    space: str
    cells: int
    goal: float
    best: float
    seeds: int
    limit: int
    searches: Mapping[str, Search]

    def to_json(self) -> str:
        """As the command keeps it."""
        return json.dumps(asdict(self), indent=1)

    def records(self) -> list[dict[str, Any]]:
        """A record a search, without its curve and the trainings of each seed."""
        whole = {"space": self.space, "seeds": self.seeds, "limit": self.limit}
        return [
            {
                **whole,
                "search": name,
                "found": each.found,
                "mean_queries": each.mean_queries,
                "median_queries": each.median_queries,
            }
            for name, each in self.searches.items()
        ]


def compare_searches(
    dataset: CellDataset, seeds: int, queries: int, show: Callable[[int, int], None] = lambda _done, _all: None
) -> Searches:
    """Each search from each seed: the best accuracy after each query, and when the top 0.1 % was reached."""
    statistics, groups = statistics_as_written(dataset.table)
    spread = statistics.std(axis=0)
    scaled = (statistics - statistics.mean(axis=0)) / np.where(spread > 0, spread, 1)
    networks, row = distinct_networks(dataset.table)
    of_networks, _ = statistics_as_written(networks)
    accuracy = dataset.accuracy
    target = np.sort(accuracy)[-max(1, round(TOP * len(accuracy)))]
    searches: dict[str, Callable[[np.random.Generator], Iterator[int]]] = {
        "random": lambda rng: iter(rng.permutation(len(accuracy)).tolist()),
        "evolution": lambda rng: _evolution(scaled.astype(np.float32), accuracy, rng),
        "predictor": lambda rng: _guided(of_networks, row, reaches_output(networks), groups, accuracy, rng),
    }
    found: dict[str, Search] = {}
    for number, (name, search) in enumerate(searches.items()):
        curves, reached = [], []
        for seed in range(seeds):
            asked = [row for row, _ in zip(search(np.random.default_rng(seed)), range(queries), strict=False)]
            best = np.maximum.accumulate(accuracy[asked])
            hit = np.flatnonzero(best >= target)
            reached.append(int(hit[0]) + 1 if len(hit) else None)
            curves.append(np.pad(best, (0, queries - len(best)), mode="edge"))
            show(number * seeds + seed + 1, len(searches) * seeds)
        counted = [queries if r is None else r for r in reached]
        found[name] = Search(
            sum(r is not None for r in reached),
            float(np.mean(counted)),
            float(np.median(counted)),
            tuple(reached),
            tuple(np.mean(curves, axis=0).round(4).tolist()),
        )
    return Searches(dataset.name, len(accuracy), float(target), float(accuracy.max()), seeds, queries, found)


def _evolution(scaled: npt.NDArray[np.float32], accuracy: Array, rng: np.random.Generator) -> Iterator[int]:
    asked: set[int] = set()
    population: deque[int] = deque()
    for row in rng.permutation(len(accuracy))[:POPULATION].tolist():
        asked.add(row)
        population.append(row)
        yield row
    squares = (scaled**2).sum(axis=1)
    while len(asked) < len(accuracy):
        parent = max(rng.choice(population, TOURNAMENT, replace=False).tolist(), key=lambda r: accuracy[r])
        distance = squares - 2 * scaled @ scaled[parent]
        nearest = [int(r) for r in np.argpartition(distance, NEIGHBOURS + 1)[: NEIGHBOURS + 1] if int(r) not in asked]
        child = int(rng.choice(nearest)) if nearest else int(rng.integers(len(accuracy)))
        if child in asked:
            continue
        asked.add(child)
        population.append(child)
        population.popleft()
        yield child


def _guided(
    statistics: Array,
    row: npt.NDArray[np.int64],
    reached: npt.NDArray[np.bool_],
    groups: npt.NDArray[np.int64],
    accuracy: Array,
    rng: np.random.Generator,
) -> Iterator[int]:
    """statistics: of the networks, (m, S). row: which network each cell is, (n,). reached: `reaches_output`, (m,)."""
    asked = rng.permutation(len(accuracy))[:START].tolist()
    yield from asked
    while len(asked) < len(accuracy):
        learned = np.array(asked)[reached[row[asked]]]
        process = GaussianProcess(groups).fit(statistics[row[learned]], accuracy[learned])
        scores = np.where(reached, process.predict(statistics), UNREACHED)[row]
        scores[asked] = -np.inf
        step = np.argsort(-scores, kind="stable")[:STEP].tolist()
        asked += step
        yield from step


def plot_searches(result: Searches, path: Path) -> None:
    """Best accuracy so far against trainings, the mean over seeds, a line a search."""
    figure, (axis,) = new_figure(6, 4)
    for name, search in result.searches.items():
        axis.plot(np.arange(1, len(search.curve) + 1), search.curve, label=name)
    axis.axhline(result.goal, color="black", lw=0.8, ls=":", label="top 0.1 %")
    curves = np.array([s.curve for s in result.searches.values()])
    axis.set_ylim(curves[:, min(9, curves.shape[1] - 1)].min(), result.best + 0.05)
    axis.set(xscale="log", xlabel="trainings", ylabel="best accuracy so far, %")
    axis.set_xlim(5, curves.shape[1])
    readable_axis(axis.xaxis)
    axis.set_title(f"Searches of {result.space}, mean of {result.seeds}", fontsize=11)
    axis.grid(color="0.92", lw=0.6)
    axis.set_axisbelow(True)
    axis.legend(frameon=False, loc="lower right")
    save_plot(figure, path)
