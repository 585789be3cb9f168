"""What every protocol is: a rule by which models are trained and tested, which owns its run, its lines and its tables.

A protocol is an object of a subclass, listed in `protocols.py`. `narformer evaluate` and `narformer report` know no
more of it than what stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

from narformer.errors import ConfigError, did_you_mean
from narformer.evaluation.results import Result

Show = Callable[[str], None]
CACHE, RUNS = Path("cache"), Path("runs/evaluate")


@dataclass(frozen=True)
class Options:
    """What `narformer evaluate` was asked beside a protocol and models; None, False or () where it was not.

    quick: the quick form. seeds: how many, from 0. epochs: of a training. cells: numbers of training cells alone.
    batch_size, learning_rate, huber: of a training. published: the settings that a model was published with. processor:
    where models are trained, cpu or cuda. task: names of the only tasks. device: the one target, or hardware. nnlqp: a
    directory in NNLQP's layout. data: the root of public datasets. cache: of tokens. runs: where unfinished tasks are.
    """

    quick: bool = False
    seeds: int | None = None
    epochs: int | None = None
    cells: tuple[int, ...] = ()
    batch_size: int | None = None
    learning_rate: float | None = None
    huber: float | None = None
    published: bool = False
    processor: str | None = None
    task: tuple[str, ...] = ()
    device: str | None = None
    nnlqp: Path | None = None
    data: Path | None = None
    cache: Path | None = None
    runs: Path | None = None

    @property
    def asked(self) -> list[str]:
        """Names of the options that were given."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return [name for name, value in values.items() if value is not None and value is not False and value != ()]

    @property
    def form(self) -> str:
        """The name of the form."""
        return "quick" if self.quick else "full"

    @property
    def draws(self) -> range:
        """The seeds."""
        return range(self.seeds or 1)


class Section(NamedTuple):
    """A part of the page of results, in Markdown; picture: a file beside the page, shown where it is there."""

    title: str
    parts: Sequence[str]
    picture: str = ""


class Protocol(ABC):
    """name: as the command takes it. about: in one line."""

    name: str
    about: str

    @abstractmethod
    def models(self) -> Sequence[str]:
        """Names of the models that can be tested."""

    def compared(self) -> Sequence[str]:
        """Those that `--model all` stands for."""
        return self.models()

    @abstractmethod
    def options(self, model: str) -> frozenset[str]:
        """Names of the Options that mean anything to a model here."""

    def predictor_options(self) -> frozenset[str] | None:
        """The same for a finished predictor; None where none can be tested."""
        return None

    @abstractmethod
    def run(self, models: Sequence[str], options: Options, show: Show) -> Iterator[Result]:
        """Train and score models, of those that `wanted` gave; a result as soon as it is there.

        show: told a line as each part is finished. A run that was killed goes on where it stopped. An option that means
        nothing to one of several models is not applied to it. Raises DataError, ConfigError.
        """

    def score(self, predictor: str, options: Options, out: Path) -> Result:
        """Score a finished predictor; pictures go to `out`. Raises DataError, ConfigError."""
        raise NotImplementedError(f"{self.name} scores no predictors")

    @abstractmethod
    def lines(self, result: Result) -> Iterable[str]:
        """A result in a few lines, for a terminal."""

    @abstractmethod
    def sections(self, results: Sequence[Result]) -> Iterable[Section]:
        """What the page of results says of all results of this protocol."""

    def plot(self, results: Sequence[Result], directory: Path) -> None:  # noqa: B027 -- most have none
        """Draw what the sections name as pictures. Raises MissingExtraError, DataError."""

    def wanted(self, models: Sequence[str], options: Options) -> list[str]:
        """The models that names stand for. Raises ConfigError for an unknown one, or an option that no model uses."""
        wanted = list(self.compared()) if list(models) == ["all"] else list(models)
        for model in wanted:
            if model not in self.models():
                known = [*self.models(), "all"]
                meant = did_you_mean(model, known)
                raise ConfigError(f"unknown model {model!r} of {self.name}; {meant}known are {', '.join(known)}")
        used = {option for model in wanted for option in self.options(model)}
        self._refuse([option for option in options.asked if option not in used], ", ".join(wanted))
        return wanted

    def check_predictor(self, predictor: str, options: Options) -> None:
        """Raises ConfigError where no predictor can be tested, or for an option that means nothing to one."""
        used = self.predictor_options()
        if used is None:
            raise ConfigError(f"{self.name} trains models: give --model, not --predictor")
        self._refuse([option for option in options.asked if option not in used], f"the predictor {predictor}")

    def _refuse(self, options: Sequence[str], whom: str) -> None:
        if options:
            named = ", ".join(f"--{option.replace('_', '-')}" for option in options)
            raise ConfigError(f"{self.name} has no use for {named} with {whom}; leave it out")
