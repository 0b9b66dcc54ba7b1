"""Base of the networks: heads, presets, checked arguments."""

import inspect
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import keras
import numpy as np

from keras_dpn.classes import Classes
from keras_dpn.deprecation import nearest_name, warn_renamed
from keras_dpn.models.heads import Head, ModelTraits, head_of
from keras_dpn.models.plain import plain
from keras_dpn.models.preset import from_preset
from keras_dpn.ops.checks import check_one_of
from keras_dpn.presets.files import Card, write_preset
from keras_dpn.presets.source import PresetInfo, available
from keras_dpn.typing import Shape, Tensor


class _Presets:
    """`Network.presets`: the included presets of a class, `PresetInfo` by name."""

    def __get__(self, instance: object, network: type[keras.Model]) -> dict[str, PresetInfo]:
        names = {network.__name__, *(subclass.__name__ for subclass in network.__subclasses__())}
        return {name: info for name, info in available().items() if info.network in names}


class StagedModel(keras.Model):
    """A functional network with heads: logits after each of its parts; the last is its output.

    Args:
        image: the network's input, `(B, H, W, 3)`; a network for clips has its own inputs.
        heads: logits `(B, H, W, L)` by the head's name, in the order of training; among them
            "final", the network's output.
        config: the constructor's arguments, for `get_config`; all but `name` and `input_shape`,
            which Keras defines, become attributes.

    Attributes:
        clip_frames: how many frames a network for clips spans; None for images.
        needs_flow: whether it takes the optical flow between the frames.
        affinity_relations: names of the relations that `affinity_model` knows.

    Raises:
        TypeError: for an argument that the network's constructor doesn't have; `keras.Model`
            ignores it.
    """

    clip_frames: int | None = None
    needs_flow: bool = False
    affinity_relations: tuple[str, ...] = ()
    passes_on_to: type[Any] | None = None
    """The network whose arguments the constructor takes as `**arguments`."""
    deprecated_arguments: Mapping[str, str] = {}
    """Deprecated arguments of the constructor, and their replacements."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        check_arguments(cls, kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, image: Any, heads: Mapping[str, Tensor], config: dict[str, Any]) -> None:
        config = plain(config)
        super().__init__(image, heads["final"], name=config["name"])
        for key, value in config.items():
            if key not in ("name", "input_shape"):
                setattr(self, key, value)
        self._config = config
        self._head_outputs = heads

    # === Heads ===

    @property
    def heads(self) -> tuple[Head, ...]:
        """The network's heads, each a `Head` with name and title, in the order of training."""
        return tuple(head_of(name) for name in self._head_outputs)

    @property
    def head_names(self) -> tuple[str, ...]:
        """The names of `heads`."""
        return tuple(self._head_outputs)

    def has_head(self, head: str) -> bool:
        """Return whether `head_model` knows a name; some networks know more than `head_names`."""
        return head in self._head_outputs

    def head_model(self, head: str) -> keras.Model:
        """Return the network up to one head, as a model that shares this one's weights.

        Args:
            head: one of `head_names`.

        Returns:
            `keras.Model` from images to logits `(B, H, W, L)`.

        Raises:
            ValueError: if the network has no such head.
        """
        check_one_of("head", head, self.head_names)
        return keras.Model(self.input, self._head_outputs[head], name=f"{self.name}_{head}")

    # === Weights ===

    def start_from(self, other: keras.Model) -> None:
        """Copy the weights of a trained network with the same layers.

        Args:
            other: the network; layers correspond by name.

        Raises:
            ValueError: if only one of the two has a layer, or its weights have other shapes.
        """
        values = self._weights_from(_weighted_layers(other))
        own = _weighted_layers(self)
        if values.keys() != own.keys():
            raise ValueError(
                "Invalid value for argument `other`: expected a network with the same layers, but "
                f"only one of the two has {', '.join(sorted(values.keys() ^ own.keys()))}."
            )
        for name, layer in own.items():
            if [np.shape(value) for value in values[name]] != [w.shape for w in layer.weights]:
                raise ValueError(
                    f"Invalid value for argument `other`: its layer {name} has weights of other "
                    "shapes; build both networks with the same arguments."
                )
        for name, layer in own.items():
            layer.set_weights(values[name])

    def _weights_from(
        self, layers: Mapping[str, keras.layers.Layer]
    ) -> dict[str, list[np.ndarray]]:
        """Return the weights to copy from another network's layers, by layer name."""
        return {name: layer.get_weights() for name, layer in layers.items()}

    # === Learned relations between labels ===

    def context_kernels(self) -> np.ndarray | None:
        """Return the label contexts: by frame, the filters that rate the labels around each label.

        Returns:
            float64 `(frames, n, n, L, L K)`, in order of time, as `viz.context_maps` and
            `viz.compatibility_matrix` take those of each frame; None for a network without label
            contexts.
        """
        return None

    def affinity_model(self, relation: str) -> keras.Model:
        """Return a model of one relation's logits for pairs of labels.

        Args:
            relation: one of `affinity_relations`.

        Returns:
            `keras.Model` from images to two tensors: bool `(E,)`, which edges exist, and logits
            `(B, E, L, L)` of the labels of the first and second node, for `viz.label_affinity`.

        Raises:
            ValueError: if the network has no such relation.
        """
        check_one_of("relation", relation, self.affinity_relations)
        raise NotImplementedError  # networks with relations override this method

    # === Presets ===

    @classmethod
    def from_preset(
        cls,
        preset: str | Path,
        num_classes: int | None = None,
        dtype: str | None = None,
        load_weights: bool = True,
        **overrides: Any,
    ) -> Self:
        """Return a trained network of this class; see `keras_dpn.models.from_preset`.

        Raises:
            ValueError: for a preset of another class, and as `keras_dpn.models.from_preset`.
        """
        return from_preset(preset, num_classes, dtype, load_weights, network=cls, **overrides)

    def save_to_preset(
        self,
        directory: str | Path,
        *,
        classes: Classes | None = None,
        card: Card | None = None,
        weights_dtype: Literal["float32", "float16", "int8"] = "float32",
    ) -> None:
        """Write the network as a preset, which `from_preset` and `keras.saving.load_model` read.

        Args:
            directory: a new or empty directory, written whole or not at all.
            classes: `keras_dpn.Classes`, names and colours of the labels, which `Segmenter` needs.
            card: `keras_dpn.presets.Card`, the network's training, scores and licence.
            weights_dtype: "float32"; "float16" or "int8" for smaller files, see
                `keras_dpn.presets.write_preset`.

        Raises:
            ValueError: for a directory that isn't empty, and values out of these ranges.
        """
        write_preset(self, directory, classes=classes, card=card, weights_dtype=weights_dtype)

    presets = _Presets()

    # === Config ===

    def get_config(self) -> dict[str, Any]:
        return plain(self._config)

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        return cls(**config)

    @classmethod
    def updated_config(
        cls, config: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return a network's configuration with some arguments replaced, for `from_config`."""
        return {**config, **overrides}

    # === Deprecated names ===

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Deprecated, see `head_names`."""
        warn_renamed("stage_names", "head_names")
        return self.head_names

    def stage_model(self, stage: str) -> keras.Model:
        """Deprecated, see `head_model`."""
        warn_renamed("stage_model", "head_model")
        return self.head_model(stage)

    def has_stage(self, stage: str) -> bool:
        """Deprecated, see `has_head`."""
        warn_renamed("has_stage", "has_head")
        return self.has_head(stage)

    def __dir__(self) -> list[str]:
        # Keras reads every attribute of a model that it saves or loads.
        return [name for name in super().__dir__() if name != "stage_names"]


def traits(model: Any) -> ModelTraits:
    """Return the heads of a model, and whether it takes clips and flow.

    Args:
        model: any `keras.Model`, also of other libraries.

    Returns:
        `ModelTraits`, without heads for a model of another library.

    Example:

    >>> traits(keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(5, 1)]))
    ModelTraits(heads=(), clip_frames=None, needs_flow=False)
    """
    if not isinstance(model, StagedModel):
        return ModelTraits()
    return ModelTraits(model.heads, model.clip_frames, model.needs_flow)


def _weighted_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    return {layer.name: layer for layer in model.layers if layer.weights}


def check_arguments(cls: type[Any], arguments: Collection[str]) -> None:
    """Raise TypeError unless the constructor of a class has all of these arguments.

    Args:
        cls: the class; all names are valid if its constructor takes any argument.
        arguments: names.

    Raises:
        TypeError: for the first unknown name; the message suggests the nearest one.
    """
    known = argument_names(cls)
    if known is None:
        return
    old = cls.deprecated_arguments
    for name in arguments:
        if name not in known and name not in old:
            advice = nearest_name(name, known, old)
            raise TypeError(f"{cls.__name__} got an unexpected argument `{name}`; {advice}")


def argument_names(cls: type[Any]) -> list[str] | None:
    """Return the names of a network's constructor arguments; None if it takes any.

    Args:
        cls: the class; arguments that its constructor passes on are those of
            `cls.passes_on_to`.
    """
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    names = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    if len(names) == len(parameters):
        return names
    network = vars(cls).get("passes_on_to")  # a subclass's constructor may take other arguments
    if network is None:
        return None
    return names + [name for name in argument_names(network) or () if name not in names]


def check_input_shape(input_shape: Shape) -> None:
    """Raise ValueError unless `input_shape` is that of images, channels last."""
    is_channels_first = len(input_shape) == 3 and input_shape[0] == 3 != input_shape[-1]
    if len(input_shape) != 3 or not input_shape[-1] or 0 in input_shape or is_channels_first:
        raise ValueError(
            "Invalid value for argument `input_shape`: expected (height, width, channels), "
            f"received {tuple(input_shape)}."
        )


def check_crf(crf: Any) -> None:
    """Raise ValueError unless `crf` is None or a dictionary of arguments of `MeanFieldCRF`."""
    if crf is not None and not isinstance(crf, dict):
        raise ValueError(
            "Invalid value for argument `crf`: expected None or a dictionary of arguments of "
            f"`MeanFieldCRF` such as {{'num_iterations': 5}}, received {crf!r}."
        )
