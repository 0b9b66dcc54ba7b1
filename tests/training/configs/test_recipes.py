import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn.layers import Dropout
from keras_dpn.models import PiecewiseCRF
from tests.keras_dpn.support import without_values
from training.configs.networks import DPNTrainConfig
from training.configs.recipes import RECIPES
from training.configs.schema import StageConfig
from training.data.generated import context_scenes, houses, scenes
from training.data.pipeline.batches import Augmentation
from training.data.sets import camvid, pascal_context, sift_flow, voc
from training.engine.setup import build_model
from training.engine.trainer import StagedTraining

CLASSES = {
    "scenes": scenes.CLASSES,
    "moving_scenes": scenes.CLASSES,
    "context_scenes": context_scenes.CLASSES,
    "houses": houses.CLASSES,
    "camvid": camvid.CLASSES,
    "voc": voc.CLASSES,
    "folder": voc.CLASSES,
    "coco": voc.CLASSES,
    "pascal_context": pascal_context.CLASSES,
    "sift_flow": sift_flow.CLASSES,
}
PARAMETERS = {
    "scenes": 321_435,
    "moving_scenes": 321_435,
    "moving_scenes_linked": 361_365,
    "moving_scenes_static": 361_365,
    "context_scenes": 324_533,
    "context_scenes_local": 322_741,
    "houses_unary": 9_869,
    "houses_above": 25_134,
    "houses_surrounding": 25_134,
    "camvid": 20_544_243,
    "camvid_linked": 20_584_173,
    "camvid_static": 20_584_173,
    "street": 20_969_779,
    "folder": 20_684_143,
    "dpn_voc": 134_525_295,
    "dpn_coco": 134_525_295,
    "deeplab_4x4_voc": 65_140_565,
    "deeplab_largestride_voc": 65_140_565,
    "deeplab_7x7_voc": 134_346_581,
    "deeplab_largefov_voc": 20_505_429,
    "deeplab_msc_largefov_voc": 21_711_550,
    "deeplab_camvid": 20_495_179,
    "deeplab_camvid_crf": 20_495_302,
    "parsenet_baseline_voc": 20_505_429,
    "parsenet_baseline_norm_voc": 20_506_453,
    "parsenet_early_voc": 20_526_933,
    "parsenet_early_norm_voc": 20_528_981,
    "parsenet_late_voc": 20_526_933,
    "parsenet_late_norm_voc": 20_528_981,
    "camvid_parsenet": 20_508_491,
    "fcn_context": 134_838_396,
    "fcn_fc7_context": 134_506_364,
    "fcn_siftflow": 134_573_921,
    "fcn_fc7_siftflow": 134_395_745,
    "camvid_fcn": 20_523_851,
    "piecewise_unary_1scale_voc": 138_987_349,
    "piecewise_unary_voc": 387_510_101,
    "piecewise_surrounding_voc": 388_511_993,
    "piecewise_above_voc": 388_511_993,
    "piecewise_both_voc": 1_164_534_087,
    "piecewise_voc": 1_164_534_089,
    "camvid_piecewise": 154_394_301,
}


# tf.data's functions are graphs all the same, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:Even though the `tf.config:UserWarning")


@pytest.fixture(autouse=True)
def eagerly():
    """Two steps are fewer than it takes to make a graph."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


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
            (112, 112) if recipe.network is PiecewiseCRF else (48, 64)
        )  # its cells have neighbours
        data = dataclasses.replace(
            recipe.data, train_split="train", batch_size=1, augmentation=Augmentation(crop=crop)
        )
        config = dataclasses.replace(
            recipe, data=data, model=dataclasses.replace(recipe.model, width=0.02)
        )
        pictures = small_clips if config.clips else small_scenes
        keras.utils.set_random_seed(0)
        model = build_model(config, pictures.classes.num_classes)
        counts = 2 * (np.ones(pictures.classes.num_classes, "int64"),)
        strategy = tf.distribute.get_strategy()
        return StagedTraining(config, model, pictures, counts, tmp_path, strategy)

    return start


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_take_two_steps(name, start):
    training = start(name)
    config, model = training.config, training.model
    for stage in config.stages:
        settings = config.stage(stage.name)
        if not settings.epochs:
            continue
        settings = dataclasses.replace(settings, batch_size=None, epochs=2)
        learner = training._compiled(stage, settings, steps=2)
        before = {weight.path: np.array(weight) for weight in model.weights}
        batches = training._train_batches(settings, seed=0, first=0)
        losses = [learner.train_on_batch(*batch)[0] for batch in batches.take(2)]
        assert np.isfinite(losses).all()
        changed = {w.path for w in model.weights if np.any(np.array(w) != before[w.path])}
        assert changed and changed <= {weight.path for weight in learner.trainable_weights}


NETWORKS_BY_RECIPE = (
    *("scenes", "street", "context_scenes", "dpn_voc", "moving_scenes_linked"),
    *("deeplab_msc_largefov_voc", "deeplab_camvid_crf", "parsenet_early_norm_voc"),
    *("parsenet_late_norm_voc", "fcn_context", "houses_above", "camvid_piecewise"),
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
    (x, _), *_ = training._train_batches(StageConfig(epochs=1), seed=0, first=0)
    frozen = set()
    for stage in config.stages:
        if stage.output not in model.head_names:
            continue
        settings = dataclasses.replace(config.stage(stage.name), batch_size=None, epochs=1)
        learner = training._compiled(stage, settings, steps=2)
        if part := frozen_part(learner):
            assert_as_in_inference(part, x)
            frozen |= {layer.name for layer in part.layers if isinstance(layer, Dropout)}
        for layer in learner.layers:
            if isinstance(layer, keras.layers.Dropout):
                dropped = np.any(np.array(layer(np.ones((1, 1000)), training=True)) == 0)
                assert dropped == (stage.teaches(layer.name) and layer.rate > 0)
    is_frozen_for_others = isinstance(config, DPNTrainConfig) or "msc" in name
    assert ("b9_dropout" in frozen) == is_frozen_for_others
    for layer in model.layers:
        layer.trainable = False
    assert_as_in_inference(config.learner(model, config.stages[-1], 255) or model, x)
