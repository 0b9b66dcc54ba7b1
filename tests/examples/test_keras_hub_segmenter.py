import re
from pathlib import Path

import keras
import numpy as np
import pytest

pytest.importorskip("keras_hub", reason="needs KerasHub: examples/keras_hub_segmenter.py")
if keras.backend.backend() != "tensorflow":
    pytest.skip("the model is exported by TensorFlow", allow_module_level=True)

import tensorflow as tf  # noqa: E402

from examples.keras_hub_segmenter import (  # noqa: E402
    FIELDS,
    export,
    make_images,
    make_segmenter,
    train,
    with_field,
)

SIZE = 64  # of less, KerasHub loses the number of channels of its last map


@pytest.fixture(scope="module", params=FIELDS)
def trained(request):
    keras.utils.set_random_seed(0)
    model = with_field(make_segmenter(SIZE, width=4), FIELDS[request.param]())
    before = [np.array(weight) for weight in model.trainable_weights]
    losses = train(model, steps=4, size=SIZE)
    return model, before, losses


def test_the_loss_falls_and_the_field_is_trained(trained):
    model, before, losses = trained
    assert losses[-1] < losses[0]
    field = {id(weight) for weight in model.layers[-1].trainable_weights}
    assert field
    for weight, value in zip(model.trainable_weights, before, strict=True):
        if id(weight) in field:
            assert np.any(np.array(weight) != value), weight.path


def test_saved_loaded_and_exported_it_gives_the_same(trained, tmp_path):
    model, *_ = trained
    images, _ = make_images(2, SIZE, seed=1)
    logits = model.predict(images, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), logits)
    served = tf.saved_model.load(export(loaded, tmp_path / "segmenter", warmup=None))
    labels = served.signatures["image"](tf.constant(images))["labels"]
    np.testing.assert_array_equal(labels, logits.argmax(-1))


def test_the_guide_builds_a_model_as_written():
    text = (Path(__file__).parents[2] / "docs/guides/networks.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {}
    exec(next(block for block in blocks if "import keras_hub" in block), names)
    assert names["model"](make_images(1)[0]).shape == (1, 64, 64, 3)
