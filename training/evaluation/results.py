"""Results of an evaluation: the scores of each head, and the counts of each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from keras_dpn.inference import InferenceSettings

from ..rundir.paths import evaluation_file
from ..utils.files import atomic_file, read_json, reading, write_json
from .scores import HeadScores

VERSION = 2  # of the JSON files; those of version 1 have no number, and "stages" for "heads"


@dataclass(frozen=True)
class Subject:
    """The network of a run that was scored.

    Args:
        run: the run's directory.
        stage: the stage of training whose best network was scored; None: the final network.
        head: the head that was scored; None: the last.
    """

    run: Path
    stage: str | None = None
    head: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"run": str(self.run), "stage": self.stage, "output": self.head}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The scores of networks on a split of a dataset.

    Args:
        dataset: its name.
        split: its name.
        num_images: images of the split.
        expected_images: images of the complete split, if known.
        num_models: networks whose probabilities were averaged.
        settings: of the inference, with the tile instead of the memory that determined it.
        crf: settings of the fully connected CRF after each head.
        precision: dtype policy of the networks; None: as they were trained.
        heads: scores of each head, the last one the network's prediction.
        image_names: of the images that have labels, in the order of `HeadScores.confusions`.
        subject: the network, if one of a run was scored.
    """

    dataset: str = ""
    split: str = ""
    num_images: int = 0
    expected_images: int | None = None
    num_models: int = 1
    settings: InferenceSettings = InferenceSettings()
    crf: Mapping[str, Any] | None = None
    precision: str | None = None
    heads: tuple[HeadScores, ...] = ()
    image_names: tuple[str, ...] = ()
    subject: Subject | None = None

    def head(self, name: str | None = None) -> HeadScores:
        """Return the scores of a head; of the last one without a name.

        Raises:
            ValueError: for a head that was not scored.
        """
        for head in reversed(self.heads):
            if name in (None, head.name):
                return head
        names = [head.name for head in self.heads]
        raise ValueError(f"Expected one of the heads {names}, received {name!r}.")

    def select(self, names: Sequence[str]) -> Evaluation:
        """Return the evaluation of only these heads."""
        return replace(self, heads=tuple(head for head in self.heads if head.name in names))

    def save(self, path: Path) -> None:
        """Write the scores as JSON, and the counts of each image next to it, as .npz."""
        counts = {head.name: head.confusions for head in self.heads}
        if all(confusions is not None for confusions in counts.values()):
            arrays: dict[str, Any] = {"names": np.array(self.image_names), **counts}
            with atomic_file(path.with_suffix(".npz")) as temporary:
                np.savez_compressed(temporary, **arrays)
        write_json(path, self.to_json())

    @classmethod
    def load(cls, path: Path, *, with_counts: bool = True) -> Evaluation:
        """Read what `save` has written.

        Args:
            path: the JSON file.
            with_counts: also read the counts of each image, if the .npz file exists;
                `HeadScores.confusions` is None otherwise.

        Raises:
            ValueError: if the file doesn't exist, is damaged or of a later version; the message
                names it.
        """
        if not path.is_file():
            raise ValueError(f"{path}: no such file; `keras-dpn evaluate` writes it.")
        with reading(path, "an evaluation"):
            try:
                evaluation = cls.from_json(read_json(path))
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
        counts = path.with_suffix(".npz")
        if not (with_counts and counts.is_file()):
            return evaluation
        with reading(counts, "the counts of an evaluation"), np.load(counts) as arrays:
            heads = [replace(head, confusions=arrays.get(head.name)) for head in evaluation.heads]
            names = tuple(arrays["names"].tolist())
        return replace(evaluation, heads=tuple(heads), image_names=names)

    def to_json(self) -> dict[str, Any]:
        """Return the scores as JSON values, without those of single images."""
        settings = dataclasses.asdict(self.settings)
        del settings["memory_gib"]  # it determined the tile
        return {
            "version": VERSION,
            "dataset": self.dataset,
            "split": self.split,
            "images": self.num_images,
            "official": self.expected_images,
            "models": self.num_models,
            **settings,
            "crf": self.crf,
            "heads": [head.to_json() for head in self.heads],
            "precision": self.precision,
            **(self.subject.to_json() if self.subject else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Evaluation:
        """Read what `to_json` returned, or an earlier version has written.

        Raises:
            ValueError: for a later version, and scores that are incomplete.
        """
        if values.get("version", 1) > VERSION:
            raise ValueError(
                f"expected version {VERSION} or lower, received {values['version']}: a later "
                "version of keras_dpn has written it; update keras_dpn."
            )
        heads = values.get("heads", values.get("stages"))
        if heads is None:
            raise ValueError("expected an evaluation, with the scores of its `heads`.")
        settings = {key: values[key] for key in ("tile", "overlap") if key in values}
        run = values.get("run")
        return cls(
            dataset=values.get("dataset", ""),
            split=values.get("split", ""),
            num_images=values.get("images", 0),
            expected_images=values.get("official"),
            num_models=values.get("models", 1),
            settings=InferenceSettings(
                scales=tuple(values.get("scales", (1.0,))),
                horizontal_flip=values.get("horizontal_flip", values.get("mirror", False)),
                **settings,
            ),
            crf=values.get("crf"),
            precision=values.get("precision"),
            heads=tuple(map(HeadScores.from_json, heads)),
            subject=Subject(Path(run), values["stage"], values["output"]) if run else None,
        )


def is_evaluation_file(path: Path) -> bool:
    """Return whether a file is one that `keras-dpn evaluate` writes, by its content.

    Args:
        path: OUT.json; or OUT.npz, OUT_trimap.png or OUT_iterations.png next to one.
    """
    stem = path.stem.removesuffix("_trimap").removesuffix("_iterations")
    file = path.with_name(f"{stem}.json")
    try:
        Evaluation.load(path if path.suffix == ".json" else file, with_counts=False)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return False
    return True


class Counts(NamedTuple):
    """The confusion matrices of one prediction's images; their split, if it is known."""

    title: str
    names: Sequence[str]
    confusions: np.ndarray
    split: str = ""


def load_counts(source: str, split: str) -> Counts:
    """Read the counts of each image that `Evaluation.save` wrote.

    Args:
        source: "RUN" or "RUN:HEAD"; RUN is a run's directory or an evaluation's JSON file, HEAD one
            of the evaluation's, the last one by default.
        split: which of a run's evaluations.

    Raises:
        ValueError: if there is no such file or head.
    """
    path, head = Path(source), None
    if not path.exists() and ":" in source:
        text, head = source.rsplit(":", 1)
        path = Path(text)
    file = evaluation_file(path, split) if path.is_dir() else path
    counts = file.with_suffix(".npz")
    if not counts.is_file():
        raise ValueError(
            f"{counts}: no such file; `keras-dpn evaluate RUN --split {split}` writes it."
        )
    evaluation = Evaluation.load(file.with_suffix(".json"))
    try:
        scores = evaluation.head(head)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    if scores.confusions is None:
        raise ValueError(f"{counts}: it has no counts of {scores.name!r}; evaluate the run again.")
    return Counts(source, evaluation.image_names, scores.confusions, evaluation.split)
