import io
import json
import os
import signal
import stat
import subprocess
import sys

import keras
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from PIL import Image

from keras_dpn import Classes, Segmenter, models
from keras_dpn.export import export
from tests.keras_dpn.support import tiny_backbone

tf = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.tensorflow_only
COLORS = [[10, 20, 30], [200, 100, 0], [0, 0, 255]]
CLASSES = {"names": ["sky", "road", "car"], "colors": COLORS}
ALL = ("labels", "probabilities", "overlay", "label_png", "classes")
MAX_PIXELS = 1000


def small_model(classes=3, size=(None, None), channels=3):
    inputs = keras.Input((*size, channels))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    return keras.Model(inputs, keras.layers.Conv2D(classes, 3, padding="same", name="b11")(x))


def clip_model(**settings):
    tiny = {"num_classes": 3, "width": 0.05, "backbone": tiny_backbone((2, 2, 2))}
    tiny |= {"local_conv": {"window": 3, "scale": 5.0}, "contexts": {"window": 3, "mixtures": 1}}
    return models.SpatialTemporalDPN(**tiny | {"pairwise_stride": 4} | settings)


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), "uint8")


def clip(batch, time, height, width):
    """Frames, and flows that lead to other pixels, and mostly back."""
    flow = np.random.default_rng(1).uniform(1, 2, (batch, time - 1, height, width, 2))
    flows = {"forward_flow": flow.astype("float32"), "backward_flow": -flow.astype("float32")}
    return {"frames": pictures(batch, time, height, width), **flows}


def encoded(image, form="PNG"):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, form)
    return stream.getvalue()


def entries(directory):
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def probabilities(model, inputs):
    return keras.ops.convert_to_numpy(keras.ops.softmax(model(inputs)))


def decoded(png):
    return Image.open(io.BytesIO(png))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return small_model()


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    directory = tmp_path_factory.mktemp("exports") / "new" / "street"
    return export(model, directory, outputs=ALL, classes=CLASSES, max_pixels=MAX_PIXELS)


@pytest.fixture(scope="module")
def served(path):
    return tf.saved_model.load(path).signatures


def test_images_of_any_sizes_get_the_answers_that_they_get_alone(model, served):
    for sizes in ([(17, 11), (5, 40), (1, 1)], [(8, 24)] * 2, [(31, 32)] * 3):
        images = [pictures(*size) for size in sizes]
        files = [encoded(image) for image in images]
        answer = {k: x.numpy() for k, x in served["serving_default"](tf.constant(files)).items()}
        np.testing.assert_array_equal(answer["sizes"], sizes)
        shape = (len(sizes), *np.max(sizes, axis=0))
        assert answer["labels"].shape == shape and answer["labels"].dtype == np.uint8
        assert answer["probabilities"].shape == (*shape, 3)
        for i, (height, width) in enumerate(sizes):
            expected = probabilities(model, images[i][None])[0]
            labels = expected.argmax(-1)
            own = (i, slice(height), slice(width))
            np.testing.assert_allclose(answer["probabilities"][own], expected, atol=1e-5)
            np.testing.assert_array_equal(answer["labels"][own], labels)
            assert (answer["labels"][i] == 255).sum() == shape[1] * shape[2] - height * width
            np.testing.assert_array_equal(decoded(answer["label_png_bytes"][i]), labels)
            mixed = np.rint((images[i].astype("float32") + np.array(COLORS)[labels]) / 2)
            np.testing.assert_array_equal(decoded(answer["overlay_bytes"][i]), mixed)
        assert (answer["class_names"] == [[b"sky", b"road", b"car"]] * len(sizes)).all()
        assert (answer["class_colors"] == COLORS).all()


def test_files_have_signatures_of_their_own(served):
    files = tf.constant([encoded(pictures(5, 8)), encoded(pictures(4, 9))])
    whole = served["serving_default"](files)
    for name in ("overlay", "label_png"):
        alone = served[name](files)
        assert alone.keys() == {f"{name}_bytes", "sizes"}
        for output, value in alone.items():
            np.testing.assert_array_equal(value, whole[output])


def test_arrays_get_the_same_answers_as_files(served):
    images = pictures(2, 9, 12)
    files = served["serving_default"](tf.constant([encoded(image) for image in images]))
    arrays = served["image"](tf.constant(images))
    assert files.keys() == arrays.keys()
    for name in files:
        np.testing.assert_array_equal(files[name], arrays[name])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([encoded(pictures(5, 5)), b"junk"], "bytes of an image .* received 4 bytes"),
        ([encoded(pictures(40, 40))], "1 to 1000 pixels, received one of 40 x 40"),
        ([encoded(pictures(1, 900)), encoded(pictures(900, 1))], "batch of at most 16000 pixels"),
        ([], "at least one image"),
    ],
)
def test_bad_requests_are_invalid_arguments(served, images, message):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        served["serving_default"](tf.constant(images, "string"))


def test_arrays_are_checked_too(served):
    for shape in ((1, 0, 5, 3), (1, 40, 40, 3), (0, 5, 5, 3), (1, 1, 1025, 3)):
        with pytest.raises(tf.errors.InvalidArgumentError, match="expected"):
            served["image"](tf.constant(np.zeros(shape, "uint8")))


def test_labels_at_each_head(tmp_path):
    backbone = {"name": "large_fov", "fc_width": 16, "output_stride": 16}
    backbone |= {"skips": ("conv4", "conv3")}
    settings = {"width": 0.05, "backbone": backbone, "pairwise_stride": 4}
    settings |= {"local_conv": {"window": 3, "scale": 5.0}}
    model = models.DPN(3, contexts={"window": 3, "mixtures": 1}, **settings)
    path = export(model, tmp_path, outputs=["stages"])
    stages = json.loads((path / "model.json").read_text())["stages"]
    assert stages == ["unary", "triple", "contexts", "final"]
    images = [pictures(16, 9), pictures(8, 12)]
    served = tf.saved_model.load(path).signatures["serving_default"]
    answer = served(tf.constant([encoded(image) for image in images]))
    for i, (image, (height, width)) in enumerate(zip(images, [(16, 9), (8, 12)], strict=True)):
        expected = [probabilities(model.head_model(x), image[None])[0] for x in stages]
        own = (i, slice(None), slice(height), slice(width))
        labels, confidences = (answer[f"stage_{kind}"] for kind in ("labels", "confidences"))
        np.testing.assert_array_equal(labels[own], np.argmax(expected, axis=-1))
        np.testing.assert_allclose(confidences[own], 100 * np.max(expected, axis=-1), atol=0.51)
        np.testing.assert_array_equal(labels[i, -1], answer["labels"][i])
        outside = 4 * (16 * 12 - height * width)
        assert np.sum(labels[i] == 255) == np.sum(confidences[i] == 0) == outside
    assert labels.dtype == confidences.dtype == tf.uint8


def test_a_linked_network_serves_pictures_and_clips(tmp_path):
    model = clip_model()
    path = export(model, tmp_path, outputs=("labels", "probabilities", "stages"))
    served = tf.saved_model.load(path).signatures
    assert sorted(served) == ["clip", "clip_with_flow", "image", "serving_default"]
    inputs = clip(2, 3, 9, 12)
    still = {name: 0 * value for name, value in inputs.items() if name != "frames"}
    tensors = {name: tf.constant(value) for name, value in inputs.items()}
    found = [
        (inputs, served["clip_with_flow"](**tensors)),
        (inputs | still, served["clip"](tensors["frames"])),
    ]
    for given, answer in found:
        expected = probabilities(model, given)
        np.testing.assert_allclose(answer["probabilities"], expected, atol=1e-5)
        np.testing.assert_array_equal(answer["labels"], expected.argmax(-1))
        unary = probabilities(model.head_model("unary"), given).argmax(-1)
        np.testing.assert_array_equal(answer["stage_labels"][:, 0], unary)
    alone = clip(2, 1, 8, 8)
    answer = served["image"](tf.constant(alone["frames"][:, 0]))
    np.testing.assert_allclose(answer["probabilities"], probabilities(model, alone), atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="odd number of frames, received 2"):
        served["clip"](tf.constant(pictures(1, 2, 8, 8)))
    operations = operations_of(path)
    # tf.raw_ops holds what TensorFlow itself defines.
    assert sorted(name for name in operations if not hasattr(tf.raw_ops, name)) == []
    assert not [name for name in operations if "PyFunc" in name]
    stored = json.loads((path / "model.json").read_text())
    flow = {"dtype": "float32", "shape": [None, None, None, None, 2]}
    assert stored["signatures"]["clip_with_flow"]["backward_flow"] == flow


def operations_of(path):
    """Every operation of a SavedModel's graph and of its functions."""
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return {node.op for node in nodes} - {f.signature.name for f in graph.library.function}


def test_a_static_network_that_labels_all_frames(tmp_path):
    model = clip_model(linking="static", output_frames="all", input_shape=(8, 12, 3))
    path = export(model, tmp_path)
    served = tf.saved_model.load(path).signatures
    assert sorted(served) == ["clip", "image", "serving_default"]
    frames = pictures(2, 4, 8, 12)
    labels = served["clip"](tf.constant(frames))["labels"]
    np.testing.assert_array_equal(labels, probabilities(model, frames).argmax(-1))
    labels = served["image"](tf.constant(frames[:, 0]))["labels"]
    np.testing.assert_array_equal(labels, probabilities(model, frames[:, :1]).argmax(-1)[:, 0])


def test_what_the_model_sees_may_have_another_size(model, tmp_path):
    """A fixed size, or a longest side; answers have the images' own sizes."""
    files = tf.constant([encoded(pictures(20, 30)), encoded(pictures(4, 6))])
    answers = []
    for settings in ({"image_size": (10, 15)}, {"image_size": 15}):
        settings |= {"outputs": ["probabilities"], "warmup": None}
        path = export(model, tmp_path, **settings)
        answer = tf.saved_model.load(path).signatures["serving_default"](files)
        np.testing.assert_array_equal(answer["sizes"], [(20, 30), (4, 6)])
        answers.append(answer["probabilities"].numpy())
    seen = tf.image.resize(pictures(20, 30)[None], (10, 15), antialias=True)
    large = tf.image.resize(probabilities(model, seen), (20, 30))[0]
    small = probabilities(model, pictures(4, 6)[None])[0]  # below the longest side
    for answer in answers:
        np.testing.assert_allclose(answer[0], large, atol=1e-5)
    np.testing.assert_allclose(answers[1][1, :4, :6], small, atol=1e-5)


@pytest.mark.parametrize("size", [(24, 40), (8, 11)])
def test_a_shorter_side_is_that_of_the_segmenter(model, tmp_path, size):
    classes = Classes(tuple(CLASSES["names"]), tuple(map(tuple, COLORS)))
    settings = {"shorter_side": 16, "classes": classes, "warmup": None, "max_pixels": MAX_PIXELS}
    path = export(model, tmp_path, outputs=["probabilities"], **settings)
    served = tf.saved_model.load(path).signatures["image"]
    image = pictures(*size)
    expected = Segmenter(model, classes, size=16)(image)
    found = served(tf.constant(image[None]))
    assert (found["labels"][0] == expected.labels).numpy().mean() > 0.98
    np.testing.assert_allclose(found["probabilities"][0], expected.probabilities, atol=0.03)
    with pytest.raises(tf.errors.InvalidArgumentError, match="received one of 1600 x 16"):
        served(tf.constant(pictures(1, 1, 100)))
    stored = json.loads((path / "model.json").read_text())
    assert (stored["shorter_side"], stored["image_size"]) == (16, None)


def test_a_model_of_one_size_sees_that_size(tmp_path):
    model = small_model(size=(6, 5))
    served = tf.saved_model.load(export(model, tmp_path)).signatures["image"]
    images = pictures(2, 6, 5)
    labels = served(tf.constant(images))["labels"]
    np.testing.assert_array_equal(labels, probabilities(model, images).argmax(-1))
    assert served(tf.constant(pictures(1, 12, 9)))["labels"].shape == (1, 12, 9)
    with pytest.raises(ValueError, match=r"`image_size`: expected \(6, 5\)"):
        export(model, tmp_path, image_size=(7, 7))
    with pytest.raises(ValueError, match=r"`shorter_side`: expected None .* of \(6, 5\), to which"):
        export(model, tmp_path, shorter_side=6)


def test_half_precision_and_xla(tmp_path):
    backbone = {"name": "large_fov", "fc_width": 8, "skips": ("conv3",)}
    model = models.DPN(3, width=0.0625, backbone=backbone, pairwise=None, pairwise_stride=4)
    settings = {"outputs": ["probabilities"], "precision": "bfloat16", "jit_compile": True}
    path = export(model, tmp_path, image_size=(16, 16), **settings)
    assert keras.config.dtype_policy().name == "float32"
    images = pictures(1, 16, 16)
    answer = tf.saved_model.load(path).signatures["image"](tf.constant(images))
    assert answer["probabilities"].dtype == tf.float32
    expected = probabilities(model, images)
    np.testing.assert_allclose(answer["probabilities"], expected, atol=0.03)
    stored = {str(dtype) for _, _, dtype in variables(path)}
    assert stored == {"<dtype: 'bfloat16'>", "<dtype: 'float32'>"}  # b11 stays float32


def variables(path):
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    types = reader.get_variable_to_dtype_map()
    shapes = reader.get_variable_to_shape_map()
    return [(n, shape, types[n]) for n, shape in shapes.items() if "VARIABLE_VALUE" in n]


def test_versions_count_up_and_old_ones_go(model, tmp_path):
    for name in ("notes", "2", "3", "5"):
        (tmp_path / name).mkdir()
    for number in (3, 5):  # 2 is none of ours
        (tmp_path / str(number) / "model.json").touch()
    assert export(model, tmp_path, warmup=None).name == "6"
    with pytest.raises(ValueError, match="6 exists. Choose another `version`"):
        export(model, tmp_path, version=6)
    assert export(model, tmp_path, version=4, keep=0, warmup=None).name == "4"
    assert entries(tmp_path) == ["2", "4", "5", "6", "notes"]
    assert export(model, tmp_path, keep=1, warmup=None).name == "7"
    assert entries(tmp_path) == ["2", "6", "7", "notes"]


def test_other_users_may_read_the_version(model, tmp_path):
    previous = os.umask(0o022)
    try:
        path = export(model, tmp_path)
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o755


def test_colors_may_be_arrays(model, tmp_path):
    classes = CLASSES | {"colors": np.array(COLORS)}
    path = export(model, tmp_path, classes=classes, warmup=None)
    assert json.loads((path / "model.json").read_text())["classes"] == CLASSES | {"ignore": 255}


def test_model_json(path, tmp_path):
    stored = json.loads((path / "model.json").read_text())
    assert stored["classes"] == CLASSES | {"ignore": 255}
    assert stored["input_shape"] == [None, None, 3] and stored["output_shape"][-1] == 3
    assert stored["max_pixels"] == MAX_PIXELS and "keras" in stored["versions"]
    assert stored["frames"] == 1
    images = {"image": {"dtype": "uint8", "shape": [None, None, None, 3]}}
    files = {"image_bytes": {"dtype": "string", "shape": [None]}}
    alone = {"overlay": files, "label_png": files}
    assert stored["signatures"] == {"serving_default": files, "image": images, **alone}


def test_warmup_requests_are_prediction_logs(path, served):
    """Read with the fields that TensorFlow Serving's messages have."""
    file = path / "assets.extra" / "tf_serving_warmup_requests"
    log = prediction_log()
    requests = {}
    for record in tf.data.TFRecordDataset(str(file)):
        request = log.FromString(record.numpy()).predict_log.request
        assert request.model_spec.name == "street"
        tensors = {name: tf.constant(tf.make_ndarray(x)) for name, x in request.inputs.items()}
        requests[request.model_spec.signature_name] = tensors
    assert requests.keys() == served.keys()
    for name, inputs in requests.items():
        sizes = served[name](**inputs)["sizes"]
        np.testing.assert_array_equal(sizes, [[31, 31]])  # of at most 1000 pixels


def prediction_log():
    """PredictionLog with the fields of a predict request, their numbers as TensorFlow Serving's."""
    file = descriptor_pb2.FileDescriptorProto(name="log.proto", package="log", syntax="proto3")
    file.dependency.append("tensorflow/core/framework/tensor.proto")
    entry = "PredictRequest.InputsEntry"
    fields = {
        "PredictionLog": {"predict_log": (6, "log.PredictLog")},
        "PredictLog": {"request": (1, "log.PredictRequest")},
        "PredictRequest": {"model_spec": (1, "log.ModelSpec"), "inputs": (2, f"log.{entry}")},
        "ModelSpec": {"name": (1, None), "signature_name": (3, None)},
        entry: {"key": (1, None), "value": (2, "tensorflow.TensorProto")},
    }
    made = {}
    for name, members in fields.items():
        outer, _, inner = name.partition(".")
        made[name] = made[outer].nested_type.add(name=inner) if inner else file.message_type.add()
        made[name].name = inner or name
        made[name].options.map_entry = bool(inner)
        for member, (number, kind) in members.items():
            field = made[name].field.add(name=member, number=number, label=1)
            field.label = 3 if member == "inputs" else 1
            field.type = 11 if kind else 9
            if kind:
                field.type_name = f".{kind}"
    pool = descriptor_pool.Default()
    pool.Add(file) if hasattr(pool, "Add") else pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("log.PredictionLog"))


def test_a_failure_leaves_nothing(model, tmp_path, monkeypatch):
    saved = tf.saved_model.save

    def disk_full(trackable, path, **kwargs):
        saved(trackable, path, **kwargs)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.saved_model, "save", disk_full)
    with pytest.raises(OSError, match="No space left"):
        export(model, tmp_path)
    assert entries(tmp_path) == []


KILLED = """
import os, signal, sys
import keras
from keras_dpn.export import export, saved_model
def killed(*_):  # the last step, with the rest written
    os.kill(os.getpid(), signal.SIGKILL)
saved_model.write_warmup = killed
image = keras.Input((None, None, 3))
export(keras.Model(image, keras.layers.Conv2D(2, 1)(image)), sys.argv[1])
"""


def test_a_killed_export_leaves_nothing_that_a_server_loads(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = entries(tmp_path)
    assert left.startswith(".")  # a server takes numbers alone


WITHOUT_KERAS = """
import sys
sys.modules["keras"] = sys.modules["keras_dpn"] = None  # importing them fails
import numpy as np, tensorflow as tf
asked = dict(np.load(sys.argv[2]))
served = tf.saved_model.load(sys.argv[1]).signatures
files = served["serving_default"](tf.constant([asked["bytes"].tobytes()]))["labels"]
arrays = served["image"](tf.constant(asked["image"]))["labels"]
assert (files.numpy() == asked["labels"]).all() and (arrays.numpy() == asked["labels"]).all()
try:
    served["serving_default"](tf.constant([b"junk"]))
except tf.errors.InvalidArgumentError as error:
    assert "received 4 bytes of another format" in error.message
"""


def test_keras_is_not_needed_to_serve(model, path, tmp_path):
    image = pictures(1, 21, 30)
    data = np.frombuffer(encoded(image[0]), "uint8")
    labels = probabilities(model, image).argmax(-1)
    np.savez(tmp_path / "asked.npz", image=image, bytes=data, labels=labels)
    command = [sys.executable, "-c", WITHOUT_KERAS, str(path), str(tmp_path / "asked.npz")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"description": {"x": np.zeros(3)}}, "argument `description`: expected JSON"),
        ({"outputs": ["label"]}, "`outputs`: expected one of"),
        ({"outputs": ["overlay"]}, "'overlay' needs the argument `classes`"),
        ({"outputs": ["stages"]}, "'stages' needs one of `keras_dpn.models`"),
        ({"classes": {"names": ["sky"], "colors": [[0, 0, 0]]}}, "the model's 3 classes"),
        ({"classes": CLASSES | {"colors": [[0, 0, 300]] * 3}}, "`classes`: .* integers 0-255"),
        ({"classes": CLASSES | {"colors": [[0, 0, 1.5]] * 3}}, "`classes`: .* integers 0-255"),
        ({"classes": CLASSES | {"colors": [(1, (2, 3), 4)] * 3}}, "`classes`: .* integers 0-255"),
        ({"classes": CLASSES | {"names": ["sky", "road", 3]}}, "`classes`: .*, strings"),
        ({"description": {"classes": 2, "frames": 3}}, "`description`: .* received classes, fra"),
        ({"description": {"signatures": 2}}, "`description`: .* received signatures"),
        ({"warmup": 256}, r"`warmup`: expected None or \(height, width\), received 256"),
        ({"warmup": (0, 0)}, "`warmup`: expected an integer of at least 1"),
        ({"shorter_side": 0}, "`shorter_side`"),
        ({"shorter_side": 5, "image_size": 5}, "`image_size` and `shorter_side`: .* 5 and 5"),
        ({"image_size": (4, 5, 6)}, r"`image_size`: expected None, an integer or"),
        ({"image_size": 0}, "`image_size`"),
        ({"max_pixels": 0}, "`max_pixels`"),
        ({"version": "../escaped"}, "`version`: expected an integer of at least 0"),
        ({"version": -1}, "`version`: expected an integer of at least 0"),
        ({"version": True}, "`version`: expected an integer of at least 0"),
        ({"keep": -1}, "`keep`"),
        ({"precision": "bfloat16"}, "`keras_dpn.models`"),
    ],
)
def test_wrong_arguments_are_named(model, tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        export(model, tmp_path / "new", **settings)
    assert entries(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channels": 4}, r"images .* received \(None, None, None, 4\)"),
        ({"classes": 257}, "1 to 256 classes.* 257"),
        ({"size": (None, 5)}, r"height and width \(None, 5\)"),
    ],
)
def test_other_models_are_refused(tmp_path, settings, message):
    with pytest.raises(ValueError, match=f"argument `model`.*{message}"):
        export(small_model(**settings), tmp_path / "new")
    with pytest.raises(ValueError, match="received None to None"):
        export(keras.Sequential(), tmp_path / "new")
    assert entries(tmp_path) == []


def test_another_backend_is_refused(model, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ValueError, match="TensorFlow backend, received 'jax'"):
        export(model, tmp_path / "new")
    assert entries(tmp_path) == []
