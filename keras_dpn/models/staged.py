"""What the networks here have in common: outputs after each of their stages."""

import difflib
import inspect

import keras

from keras_dpn.models.preset import from_preset
from keras_dpn.ops.checks import check_one_of
from keras_dpn.presets.files import write_preset
from keras_dpn.presets.source import available


class _Presets:
    """`Network.presets`: the included presets of a class, `PresetInfo` by name."""

    def __get__(self, instance, network):
        names = {network.__name__, *(kind.__name__ for kind in network.__subclasses__())}
        return {name: info for name, info in available().items() if info.network in names}


class StagedModel(keras.Model):
    """A functional network with logits after each of its stages; the last is its output.

    `clip_frames`, frames that a network for clips spans, is None for images; `needs_flow` says
    whether it takes the optical flow between them. `affinity_relations` names the relations that
    `affinity_model` knows.

    Args:
        image: the network's input, `(B, H, W, 3)`.
        stages: logits `(B, H, W, L)` by the stage's name, in the order of training; among them
            "final", the network's output.
        config: the constructor's arguments, for `get_config`; all but `name` and `input_shape`,
            which Keras has itself, become attributes.

    Raises:
        TypeError: for an argument that the network's constructor doesn't have; `keras.Model`
            ignores it.
    """

    clip_frames = None
    needs_flow = False
    affinity_relations = ()

    def __new__(cls, *args, **kwargs):
        check_arguments(cls, kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, image, stages, config):
        super().__init__(image, stages["final"], name=config["name"])
        for key, value in config.items():
            if key not in ("name", "input_shape"):
                setattr(self, key, value)
        self._config = config
        self._stages = stages

    @property
    def stage_names(self):
        """Names of the network's stages in the order of training."""
        return tuple(self._stages)

    def has_stage(self, stage):
        """Whether `stage_model` knows the name; some networks know more than `stage_names`."""
        return stage in self._stages

    def stage_model(self, stage):
        """The network up to one stage, as a model that shares this one's weights.

        Args:
            stage: one of `stage_names`.

        Returns:
            `keras.Model` from images to logits `(B, H, W, L)`.

        Raises:
            ValueError: if the network has no such stage.
        """
        check_one_of("stage", stage, self.stage_names)
        return keras.Model(self.input, self._stages[stage], name=f"{self.name}_{stage}")

    def context_kernels(self):
        """Return the filters that rate the labels around each label, by frame.

        Returns:
            float64 `(frames, n, n, L, L K)`, in order of time, as `viz.context_maps` and
            `viz.compatibility_matrix` take those of each frame; None for a network without label
            contexts.
        """
        return None

    def affinity_model(self, relation):
        """Return a model of the logits that one relation gives pairs of labels.

        Args:
            relation: one of `affinity_relations`.

        Returns:
            `keras.Model` from images to two tensors: bool `(E,)`, which edges exist, and logits
            `(B, E, L, L)` of the first and the second node's labels, as `viz.label_affinity` takes
            them.

        Raises:
            ValueError: if the network has no such relation.
        """
        check_one_of("relation", relation, self.affinity_relations)

    @classmethod
    def from_preset(cls, preset, num_classes=None, dtype=None, load_weights=True, **overrides):
        """A trained network of this class; see `keras_dpn.models.from_preset`.

        Raises:
            ValueError: for a preset of another class, and as `keras_dpn.models.from_preset`.
        """
        return from_preset(preset, num_classes, dtype, load_weights, network=cls, **overrides)

    def save_to_preset(self, directory, *, classes=None, card=None, weights_dtype="float32"):
        """Write the network as a preset, which `from_preset` and `keras.saving.load_model` read.

        Args:
            directory: a new or empty directory, written whole or not at all.
            classes: `keras_dpn.Classes`, names and colours of the labels.
            card: `keras_dpn.presets.Card`, what else is to be known of the network.
            weights_dtype: "float32", or "float16" for files of half the size.

        Raises:
            ValueError: for a directory that holds something, and values out of these ranges.
        """
        write_preset(self, directory, classes=classes, card=card, weights_dtype=weights_dtype)

    presets = _Presets()

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def check_arguments(cls, arguments):
    """Raise TypeError unless the constructor of a class has all of these arguments.

    Args:
        cls: the class; if its constructor passes any argument on, all are right.
        arguments: names.

    Raises:
        TypeError: with the nearest name, for the first that is wrong.
    """
    _, *parameters = inspect.signature(cls.__init__).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    known = [parameter.name for parameter in parameters]
    for name in arguments:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean `{nearest[0]}`?" if nearest else f"expected {', '.join(known)}."
            raise TypeError(f"{cls.__name__} got an unexpected argument `{name}`; {advice}")


def check_input_shape(input_shape):
    """Raise ValueError unless `input_shape` is that of RGB images, channels last."""
    if len(input_shape) != 3 or input_shape[-1] != 3 or 0 in input_shape:
        raise ValueError(
            "Invalid value for argument `input_shape`: expected (height, width, 3), received "
            f"{tuple(input_shape)}."
        )


def check_crf(crf):
    """Raise ValueError unless `crf` is None or a dictionary of arguments of `MeanFieldCRF`."""
    if crf is not None and not isinstance(crf, dict):
        raise ValueError(
            "Invalid value for argument `crf`: expected None or a dictionary of arguments of "
            f"`MeanFieldCRF` such as {{'num_iterations': 5}}, received {crf!r}."
        )
