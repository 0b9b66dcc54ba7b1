"""Plan the runs of a sweep, and the stages that they share.

Rows share a stage if everything that affects it is equal: data, seed, the settings of the stage and
of those before it, and the network up to the stage's head, layer by layer. As the networks are
compared, it need not be declared that `--model.local-conv.window` doesn't affect the unary term.
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

from keras_dpn import models

from ..configs.schema import StageConfig, TrainConfig
from ..configs.serialization import to_json
from ..engine.networks import model_arguments
from ..rundir.models import load_model
from ..rundir.paths import load_results, model_file
from .definitions import Row, Sweep


@dataclass(frozen=True)
class CheckpointRef:
    """A trained network: the best of a stage of a run, or the run's final one (None)."""

    run: Path
    stage: str | None = None

    @property
    def file(self) -> Path:
        """The file of the network."""
        return model_file(self.run, self.stage)

    def load(self) -> keras.Model:
        """Load the network."""
        return load_model(self.run, self.stage)

    def __str__(self) -> str:
        return f"{self.run}:{self.stage}" if self.stage else str(self.run)


RowKey = tuple[str, int]  # a row's name and the seed
Checkpoints = dict[RowKey, CheckpointRef]


@dataclass(frozen=True)
class Job:
    """A run to train.

    Args:
        run: its directory.
        config: its configuration, without the stages that it shares.
        shared: the network that it continues: equal to its own up to the stage's head.
        start: if no stage is shared, the network that initialises it, as with `--weights`.
    """

    run: Path
    config: TrainConfig
    shared: CheckpointRef | None = None
    start: CheckpointRef | None = None

    @property
    def origin(self) -> CheckpointRef | None:
        """The network that must be trained first."""
        return self.shared or self.start


@dataclass
class Plan:
    """The runs in the order of training, and each row's network by name and seed."""

    jobs: list[Job] = field(default_factory=list)
    checkpoints: Checkpoints = field(default_factory=dict)


def make_plan(
    sweep: Sweep,
    seeds: Iterable[int],
    runs: Path,
    num_classes: int,
    reuse: Mapping[RowKey, CheckpointRef] | None = None,
) -> Plan:
    """Plan the runs of a sweep.

    Args:
        sweep: what to compare.
        seeds: the seeds of each row.
        runs: receives a directory for each run, ROW_seedSEED.
        num_classes: number of classes of the data.
        reuse: networks of rows that need no run, by name and seed. Their stages count as trained
            for other rows, too.

    Raises:
        ValueError: for a row's output that its network doesn't have.
    """
    plan = Plan()
    for seed in seeds:
        known = {name: ref for (name, s), ref in (reuse or {}).items() if s == seed}
        _Planner(sweep, seed, runs, num_classes, known, plan).fill()
    return plan


class _Keys(NamedTuple):
    """Keys of a run's stages and final network, equal if they are trained in the same way."""

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
        reuse: Mapping[str, CheckpointRef],
        plan: Plan,
    ) -> None:
        self._sweep, self._seed, self._runs = sweep, seed, runs
        self._reuse, self._plan = reuse, plan
        self._keys: dict[str, _Keys] = {}
        for row in sweep.rows:
            start = self._keys[row.start].of(sweep[row.start]) if row.start else None
            self._keys[row.name] = _keys(row.config, num_classes, start)
            _check_output(row, num_classes)
        self._known: dict[str, CheckpointRef] = {}

    def fill(self) -> None:
        for name, ref in self._reuse.items():
            trained = {stage["name"] for stage in load_results(ref.run)["stages"]}
            for stage, key in self._keys[name].stages.items():
                if stage in trained:
                    self._known[key] = CheckpointRef(ref.run, stage)
            if self._sweep[name].stage is None:
                self._known[self._keys[name].end] = ref
        # Those with few stages first: others continue where they end.
        for row in sorted(self._sweep.rows, key=lambda row: len(row.stages)):
            self._plan.checkpoints[row.name, self._seed] = self._checkpoint(row)

    def _checkpoint(self, row: Row) -> CheckpointRef:
        """Return the row's network; add a run for it if there is none yet."""
        if row.name in self._reuse:
            return self._reuse[row.name]
        key = self._keys[row.name].of(row)
        if key not in self._known:
            self._add_job(row)
        return self._known[key]

    def _add_job(self, row: Row) -> None:
        start = self._checkpoint(self._sweep[row.start]) if row.start else None
        keys, run = self._keys[row.name], self._runs / f"{self._title(row)}_seed{self._seed}"
        count = self._shared(row)
        done = {row.config.section(stage) for stage in row.stages[:count]}
        none = {name: replace(getattr(row.config, name), epochs=0, steps=0) for name in done}
        config = replace(row.config, seed=self._seed, **none)
        if count:
            shared = self._known[keys.stages[row.stages[count - 1]]]
            self._plan.jobs.append(Job(run, config, shared=shared))
        else:
            self._plan.jobs.append(Job(run, config, start=start))
        for stage in row.stages[count:]:
            self._known.setdefault(keys.stages[stage], CheckpointRef(run, stage))
        self._known.setdefault(keys.end, CheckpointRef(run))

    def _title(self, row: Row) -> str:
        """Return the name of the last of the rows that are scored on the same run."""
        keys = self._keys[row.name]
        return [name for name, other in self._keys.items() if other == keys][-1]

    def _shared(self, row: Row) -> int:
        """Return how many of the row's first stages need not be trained again.

        At least one remains, and stages with common settings stay together.
        """
        keys, sections = self._keys[row.name], [row.config.section(s) for s in row.stages]
        known = [keys.stages[stage] in self._known for stage in row.stages]
        return next(
            count
            for count in range(len(row.stages) - 1, -1, -1)
            if all(known[:count]) and not set(sections[:count]) & set(sections[count:])
        )


def _keys(config: TrainConfig, num_classes: int, start: str | None) -> _Keys:
    """Return the keys of a run that starts from the network of another key, or from a file."""
    settings = {**to_json(config), "start": start or Path(config.weights or "").name}
    stages = [item.name for item in dataclasses.fields(config) if _is_stage(config, item.name)]
    for name in ("model", "weights", "weights_sha256", "seed", *stages):
        del settings[name]
    # Paths and caches don't affect what is learned.
    data = {k: v for k, v in settings["data"].items() if k not in ("data_dir", "flow_dir", "cache")}
    prints = _fingerprints(*_network(config, num_classes))
    key, keys = _digest({**settings, "data": data}), {}
    for stage in config.stages:
        if config.stage(stage.name).is_trained:
            facts = dataclasses.asdict(stage), dataclasses.asdict(config.stage(stage.name))
            key = keys[stage.name] = _digest([key, facts, prints[stage.head]])
    return _Keys(keys, _digest([key, prints["final"]]))


def _check_output(row: Row, num_classes: int) -> None:
    """Refuse an output that the row's network doesn't have."""
    network = _network(row.config, num_classes)
    heads = _fingerprints(*network)
    if row.output is None or row.output in heads or _untrained(*network).has_head(row.output):
        return
    raise ValueError(
        f"Row {row.name}: `output`: expected one of {list(heads)}, received {row.output!r}."
    )


def _network(config: TrainConfig, num_classes: int) -> tuple[str, str, int]:
    """Return the network's class, its arguments as JSON, and the number of classes."""
    return config.network, json.dumps(model_arguments(config)), num_classes


def _is_stage(config: TrainConfig, name: str) -> bool:
    return isinstance(getattr(config, name), StageConfig)


@functools.cache
def _fingerprints(network: str, arguments: str, num_classes: int) -> dict[str, str]:
    """Return a digest of the untrained network up to each head: all layers, and all weights.

    Args:
        network: name of its class.
        arguments: arguments of its constructor, as JSON.
        num_classes: number of classes of the data.
    """
    built = _untrained(network, arguments, num_classes)
    weights = {
        w.path: hashlib.sha256(keras.ops.convert_to_numpy(w)).hexdigest() for w in built.weights
    }
    prints = {}
    for name in built.head_names:
        part = built.head_model(name)
        prints[name] = _digest([part.get_config(), [weights[w.path] for w in part.weights]])
    return prints


def _untrained(network: str, arguments: str, num_classes: int) -> Any:
    """Return a network, always the same; arguments as `_fingerprints`."""
    keras.utils.clear_session()  # automatic names of layers count from 0 again
    keras.utils.set_random_seed(0)
    return getattr(models, network)(num_classes=num_classes, **json.loads(arguments))


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()
