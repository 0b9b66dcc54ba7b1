"""Which runs a sweep takes, and what they share.

Rows share a stage where all is equal that has a part in it: data, seed, the settings of the stage
and of those before it, and the network up to the stage's output, layer by layer. That
`--model.triple-window` has no part in the unary term need not be said: the networks are compared.
"""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import keras

from ..configs.schema import StageConfig, TrainConfig
from ..configs.serialization import to_json
from ..rundir.paths import RESULTS, read_json
from .definitions import Row, Sweep


class Place(NamedTuple):
    """A trained network: a run's best after one of its stages, or as it is at the end (None)."""

    run: Path
    stage: str | None = None

    def __str__(self) -> str:
        return f"{self.run}:{self.stage}" if self.stage else str(self.run)


@dataclass(frozen=True)
class Job:
    """A run to train.

    Args:
        run: its directory.
        config: its configuration, without the stages that it shares.
        shared: the network that it carries on with: equal to its own up to the stage's output.
        start: if nothing is shared, the network that fills it first, as `--weights` would.
    """

    run: Path
    config: TrainConfig
    shared: Place | None = None
    start: Place | None = None


@dataclass
class Plan:
    """The runs in the order of training, and where each row's network lies, by name and seed."""

    jobs: list[Job] = field(default_factory=list)
    places: dict[tuple[str, int], Place] = field(default_factory=dict)


def make_plan(
    sweep: Sweep,
    seeds: Iterable[int],
    runs: Path,
    num_classes: int,
    given: Mapping[tuple[str, int], Place] | None = None,
) -> Plan:
    """Plans the runs of a sweep.

    Args:
        sweep: what to compare.
        seeds: of each row one run a seed.
        runs: receives a directory for each run, ROW_seedSEED.
        num_classes: of the data.
        given: networks of rows that need no run, by name and seed. What the run trained and the
            row's configuration names alike counts as trained for other rows, too.
    """
    plan = Plan()
    for seed in seeds:
        known = {name: place for (name, s), place in (given or {}).items() if s == seed}
        _Planner(sweep, seed, runs, num_classes, known, plan).fill()
    return plan


class _Keys(NamedTuple):
    """Equal for what is trained alike: each of a run's stages, and the network at the end."""

    stages: dict[str, str]
    end: str

    def of(self, row: Row) -> str:
        return self.stages[row.stage] if row.stage else self.end


class _Planner:
    """Adds the runs of one seed to a plan."""

    def __init__(
        self,
        sweep: Sweep,
        seed: int,
        runs: Path,
        num_classes: int,
        given: Mapping[str, Place],
        plan: Plan,
    ):
        self._sweep, self._seed, self._runs = sweep, seed, runs
        self._given, self._plan = given, plan
        self._keys: dict[str, _Keys] = {}
        for row in sweep.rows:
            start = self._keys[row.start].of(sweep[row.start]) if row.start else None
            self._keys[row.name] = _keys(row.config, num_classes, start)
        self._known: dict[str, Place] = {}

    def fill(self) -> None:
        for name, place in self._given.items():
            trained = {stage["name"] for stage in read_json(place.run / RESULTS)["stages"]}
            for stage, key in self._keys[name].stages.items():
                if stage in trained:
                    self._known[key] = Place(place.run, stage)
            if self._sweep[name].stage is None:
                self._known[self._keys[name].end] = place
        # Those with few stages first: others carry on where they end.
        for row in sorted(self._sweep.rows, key=lambda row: len(row.stages)):
            self._plan.places[row.name, self._seed] = self._place(row)

    def _place(self, row: Row) -> Place:
        """Where the row's network lies, after a run for it where there was none yet."""
        if row.name in self._given:
            return self._given[row.name]
        key = self._keys[row.name].of(row)
        if key not in self._known:
            self._add_job(row)
        return self._known[key]

    def _add_job(self, row: Row) -> None:
        start = self._place(self._sweep[row.start]) if row.start else None
        keys, run = self._keys[row.name], self._runs / f"{self._title(row)}_seed{self._seed}"
        count = self._shared(row)
        done = {row.config.section(stage) for stage in row.stages[:count]}
        none = {name: replace(getattr(row.config, name), epochs=0) for name in done}
        config = replace(row.config, seed=self._seed, **none)
        if count:
            shared = self._known[keys.stages[row.stages[count - 1]]]
            self._plan.jobs.append(Job(run, config, shared=shared))
        else:
            self._plan.jobs.append(Job(run, config, start=start))
        for stage in row.stages[count:]:
            self._known.setdefault(keys.stages[stage], Place(run, stage))
        self._known.setdefault(keys.end, Place(run))

    def _title(self, row: Row) -> str:
        """The last of the rows that are scored on the same run."""
        keys = self._keys[row.name]
        return [name for name, other in self._keys.items() if other == keys][-1]

    def _shared(self, row: Row) -> int:
        """How many of the row's stages, from the first on, need not be trained again.

        One at least remains, and stages that have their settings in common stay together.
        """
        keys, sections = self._keys[row.name], [row.config.section(s) for s in row.stages]
        known = [keys.stages[stage] in self._known for stage in row.stages]
        return next(
            count
            for count in range(len(row.stages) - 1, -1, -1)
            if all(known[:count]) and not set(sections[:count]) & set(sections[count:])
        )


def _keys(config: TrainConfig, num_classes: int, start: str | None) -> _Keys:
    """The keys of a run that starts from the network of another key, or from a file."""
    settings = {**to_json(config), "start": start or Path(config.weights or "").name}
    stages = [item.name for item in dataclasses.fields(config) if _is_stage(config, item.name)]
    for name in ("model", "weights", "seed", *stages):
        del settings[name]
    # Where things lie, and what is kept in memory, has no part in what is learnt.
    data = {k: v for k, v in settings["data"].items() if k not in ("data_dir", "flow_dir", "cache")}
    prints = _fingerprints(config.network, config.model, num_classes)
    key, keys = _digest({**settings, "data": data}), {}
    for stage in config.stages:
        if config.stage(stage.name).epochs:
            facts = dataclasses.asdict(stage), dataclasses.asdict(config.stage(stage.name))
            key = keys[stage.name] = _digest([key, facts, prints[stage.output]])
    return _Keys(keys, _digest([key, prints["final"]]))


def _is_stage(config: TrainConfig, name: str) -> bool:
    return isinstance(getattr(config, name), StageConfig)


@functools.cache
def _fingerprints(network: type[keras.Model], model: Any, num_classes: int) -> dict[str, str]:
    """A digest of the untrained network up to each of its outputs: all layers, and all weights."""
    keras.utils.clear_session()  # the names of layers without one count from 0 again
    keras.utils.set_random_seed(0)
    built = network(num_classes=num_classes, **dataclasses.asdict(model))
    weights = {
        w.path: hashlib.sha256(keras.ops.convert_to_numpy(w)).hexdigest() for w in built.weights
    }
    prints = {}
    for name in built.head_names:
        part = built.head_model(name)
        prints[name] = _digest([part.get_config(), [weights[w.path] for w in part.weights]])
    return prints


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
