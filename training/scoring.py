"""What a model scores on a split of a data set, counted in one pass."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from rich.progress import Progress, track

from keras_dpn import inference, metrics, models
from keras_dpn.crf import refine
from training.ahead import map_ahead
from training.data import ClipDataset, Dataset, Example

AS_IT_IS = {"scales": [1.0], "mirror": False, "tile": None}
TRIMAP_WIDTH = 40  # pixels, of the widest band: DeepLab v1's Fig. 5

Link = tuple[np.ndarray, np.ndarray]


def evaluate(
    model: keras.Model | Sequence[keras.Model],
    dataset: Dataset,
    split: str,
    *,
    stages: Sequence[str] | None = None,
    scales: Sequence[float] = (1.0,),
    mirror: bool = False,
    tile: int | None = None,
    crf: Mapping[str, Any] | None = None,
    trimap: Literal["void", "boundary"] | None = None,
    consistency: bool = False,
    box_threshold: float = 0.5,
    boundary_tolerance: float = 0.0075,
    calibration_bins: int = 15,
    progress: bool = False,
) -> dict[str, Any]:
    """Scores every stage asked for in one pass over a split; images of any sizes.

    Args:
        model: logits (B, H, W, L) from RGB images; or several, whose probabilities are averaged.
        dataset: with the model's classes.
        split: one of the data set's.
        stages: names of the model's stages; by default its output alone, as "final".
        scales: as in `inference.predict_probabilities`.
        mirror: as in `inference.predict_probabilities`.
        tile: as in `inference.predict_probabilities`; None: whole images.
        crf: keyword arguments of `crf.refine`; a stage "final+crf" follows the stage "final" then.
        trimap: score bands of 1 to 40 pixels around the "void" or a "boundary" too, as
            `metrics.trimap_distance` draws them.
        consistency: score how far the labels of neighbouring frames agree along the optical flow
            too (`metrics.temporal_confusion`); networks for clips always do.
        box_threshold: as `threshold` in `metrics.object_scores`.
        boundary_tolerance: as `tolerance` in `metrics.object_counts`.
        calibration_bins: as `bins` in `metrics.calibration_counts`.
        progress: whether to show a progress bar.

    Returns:
        "dataset", "split", "images", "official" (how many images the complete split has, if that is
        known), "models" (how many), "scales", "mirror", "tile", "crf", and in
        "stages" for each stage "name", the `metrics.scores`, the "confusion" matrix, truth in rows,
        "objects", the `metrics.object_scores` with "box_threshold" and "boundary_tolerance",
        "calibration", the `metrics.calibration` of its bins,
        and on request "trimap": "around", "widths", and for each width "miou" and "accuracy", and
        "consistency": "miou" and the number of "pixels" compared. All of this goes into the JSON
        file. "per_image" has the images' "names" and the "confusions" of each stage, an int array
        (images, L, L).

    Raises:
        ValueError: for a split that is unknown or empty, an image that can't be read, unknown
            stages, labels beyond the classes, a model with another number of classes; and where
            clips are needed, for a data set that has none, or scales, mirroring, tiles or several
            models.
    """
    networks = list(model) if isinstance(model, Sequence) else [model]
    examples = dataset.examples(split)
    if not examples:
        raise ValueError(f"The split '{split}' of {dataset.name} has no images.")
    consistency = consistency or any(isinstance(n, models.SpatialTemporalDPN) for n in networks)
    look = {"scales": list(scales), "mirror": mirror, "tile": tile}
    if not consistency:
        predictions = _predict_pictures(networks, dataset, examples, stages, look, progress)
    elif look == AS_IT_IS and len(networks) == 1:
        predictions = _predict_sequences(networks[0], dataset, split, stages, progress)
    else:
        raise ValueError(
            "Sequences are looked at as they are, by one model: leave out scales, mirroring and "
            "tiles."
        )
    settings = _Settings(trimap, box_threshold, boundary_tolerance, calibration_bins)
    tallies: dict[str, _Tally] = {}
    names = []
    for seen in predictions:
        if seen.labels is not None:
            names.append(seen.name)
        for name, probabilities in _with_crf(seen.found, seen.image, crf):
            if name not in tallies:
                tallies[name] = _Tally(dataset, settings)
            tallies[name].add(seen, probabilities)
    return {
        "dataset": dataset.name,
        "split": split,
        "images": len(examples),
        "official": dataset.official.get(split),
        "models": len(networks),
        **look,
        "crf": crf,
        "stages": [{"name": name, **tally.result()} for name, tally in tallies.items()],
        "per_image": {
            "names": names,
            "confusions": {name: np.stack(tally.confusions) for name, tally in tallies.items()},
        },
    }


class _Seen(NamedTuple):
    """A picture, its labels if it has any, and probabilities (H, W, L) by the stage's name.

    Of a frame that follows another `link` has the flow from the other to this one, and back.
    """

    name: str
    image: np.ndarray
    labels: np.ndarray | None
    found: dict[str, np.ndarray]
    link: Link | None = None


class _Settings(NamedTuple):
    """What is scored, as `evaluate` takes it."""

    trimap: str | None
    box_threshold: float
    boundary_tolerance: float
    calibration_bins: int


def _predict_pictures(
    networks: Sequence[keras.Model],
    dataset: Dataset,
    examples: Sequence[Example],
    stages: Sequence[str] | None,
    look: Mapping[str, Any],
    progress: bool,
) -> Iterator[_Seen]:
    read = map_ahead(dataset.read, examples)
    shown = track(examples, "evaluating", disable=not progress)
    for example, (image, labels) in zip(shown, read, strict=True):
        if stages is None:
            found = {"final": inference.predict_probabilities(networks, image, **look)}
        else:
            found = inference.stage_probabilities(networks, image, stages, **look)
        yield _Seen(example.name, image, labels, found)


def _predict_sequences(
    model: keras.Model,
    dataset: Dataset,
    split: str,
    stages: Sequence[str] | None,
    progress: bool,
) -> Iterator[_Seen]:
    """The frames of all sequences of a split that has labels, in order of time."""
    if not isinstance(dataset, ClipDataset):
        raise ValueError(f"Expected a data set of clips, which {dataset.name} is not.")
    sequences = dataset.sequences[split]
    total = sum(map(len, sequences))
    with Progress(*Progress.get_default_columns(), disable=not progress) as bar:
        task = bar.add_task(f"evaluating {split}", total=total)
        for sequence in sequences:
            for seen in _predict_sequence(model, dataset, split, sequence, stages):
                yield seen
                bar.advance(task)


def _predict_sequence(
    model: keras.Model,
    dataset: ClipDataset,
    split: str,
    sequence: Sequence[Example],
    stages: Sequence[str] | None,
) -> Iterator[_Seen]:
    shown, kept = itertools.tee(map(dataset.read_frame, sequence))
    links = dataset.links(sequence)
    used = None
    if getattr(model, "linking", None) == "flow":
        used, links = itertools.tee(links)
    if stages is None:
        found = ({"final": p} for p in inference.predict_video(model, shown, used))
    else:
        found = inference.stage_video_probabilities(model, shown, used, stages)
    labelled = set(dataset.examples(split))
    link = None
    for example, image, maps in zip(sequence, kept, found, strict=True):
        labels = dataset.read(example)[1] if example in labelled else None
        yield _Seen(example.name, image, labels, maps, link)
        link = next(links, None)


class _Tally:
    """What is counted of one stage's answers."""

    def __init__(self, dataset: Dataset, settings: _Settings):
        self._name, self._classes, self._settings = dataset.name, dataset.classes, settings
        self.confusions: list[np.ndarray] = []
        """Of each image that has labels."""
        self._objects: list[np.ndarray] = []
        self._bands, self._agreement, self._calibration = 0, 0, 0
        self._before: np.ndarray | None = None

    def add(self, seen: _Seen, probabilities: np.ndarray) -> None:
        """Count one picture."""
        count = self._classes.num_classes
        if probabilities.shape[-1] != count:
            raise ValueError(
                f"{self._name} has {count} classes, but the model answers with "
                f"{probabilities.shape[-1]}."
            )
        predicted = inference.to_labels(probabilities)
        if seen.labels is not None:
            self._add_labelled(seen.labels, predicted, probabilities)
        if seen.link is not None:
            pair = self._before, predicted, *seen.link, count
            self._agreement = self._agreement + metrics.temporal_confusion(*pair)
        self._before = predicted

    def _add_labelled(
        self, labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray
    ) -> None:
        ignore, settings = self._classes.ignore, self._settings
        pixels = labels, predicted, self._classes.num_classes, ignore
        self.confusions.append(metrics.confusion_matrix(*pixels))
        self._objects.append(metrics.object_counts(*pixels, settings.boundary_tolerance))
        places = predicted[..., None].astype("int64")
        confidences = np.take_along_axis(probabilities, places, axis=-1)[..., 0]
        self._calibration = self._calibration + metrics.calibration_counts(
            labels, predicted, confidences, ignore, settings.calibration_bins
        )
        if settings.trimap:
            in_bands = metrics.trimap_confusions(*pixels, settings.trimap, TRIMAP_WIDTH)
            self._bands = self._bands + in_bands

    def result(self) -> dict[str, Any]:
        """The stage's part of the evaluation."""
        confusion, settings = np.sum(self.confusions, axis=0), self._settings
        result = {
            **metrics.scores(confusion),
            "confusion": confusion.tolist(),
            "objects": {
                **metrics.object_scores(self._objects, settings.box_threshold),
                "box_threshold": settings.box_threshold,
                "boundary_tolerance": settings.boundary_tolerance,
            },
            "calibration": metrics.calibration(self._calibration),
        }
        if settings.trimap:
            result["trimap"] = _trimap_curve(self._bands, settings.trimap)
        if np.ndim(self._agreement):
            agreement = metrics.scores(self._agreement)["miou"]
            result["consistency"] = {"miou": agreement, "pixels": int(self._agreement.sum())}
        return result


def _with_crf(
    found: dict[str, np.ndarray], image: np.ndarray, crf: Mapping[str, Any] | None
) -> Iterator[tuple[str, np.ndarray]]:
    """Names and probabilities of the stages, each followed by what the CRF makes of it."""
    for name, probabilities in found.items():
        yield name, probabilities
        if crf is not None:
            yield f"{name}+crf", refine(image, probabilities, **crf)


def _trimap_curve(confusions: np.ndarray, around: str) -> dict[str, Any]:
    rows = [metrics.scores(confusion) for confusion in confusions]
    widths = list(range(1, len(rows) + 1))
    scores = {key: [row[key] for row in rows] for key in ("miou", "accuracy")}
    return {"around": around, "widths": widths, **scores}
