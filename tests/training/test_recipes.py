import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn.models import PiecewiseCRF
from tests.keras_dpn.support import without_values
from training.configs import RECIPES
from training.data import camvid, context_scenes, houses, pascal_context, scenes, sift_flow, voc
from training.data.pipeline import Augmentation
from training.stages import StagedTraining
from training.train import build_model

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


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_take_two_steps(name, small_scenes, small_clips, tmp_path):
    recipe = RECIPES[name]
    crop = (112, 112) if recipe.network is PiecewiseCRF else (48, 64)  # its cells have neighbours
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
    training = StagedTraining(config, model, pictures, counts, tmp_path, strategy)
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
