import keras
import numpy as np
import pytest

from keras_dpn import models
from keras_dpn.export import export_litert, export_onnx
from tests.keras_dpn.support import tiny_backbone

tf = pytest.importorskip("tensorflow")  # before the next import, which would be of half a module

from tests.keras_dpn.export.test_saved_model import clip  # noqa: E402

pytestmark = [
    pytest.mark.tensorflow_only,
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated"),
]
BACKBONE = {"name": "large_fov", "fc_width": 8}
TINY = {"width": 0.0625, "contexts": {"window": 3, "mixtures": 2}, "pairwise_stride": 2}


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), "uint8")


def run_litert(path, **inputs):
    return tf.lite.Interpreter(str(path)).get_signature_runner()(**inputs)


def expected(model, inputs):
    return keras.ops.convert_to_numpy(keras.ops.softmax(model(inputs)))


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    backbone = {**BACKBONE, "skips": ("conv3",)}
    return models.DPN(3, backbone=backbone, local_conv={"window": 3}, **TINY)


def test_litert_gives_the_models_answers_at_any_size(model, tmp_path):
    path = export_litert(model, tmp_path / "new" / "model.tflite")
    for size in ((1, 9, 12), (1, 17, 8)):
        images = pictures(*size)
        answer = run_litert(path, image=images)
        assert answer["labels"].dtype == np.uint8
        probabilities = expected(model, images)
        np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-4)
        np.testing.assert_array_equal(answer["labels"], probabilities.argmax(-1))
    assert [file.name for file in path.parent.iterdir()] == ["model.tflite"]


def test_quantized_files_are_smaller_and_near(tmp_path):
    model = models.DPN(3, pairwise=None, **TINY | {"width": 0.125})
    images = [*pictures(4, 16, 16)]
    sizes, probabilities = [], expected(model, images[0][None])
    for quantization in (None, "float16", "dynamic", "int8"):
        settings = {"representative": images} if quantization == "int8" else {}
        path = tmp_path / f"{quantization}.tflite"
        export_litert(model, path, quantization=quantization, image_size=(16, 16), **settings)
        sizes.append(path.stat().st_size)
        answer = run_litert(path, image=images[0][None])
        np.testing.assert_allclose(answer["probabilities"], probabilities, atol=0.1)
    assert sizes[1] < 0.6 * sizes[0] and max(sizes[2:]) < 0.4 * sizes[0]


def test_what_litert_lacks_is_named(tmp_path):
    crf = {"num_iterations": 1, "bilateral": None}
    lattice = models.DeepLab(num_classes=3, width=0.02, crf=crf)
    message = "model.tflite: LiteRT doesn't support .*SparseTensorDenseMatMul"
    with pytest.raises(ValueError, match=message):
        export_litert(lattice, tmp_path / "model.tflite", image_size=(8, 8))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("linking", "pairwise", "lengths"), [("static", "contexts", (3, 1)), ("flow", "triple", (3,))]
)
def test_litert_takes_clips(linking, pairwise, lengths, tmp_path):
    settings = {"backbone": tiny_backbone((2, 2, 2)), "local_conv": {"window": 3, "scale": 5.0}}
    settings |= {"linking": linking, "pairwise": pairwise}
    model = models.SpatialTemporalDPN(3, **settings, **TINY)
    path = export_litert(model, tmp_path / "model.tflite")
    for length in lengths:
        inputs = clip(1, length, 9, 12)
        inputs = inputs if linking == "flow" else {"frames": inputs["frames"]}
        probabilities = expected(model, inputs if linking == "flow" else inputs["frames"])
        answer = run_litert(path, **inputs)
        np.testing.assert_allclose(answer["probabilities"], probabilities, atol=1e-4)
        np.testing.assert_array_equal(answer["labels"], probabilities.argmax(-1))


def test_int8_ranges_are_measured_on_clips(tmp_path):
    model = models.SpatialTemporalDPN(3, pairwise=None, **TINY)
    inputs = clip(1, 3, 8, 8)
    examples = [{name: x[0] for name, x in inputs.items()}]
    settings = {"quantization": "int8", "representative": examples, "image_size": (8, 8)}
    answer = run_litert(export_litert(model, tmp_path / "model.tflite", **settings), **inputs)
    np.testing.assert_allclose(answer["probabilities"], expected(model, inputs), atol=0.1)


def test_potentials_that_are_networks_in_both_formats(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    small = {"num_blocks": 2, "block6": ((1, 8),), "units": 8, "width": 0.1}
    model = models.PiecewiseCRF(3, (1.2, 0.7), ("above",), unary=False, **small)
    model.get_layer("above_pairwise").fc2.kernel.assign_add([[0.1] * 9])
    files = export_litert(model, tmp_path / "m.tflite"), export_onnx(model, tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(files[1], providers=["CPUExecutionProvider"])
    for size in ((1, 25, 33), (1, 40, 22)):
        images = pictures(*size)
        probabilities = expected(model, images)
        found = run_litert(files[0], image=images)["probabilities"]
        np.testing.assert_allclose(found, probabilities, atol=1e-4)
        (found,) = session.run(["probabilities"], {"image": images})
        np.testing.assert_allclose(found, probabilities, atol=1e-4)


@pytest.mark.parametrize("known", ["by the model", "by the file"])
def test_onnx_of_one_size_resizes_as_the_model_does(known, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    small = {"num_blocks": 1, "block6": ((1, 8),), "units": 8, "width": 0.1}
    size = (36, 52)  # 1.2 * 36 = 43.2
    shape, image_size = ((*size, 3), None) if known == "by the model" else ((None, None, 3), size)
    model = models.PiecewiseCRF(3, (1.2, 0.7), ("above",), input_shape=shape, **small)
    path = export_onnx(model, tmp_path / "model.onnx", image_size=image_size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[1:] == [*size, 3]
    images = pictures(1, *size)
    (found,) = session.run(["probabilities"], {"image": images})
    np.testing.assert_allclose(found, expected(model, images), atol=1e-4)


def test_wrong_arguments_are_named(model, tmp_path):
    for arguments, message in (
        ({"path": "model.bin"}, r"argument `path`: expected one that ends in '.tflite'"),
        ({"quantization": "int4"}, "`quantization`"),
        ({"quantization": "int8"}, "`representative`: expected images"),
        ({"representative": [pictures(4, 4)]}, "and None without, received list"),
        ({"image_size": 64}, r"`image_size`: expected None or \(height, width\), received 64"),
    ):
        with pytest.raises(ValueError, match=message):
            export_litert(**{"model": model, "path": tmp_path / "x.tflite"} | arguments)
    for examples, received in (
        ([], "none"),
        ([pictures(8, 8), pictures(8, 8).astype("float32")], r"`image` of float32 \(8, 8, 3\)"),
        ([pictures(9, 8)], r"`image` of uint8 \(9, 8, 3\)"),
        ([{"frames": pictures(8, 8)}], r"`frames` of uint8 \(8, 8, 3\)"),
    ):
        message = r"`representative`: expected .* `image` of uint8 \(8, 8, 3\).*, received "
        with pytest.raises(ValueError, match=message + received):
            export_litert(
                model,
                tmp_path / "x.tflite",
                quantization="int8",
                representative=iter(examples),
                image_size=(8, 8),
            )
    assert not list(tmp_path.iterdir())


def test_a_wrong_size_is_not_what_onnx_lacks(model, tmp_path):
    pytest.importorskip("tf2onnx")
    with pytest.raises(ValueError, match=r"^Invalid .* `image_size`: expected .* received 64"):
        export_onnx(model, tmp_path / "model.onnx", image_size=64)


def test_onnx_gives_the_models_answers(model, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    path = export_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = pictures(2, 9, 12)
    labels, probabilities = session.run(["labels", "probabilities"], {"image": images})
    np.testing.assert_allclose(probabilities, expected(model, images), atol=1e-4)
    np.testing.assert_array_equal(labels, expected(model, images).argmax(-1))
