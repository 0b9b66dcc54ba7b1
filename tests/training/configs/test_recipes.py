import dataclasses
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn.layers import Dropout
from tests.keras_dpn.support import without_values
from training.configs.datasets import GENERATED
from training.configs.networks import DPNTrainConfig
from training.configs.recipes import ALIASES, INFO, RECIPES, find_recipe
from training.configs.schema import Augmentation, StageConfig
from training.data.generated import context_scenes, houses, scenes
from training.data.sets import camvid, cityscapes, pascal_context, sift_flow, voc
from training.engine.networks import adapter, build_model
from training.engine.trainer import Trainer

CLASSES = {
    "scenes": scenes.CLASSES,
    "moving_scenes": scenes.CLASSES,
    "context_scenes": context_scenes.CLASSES,
    "houses": houses.CLASSES,
    "camvid": camvid.CLASSES,
    "cityscapes": cityscapes.CLASSES,
    "voc": voc.CLASSES,
    "folder": voc.CLASSES,
    "coco": voc.CLASSES,
    "pascal_context": pascal_context.CLASSES,
    "sift_flow": sift_flow.CLASSES,
}
PARAMETERS = {
    "dpn/scenes": 321_435,
    "dpn/moving-scenes": 321_435,
    "dpn-video/moving-scenes": 361_365,
    "dpn-video/moving-scenes/static": 361_365,
    "parsenet/context-scenes": 324_533,
    "parsenet/context-scenes/local": 322_741,
    "piecewise/houses/unary": 9_869,
    "piecewise/houses/above": 25_134,
    "piecewise/houses/surrounding": 25_134,
    "dpn/camvid": 20_544_243,
    "dpn-video/camvid": 20_584_173,
    "dpn-video/camvid/static": 20_584_173,
    "dpn/camvid/street": 20_969_779,
    "dpn/cityscapes": 21_067_795,
    "dpn/folder": 20_684_143,
    "dpn/voc": 134_525_295,
    "dpn/coco": 134_525_295,
    "deeplab/voc/4x4": 65_140_565,
    "deeplab/voc/4x4-largestride": 65_140_565,
    "deeplab/voc/7x7": 134_346_581,
    "deeplab/voc/largefov": 20_505_429,
    "deeplab/voc/msc-largefov": 21_711_550,
    "deeplab/camvid": 20_495_179,
    "deeplab/camvid/crf": 20_495_302,
    "parsenet/voc/baseline": 20_505_429,
    "parsenet/voc/baseline-norm": 20_506_453,
    "parsenet/voc/early": 20_526_933,
    "parsenet/voc/early-norm": 20_528_981,
    "parsenet/voc/late": 20_526_933,
    "parsenet/voc/late-norm": 20_528_981,
    "parsenet/camvid": 20_508_491,
    "fcn/pascal-context": 134_838_396,
    "fcn/pascal-context/fc7": 134_506_364,
    "fcn/sift-flow": 134_573_921,
    "fcn/sift-flow/fc7": 134_395_745,
    "fcn/camvid": 20_523_851,
    "piecewise/voc/unary-1scale": 138_987_349,
    "piecewise/voc/unary": 387_510_101,
    "piecewise/voc/surrounding": 388_511_993,
    "piecewise/voc/above": 388_511_993,
    "piecewise/voc/both": 1_164_534_087,
    "piecewise/voc": 1_164_534_089,
    "piecewise/camvid": 154_394_301,
}


# tf.data's functions are graphs all the same, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")


@pytest.fixture(autouse=True)
def eagerly():
    """Two steps are fewer than it takes to make a graph."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def test_names():
    """network/dataset or network/dataset/variant; the names of 0.1 find them too."""
    assert all(re.fullmatch(r"[a-z-]+(/[a-z0-9-]+){1,2}", name) for name in RECIPES)
    assert set(ALIASES.values()) <= set(RECIPES) and not set(ALIASES) & set(RECIPES)
    assert find_recipe("camvid_linked") == find_recipe("dpn-video/camvid") == "dpn-video/camvid"
    with pytest.raises(
        ValueError, match="expected a recipe .*'dpn/scene'; did you mean dpn/scenes"
    ):
        find_recipe("dpn/scene")
    with pytest.raises(ValueError, match="did you mean dpn/moving-scenes?"):
        find_recipe("moving_scene")


@pytest.mark.parametrize("name", INFO)
def test_recipes_are_described(name):
    recipe = INFO[name]
    assert recipe.config is RECIPES[name] and recipe.title and recipe.cost
    command = recipe.command(name)
    assert command.startswith(f"keras-dpn train {name} ")
    assert ("--data-dir DATASET" in command) == (recipe.config.data.dataset not in GENERATED)
    for score in (recipe.paper_miou, recipe.measured_miou):
        assert score is None or 1 < score < 100  # in percent


def test_houses_look_as_far_as_their_dataset_says():
    data = RECIPES["piecewise/houses/unary"].data
    assert data.augmentation.crop == houses.BASE_SIZE
    up, side = houses.SIGHT
    relations = RECIPES["piecewise/houses/above"].model.relations
    assert relations == {"above": (-up, -side, 0.0, side)}


def test_each_recipe_is_counted():
    assert set(PARAMETERS) == set(RECIPES)


@pytest.mark.parametrize(("name", "parameters"), PARAMETERS.items())
def test_recipes_have_their_parameters(name, parameters):
    recipe = RECIPES[name]
    classes = CLASSES[recipe.data.dataset].num_classes
    assert without_values(lambda: build_model(recipe, classes)).count_params() == parameters


@pytest.fixture
def start(small_scenes, small_clips, tmp_path):
    """Make a function that prepares the training of a recipe's network at a tiny width."""

    def start(name):
        recipe = RECIPES[name]
        crop = (
            (112, 112) if recipe.network == "PiecewiseCRF" else (48, 64)
        )  # its cells have neighbours
        data = dataclasses.replace(
            recipe.data, train_split="train", batch_size=1, augmentation=Augmentation(crop=crop)
        )
        config = dataclasses.replace(
            recipe, data=data, model=dataclasses.replace(recipe.model, width=0.02)
        )
        pictures = small_clips if config.clip_frames else small_scenes
        keras.utils.set_random_seed(0)
        model = build_model(config, pictures.classes.num_classes)
        counts = 2 * (np.ones(pictures.classes.num_classes, "int64"),)
        strategy = tf.distribute.get_strategy()
        return Trainer(config, model, pictures, counts, tmp_path, strategy)

    return start


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("name", RECIPES)
def test_recipes_take_two_steps(name, start):
    training = start(name)
    config, model = training.config, training.model
    # The same for every stage, as no stage has a size of batches of its own here.
    batches = training.batches.train(StageConfig(epochs=2), seed=0, first_epoch=0)
    batches = list(batches.take(2).as_numpy_iterator())  # also for JAX
    for stage in config.stages:
        settings = config.stage(stage.name)
        if not settings.epochs:
            continue
        settings = dataclasses.replace(settings, batch_size=None, epochs=2)
        learner = training.stage_models.compiled(stage, settings, steps=2)
        before = {weight.path: np.array(weight) for weight in model.weights}
        losses = [learner.train_on_batch(*batch)[0] for batch in batches]
        assert np.isfinite(losses).all()
        changed = {w.path for w in model.weights if np.any(np.array(w) != before[w.path])}
        assert changed and changed <= {weight.path for weight in learner.trainable_weights}


NETWORKS_BY_RECIPE = (
    *(
        "dpn/scenes",
        "dpn/camvid/street",
        "parsenet/context-scenes",
        "dpn/voc",
        "dpn-video/moving-scenes",
    ),
    *("deeplab/voc/msc-largefov", "deeplab/camvid/crf", "parsenet/voc/early-norm"),
    *("parsenet/voc/late-norm", "fcn/pascal-context", "piecewise/houses/above", "piecewise/camvid"),
)


def test_each_network_has_a_recipe_here():
    networks = {RECIPES[name].network for name in NETWORKS_BY_RECIPE}
    assert networks == {recipe.network for recipe in RECIPES.values()}


def assert_as_in_inference(model, x):
    outputs = [keras.tree.flatten(model(x, training=training)) for training in (True, False)]
    for ours, theirs in zip(*outputs, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def frozen_part(model):
    """A model up to the outputs of all layers before which nothing learns; None without one."""

    def learns(layer):
        return layer.trainable and (layer.weights or isinstance(layer, keras.layers.Dropout))

    outputs = []
    for layer in model.layers:
        if isinstance(layer, (keras.layers.InputLayer, keras.Model)):  # a nested one has its own
            continue
        if len(layer._inbound_nodes) == 1:
            before = keras.Model(model.input, layer.output).layers
            outputs += [] if any(map(learns, before)) else [layer.output]
    return keras.Model(model.input, outputs) if outputs else None


@pytest.mark.parametrize("name", NETWORKS_BY_RECIPE)
def test_what_is_frozen_behaves_as_in_inference(name, start):
    """In every stage that the network can be trained in, also those that the recipe leaves out."""
    training = start(name)
    model, config = training.model, training.config
    (x, _), *_ = training.batches.train(StageConfig(epochs=1), seed=0, first_epoch=0)
    frozen = set()
    for stage in config.stages:
        if stage.head not in model.head_names:
            continue
        settings = dataclasses.replace(config.stage(stage.name), batch_size=None, epochs=1)
        learner = training.stage_models.compiled(stage, settings, steps=2)
        if part := frozen_part(learner):
            assert_as_in_inference(part, x)
            frozen |= {layer.name for layer in part.layers if isinstance(layer, Dropout)}
        for layer in learner.layers:
            if isinstance(layer, keras.layers.Dropout):
                dropped = np.any(np.array(layer(np.ones((1, 1000)), training=True)) == 0)
                assert dropped == (stage.is_trainable(layer.name) and layer.rate > 0)
    is_frozen_for_others = isinstance(config, DPNTrainConfig) or "msc" in name
    assert ("b9_dropout" in frozen) == is_frozen_for_others
    for layer in model.layers:
        layer.trainable = False
    learner = adapter(config).learner(config, model, config.stages[-1], 255)
    assert_as_in_inference(learner or model, x)
