"""Adapters that build networks and describe their training, by the network's name."""

from dataclasses import asdict
from typing import Any, Protocol, cast

import keras

from keras_dpn import models
from keras_dpn.models import pretrained
from keras_dpn.models.model_file import load_model
from keras_dpn.models.piecewise_crf import graph_size
from keras_dpn.models.weights_file import local_file
from keras_dpn.presets.source import is_directory

from ..configs.networks import JOINT, TOGETHER, PiecewiseTrainConfig
from ..configs.schema import Stage, TrainConfig
from ..data.pipeline.clips import ClipInputs


class NetworkAdapter(Protocol):
    """Interface for building and training a network."""

    def build(self, config: TrainConfig, num_classes: int) -> keras.Model:
        """Build the configured network with random weights."""

    def load_weights(self, model: keras.Model, source: str, sha256: str | None = None) -> str:
        """Load weights from a file or preset; return a message about the result.

        Raises:
            ValueError: for a file of another SHA-256, and as `load_pretrained`.
        """

    def learner(
        self, config: TrainConfig, model: keras.Model, stage: Stage, ignore_label: int
    ) -> keras.Model | None:
        """Return a model with its own loss for a stage that shares the weights of `model`.

        None: the stage's configured loss on its head.
        """

    def loss_stride(self, config: TrainConfig, head: str) -> int | None:
        """Return the pixels per axis between two cells of the grid that a head upsamples.

        Such a head upsamples with aligned corners, so that every N-th pixel is a cell of the grid.
        None: it has no such grid.
        """

    def describe_size(self, config: TrainConfig, num_classes: int) -> str | None:
        """Return a message about the network's size before it is built, or None."""

    def enter(self, config: TrainConfig, model: keras.Model, stage: Stage) -> None:
        """Prepare the weights of a stage that begins."""


class Adapter:
    """A network that is trained by the configured losses on its heads."""

    def build(self, config: TrainConfig, num_classes: int) -> keras.Model:
        network = getattr(models, config.network)
        return network(num_classes=num_classes, **model_arguments(config))

    def load_weights(self, model: keras.Model, source: str, sha256: str | None = None) -> str:
        report = pretrained.load_pretrained(model, source, sha256=sha256)
        loaded = f"loaded {len(report.filled)} weights, left {report.left}"
        return f"{report.path}: {loaded}; SHA-256 {report.sha256}"

    def learner(
        self, config: TrainConfig, model: keras.Model, stage: Stage, ignore_label: int
    ) -> keras.Model | None:
        return None

    def loss_stride(self, config: TrainConfig, head: str) -> int | None:
        return None

    def describe_size(self, config: TrainConfig, num_classes: int) -> str | None:
        return None

    def enter(self, config: TrainConfig, model: keras.Model, stage: Stage) -> None:
        pass


class SpatialTemporalDPNAdapter(Adapter):
    """A network for clips, which can start from a `DPN` for images."""

    def load_weights(self, model: keras.Model, source: str, sha256: str | None = None) -> str:
        path, digest = local_file(source, sha256)
        trained = None
        if is_directory(source):
            trained = models.from_preset(source)
        elif path.suffix == ".keras":
            trained = load_model(path)
        if not isinstance(trained, models.DPN):
            return super().load_weights(model, source, sha256)
        try:
            model.start_from(trained)
        except ValueError as error:
            raise ValueError(f"{source}: {error}") from None
        return f"{source}: started from a network for images; SHA-256 {digest}"


class DeepLabAdapter(Adapter):
    """A network whose heads, except the CRF's, upsample a grid of every 8th pixel."""

    def loss_stride(self, config: TrainConfig, head: str) -> int | None:
        return None if head == "final" and config.model.crf else 8


class PiecewiseCRFAdapter(Adapter):
    """A conditional random field with its own objectives."""

    def learner(
        self, config: TrainConfig, model: keras.Model, stage: Stage, ignore_label: int
    ) -> keras.Model:
        settings = cast(PiecewiseTrainConfig, config)
        if stage.name == JOINT:
            return model.learner(objective=settings.joint_objective, ignore_label=ignore_label)
        potentials = None if stage.name == TOGETHER else (stage.name,)
        return model.learner(potentials, objective=settings.objective, ignore_label=ignore_label)

    def describe_size(self, config: TrainConfig, num_classes: int) -> str:
        settings = cast(PiecewiseTrainConfig, config)
        stages = (settings.stage(name) for name in settings.used_stages)
        sizes = [config.batch_size(stage) for stage in stages if stage.epochs]
        crop, model = config.data.augmentation.crop, model_arguments(config)
        size = graph_size(crop, max(sizes), num_classes=num_classes, **model)
        return f"{size}{' if all learn together' * (settings.order == 'apart')}"

    def enter(self, config: TrainConfig, model: keras.Model, stage: Stage) -> None:
        if cast(PiecewiseTrainConfig, config).warm_start and stage.name in model.relations:
            model.start_relations_from_unary((stage.name,))


ADAPTERS: dict[str, NetworkAdapter] = {
    "DPN": Adapter(),
    "SpatialTemporalDPN": SpatialTemporalDPNAdapter(),
    "DeepLab": DeepLabAdapter(),
    "ParseNet": Adapter(),
    "FCN": Adapter(),
    "PiecewiseCRF": PiecewiseCRFAdapter(),
}


def adapter(config: TrainConfig) -> NetworkAdapter:
    """Return the adapter of the configured network."""
    return ADAPTERS[config.network]


def build_model(config: TrainConfig, num_classes: int) -> keras.Model:
    """Build the configured network with random weights."""
    return adapter(config).build(config, num_classes)


def model_arguments(config: TrainConfig) -> dict[str, Any]:
    """Return the arguments of the network's constructor, except the number of classes."""
    size = config.data.resize
    return asdict(config.model) | ({"input_shape": (*size, 3)} if size else {})


def clip_inputs(config: TrainConfig) -> ClipInputs | None:
    """Return the clips that the network takes; None for a network for images."""
    if config.clip_frames is None:
        return None
    return ClipInputs(config.clip_frames, flow=config.needs_flow)
