import json
import os
import stat

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_dpn import models
from keras_dpn.export import export

pytestmark = pytest.mark.tensorflow_only


def small_model(classes=3, size=(None, None), channels=3):
    inputs = keras.Input((*size, channels))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(classes, 3, padding="same", name="b11")(x))


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), "uint8")


def entries(directory):
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_the_served_answers_are_the_models(tmp_path):
    model = models.DPN(
        num_classes=4, width=0.125, trunk="large_fov", triple_window=3, context_window=3, mixtures=2
    )
    path = export(model, tmp_path / "new" / "street")
    assert path == tmp_path / "new" / "street" / "1"
    served = tf.saved_model.load(path).signatures["serving_default"]
    for shape in ((1, 17, 11), (2, 8, 24), (1, 1, 1)):
        images = pictures(*shape)
        answer = served(images=tf.constant(images))
        assert sorted(answer) == ["labels", "probabilities"]
        assert answer["labels"].dtype == tf.uint8
        expected = keras.ops.softmax(model(images)).numpy()
        assert answer["probabilities"].shape == (*shape, 4)
        np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
        np.testing.assert_array_equal(answer["labels"], answer["probabilities"].numpy().argmax(-1))


def clip_model(**settings):
    tiny = {"num_classes": 3, "width": 0.05, "trunk": "large_fov", "fc_width": 16, "mixtures": 1}
    tiny |= {"triple_window": 3, "context_window": 3, "pairwise_stride": 4, "scale": 5.0}
    return models.SpatialTemporalDPN(**tiny | settings)


def clip(batch, time, height, width):
    """Frames, and flows that lead to other pixels, and mostly back."""
    flow = np.random.default_rng(1).uniform(1, 2, (batch, time - 1, height, width, 2))
    flows = {"forward_flow": flow.astype("float32"), "backward_flow": -flow.astype("float32")}
    return {"frames": pictures(batch, time, height, width), **flows}


def operations_of(path):
    """Every operation of a SavedModel's graph and of its functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes} - {f.signature.name for f in graph.library.function}


def test_a_linked_network_serves_clips_with_and_without_flow(tmp_path):
    model = clip_model()
    path = export(model, tmp_path)
    signatures = tf.saved_model.load(path).signatures
    assert sorted(signatures) == ["serving_default", "with_flow"]
    for size in ((2, 3, 9, 12), (1, 5, 8, 9), (1, 1, 8, 8)):
        inputs = clip(*size)
        still = {name: 0 * value for name, value in inputs.items() if name != "frames"}
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        found = [
            (inputs, signatures["with_flow"](**tensors)),
            (inputs | still, signatures["serving_default"](frames=tensors["frames"])),
        ]
        for given, answer in found:
            expected = keras.ops.softmax(model(given))
            assert answer["labels"].dtype == tf.uint8
            np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
            labels = answer["probabilities"].numpy().argmax(-1)
            np.testing.assert_array_equal(answer["labels"], labels)
    operations = operations_of(path)
    # tf.raw_ops holds what TensorFlow itself defines.
    assert sorted(name for name in operations if not hasattr(tf.raw_ops, name)) == []
    assert not [name for name in operations if "PyFunc" in name]

    stored = json.loads((path / "model.json").read_text())
    assert stored["input_shape"] == [None, None, None, 3]
    assert stored["output_shape"] == [None, None, 3]
    frames = {"dtype": "uint8", "shape": [None, None, None, None, 3]}
    flow = {"dtype": "float32", "shape": [None, None, None, None, 2]}
    with_flow = {"frames": frames, "forward_flow": flow, "backward_flow": flow}
    assert stored["signatures"] == {"serving_default": {"frames": frames}, "with_flow": with_flow}


def test_a_static_network_that_labels_all_frames(tmp_path):
    model = clip_model(linking="static", labels_of="all", input_shape=(8, 12, 3))
    path = export(model, tmp_path)
    signatures = tf.saved_model.load(path).signatures
    assert list(signatures) == ["serving_default"]
    frames = pictures(2, 4, 8, 12)
    answer = signatures["serving_default"](frames=tf.constant(frames))
    assert answer["labels"].shape == (2, 4, 8, 12)
    expected = keras.ops.softmax(model(frames))
    np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)


def test_a_mixed_precision_model_serves_float32(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    path = export(small_model(), tmp_path)
    served = tf.saved_model.load(path).signatures["serving_default"]
    answer = served(images=tf.constant(pictures(1, 4, 4)))["probabilities"]
    assert answer.dtype == tf.float32
    np.testing.assert_allclose(answer.numpy().sum(-1), 1, atol=1e-6)


def test_a_model_of_one_size_serves_that_size(tmp_path):
    path = export(small_model(size=(6, 5)), tmp_path)
    served = tf.saved_model.load(path).signatures["serving_default"]
    assert served(images=tf.constant(pictures(2, 6, 5)))["labels"].shape == (2, 6, 5)


def test_versions_count_up_and_are_never_overwritten(tmp_path):
    model = small_model()
    (tmp_path / "notes").mkdir()
    assert [export(model, tmp_path).name for _ in range(2)] == ["1", "2"]
    assert export(model, tmp_path, version=9).name == "9"
    assert export(model, tmp_path).name == "10"
    with pytest.raises(ValueError, match="9 exists. Choose another `version`"):
        export(model, tmp_path, version=9)
    assert entries(tmp_path) == ["1", "10", "2", "9", "notes"]


def test_other_users_may_read_the_version(tmp_path):
    previous = os.umask(0o022)
    try:
        path = export(small_model(), tmp_path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_model_json(tmp_path):
    description = {"classes": {"names": ["sky", "road", "car"], "ignore": 255}}
    path = export(small_model(), tmp_path, description=description)
    stored = json.loads((path / "model.json").read_text())
    assert stored["classes"] == description["classes"]
    assert stored["input_shape"] == [None, None, 3] and stored["output_shape"][-1] == 3
    images = {"dtype": "uint8", "shape": [None, None, None, 3]}
    assert stored["signatures"] == {"serving_default": {"images": images}}
    with pytest.raises(ValueError, match="argument `description`: expected JSON"):
        export(small_model(), tmp_path, description={"colors": np.zeros(3)})
    assert entries(tmp_path) == ["1"]


def test_a_failure_leaves_nothing(tmp_path, monkeypatch):
    saved = tf.saved_model.save

    def disk_full(trackable, path, **kwargs):
        saved(trackable, path, **kwargs)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        export(small_model(), tmp_path)
    assert entries(tmp_path) == []


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (small_model(channels=4), r"images .* received \(None, None, None, 4\)"),
        (small_model(classes=257), "1 to 256 classes.* 257"),
        (keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)]), r"received \(None, 8\)"),
        (keras.Sequential(), "received None to None"),
    ],
)
def test_other_models_are_refused(tmp_path, model, message):
    with pytest.raises(ValueError, match=f"argument `model`.*{message}"):
        export(model, tmp_path / "new")
    assert entries(tmp_path) == []


def test_another_backend_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="TensorFlow backend, received 'jax'"):
        export(small_model(), tmp_path / "new")
    assert entries(tmp_path) == []
