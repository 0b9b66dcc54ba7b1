import weakref

import keras
import numpy as np
import pytest

from keras_dpn import crf, layers
from tests.keras_dpn.support import (
    assert_close,
    direct_mean_field,
    direct_softmax,
    random,
    to_numpy,
)

KERNELS = (4.0, 3.3, 60.0), (3.0, 1.7)
SETTINGS = {"num_iterations": 3, "bilateral": KERNELS[0], "spatial": KERNELS[1], "filter": "exact"}


def pictures(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, "uint8")


def probabilities(*shape, seed=1):
    return direct_softmax(random(*shape, seed=seed, low=-2.0, high=2.0))


@pytest.mark.tensorflow_only  # JAX compiles a lattice's operations one by one
def test_equals_the_layer():
    image, p = pictures(4, 5, 3), probabilities(4, 5, 2)
    settings = SETTINGS | {"filter": "permutohedral"}
    out = crf.refine(image, p, **settings)
    assert out.dtype == np.float32 and out.shape == (4, 5, 2)
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-6)
    assert np.abs(out - p).max() > 0.1
    logits = np.log(p).astype("float32")[None]
    expected = keras.ops.softmax(layers.MeanFieldCRF(**settings)((logits, image[None])))
    assert_close(out, to_numpy(expected)[0], atol=1e-5)


def test_equals_mean_field():
    image, p = pictures(4, 5, 3), probabilities(4, 5, 2)
    out = crf.refine(image, p, **SETTINGS)
    expected = direct_mean_field(np.log(p), image, KERNELS, iterations=3)
    assert_close(out, expected, rtol=0, atol=1e-5)


@pytest.mark.tensorflow_only  # JAX compiles ten iterations for seconds
def test_default_settings():
    image, p = pictures(6, 5, 3), probabilities(6, 5, 2)
    out = crf.refine(image, p)
    assert_close(
        out, crf.refine(image, p, num_iterations=10, bilateral=(4, 121, 5), spatial=(3, 3))
    )


@pytest.mark.parametrize(
    ("size", "channels"), [((7,), 1), ((4, 5), 1), ((4, 5), 4), ((2, 3, 4), 3)]
)
def test_any_size_and_guide(size, channels):
    image, p = pictures(*size, channels), probabilities(*size, 3)
    out = crf.refine(image, p, batch=False, **SETTINGS)
    expected = direct_mean_field(np.log(p), image, KERNELS, iterations=3)
    assert_close(out, expected, rtol=0, atol=1e-5)


def test_number_types():
    image, p = pictures(4, 5, 3), probabilities(4, 5, 2)
    expected = crf.refine(image, p, **SETTINGS)
    for image_type, type_ in [("int64", "float64"), ("float16", "float32"), ("float64", "float64")]:
        out = crf.refine(image.astype(image_type), p.astype(type_), **SETTINGS)
        assert_close(out, expected, rtol=0, atol=1e-5)


def test_numbers_of_numpy_in_settings():
    image, p = pictures(4, 5, 3), probabilities(4, 5, 2)
    settings = {
        "num_iterations": np.int64(3),
        "bilateral": np.array([4.0, 3.3, 60.0], "float32").tolist(),
        "spatial": (np.float32(3.0), np.float64(1.7)),
        "compatibility": np.eye(2) * -1,
        "filter": "exact",
    }
    assert_close(crf.refine(image, p, **settings), crf.refine(image, p, **SETTINGS), 0, 1e-5)


def test_lists():
    images = [pictures(4, 5, 3), pictures(6, 2, 3, seed=2)]
    each = [probabilities(4, 5, 2), probabilities(6, 2, 2, seed=3)]
    out = crf.refine(images, each, **SETTINGS)
    assert [one.shape for one in out] == [(4, 5, 2), (6, 2, 2)]
    for refined, image, p in zip(out, images, each, strict=True):
        np.testing.assert_array_equal(refined, crf.refine(image, p, **SETTINGS))
    of_tuples = crf.refine(tuple(images), tuple(each), **SETTINGS)
    np.testing.assert_array_equal(of_tuples[1], out[1])
    assert crf.refine([], []) == []


def test_unary():
    image, p = pictures(4, 5, 3), probabilities(4, 5, 2)
    expected = crf.refine(image, p, **SETTINGS)
    unary = np.log(p) + random(4, 5, 1)  # up to a constant for each point
    assert_close(crf.refine(image, unary=unary, **SETTINGS), expected, rtol=0, atol=1e-5)
    [one] = crf.refine([image], unary=[unary], **SETTINGS)
    assert_close(one, expected, rtol=0, atol=1e-5)


def test_grey_images():
    image, p = pictures(4, 5), probabilities(4, 5, 2)
    expected = crf.refine(image[..., None], p, **SETTINGS)
    np.testing.assert_array_equal(crf.refine(image, p, **SETTINGS), expected)
    images, each = np.stack([image, image[::-1]]), np.stack([p, p[::-1]])
    out = crf.refine(images, each, batch=True, **SETTINGS)
    np.testing.assert_allclose(out, [expected, expected[::-1]], atol=1e-6)


def test_batches():
    images, p = pictures(2, 4, 5, 3), probabilities(2, 4, 5, 2)
    out = crf.refine(images, p, batch=True, **SETTINGS)
    np.testing.assert_array_equal(out, crf.refine(list(images), list(p), **SETTINGS))
    volume = crf.refine(images, p, batch=False, **SETTINGS)
    assert volume.shape == out.shape and np.abs(volume - out).max() > 0.01
    with pytest.raises(ValueError, match=r"batch=True for 2 images \(4, 5, 3\), or batch="):
        crf.refine(images, p, **SETTINGS)
    with pytest.raises(ValueError, match="batch=True for 2 images"):
        crf.refine([images], [p], **SETTINGS)
    with pytest.raises(ValueError, match=r"sequences \(B, T, C\) with batch=True, received shape"):
        crf.refine(images[0, 0], p[0, 0], batch=True, **SETTINGS)


def test_odd_probabilities():
    image = pictures(3, 2, 3)
    odd = np.eye(2)[[[0, 1], [1, 1], [0, 0]]], np.zeros((3, 2, 2)), np.full((3, 2, 2), 1e30)
    out = crf.refine(image, odd[0], **SETTINGS)
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    for p in odd:
        with np.errstate(divide="ignore"):
            unary = np.log(p)
        out = crf.refine(image, unary=unary, **SETTINGS)
        np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)
    halves = np.full((3, 2, 2), 0.5, "float16")
    np.testing.assert_allclose(crf.refine(image, halves, **SETTINGS), 0.5, rtol=1e-5)


def test_floats_from_0_to_1_need_another_bandwidth(recwarn):
    image, p = pictures(4, 5, 3), probabilities(4, 5, 2)
    settings = SETTINGS | {"bilateral": [4.0, 3.3, 5.0]}
    with pytest.warns(UserWarning, match="floats from 0 to 1, .* is 5: .* Pass 255"):
        crf.refine(image / 255, p, **settings)
    recwarn.clear()
    expected = crf.refine(image, p, **settings)
    np.testing.assert_allclose(
        crf.refine(image / 255, p, **settings | {"bilateral": [4.0, 3.3, 5 / 255]}),
        expected,
        atol=1e-4,
    )
    crf.refine(image / 255, p, **settings | {"bilateral": None})
    crf.refine(np.zeros((4, 5, 3)), p, **settings)
    crf.refine(image // 255, p, **settings)
    assert not [w for w in recwarn if "0 to 1" in str(w.message)]


def test_few_settings_stay_in_memory(monkeypatch):
    image, p = pictures(2, 2, 3), probabilities(2, 2, 2)
    monkeypatch.setattr(crf, "_MODELS", {})
    monkeypatch.setattr(crf, "_MAX_MODELS", 2)
    models = []
    for weight in (1.0, 2.0, 1.0, 3.0):
        crf.refine(image, p, **SETTINGS | {"bilateral": (weight, 3.3, 60.0)})
        models.append(weakref.ref(list(crf._MODELS.values())[-1]))
    assert [model() is not None for model in models] == [False, False, False, True]


def test_one_point():
    out = crf.refine(pictures(1, 1, 3), probabilities(1, 1, 2), **SETTINGS)
    assert out.shape == (1, 1, 2) and np.isfinite(out).all()


@pytest.mark.tensorflow_only
def test_labels_can_be_pruned():
    image, p = pictures(4, 5, 3), probabilities(4, 5, 4)
    p = np.concatenate([p * 0.999, np.full((4, 5, 1), 1e-3)], axis=-1)
    out = crf.refine(image, p, prune_below=0.01, **SETTINGS)
    np.testing.assert_allclose(out, crf.refine(image, p, **SETTINGS), atol=1e-3)
    np.testing.assert_allclose(out.sum(-1), 1, rtol=1e-5)


def test_labels_by_hand():
    labels = np.array([[0, 2], [255, 1]], "uint8")
    out = crf.unary_from_labels(labels, 3, certainty=0.6, ignore=255)
    assert out.dtype == np.float32
    third = 1 / 3
    expected = [[[0.6, 0.2, 0.2], [0.2, 0.2, 0.6]], [[third, third, third], [0.2, 0.6, 0.2]]]
    assert_close(np.exp(out), np.array(expected))
    np.testing.assert_allclose(np.exp(crf.unary_from_labels(np.array([1]), 2)), [[0.3, 0.7]], 1e-6)
    assert crf.unary_from_labels(np.zeros((2, 3, 4), int), 5).shape == (2, 3, 4, 5)


def test_an_ignored_label_may_be_a_class():
    out = crf.unary_from_labels(np.array([0, 1]), 2, certainty=0.9, ignore=0)
    assert_close(np.exp(out), np.array([[0.5, 0.5], [0.1, 0.9]]))


def test_probabilities_by_hand():
    p = np.array([[0.8, 0.2], [1.0, 0.0]])
    out = crf.unary_from_probabilities(p)
    assert out.dtype == np.float32
    assert_close(out, np.log([[0.8, 0.2], [1.0, 1e-5]]))
    assert_close(np.exp(crf.unary_from_probabilities(p, scale=0.5)), [[0.65, 0.35], [0.75, 0.25]])
    assert_close(np.exp(crf.unary_from_probabilities(p, minimum=0.25)), [[0.8, 0.25], [1, 0.25]])


def test_logits_by_hand():
    out = crf.unary_from_logits(np.log([[3.0, 1.0], [0.5, 0.5]]) + 7)
    assert out.dtype == np.float32
    assert_close(np.exp(out), [[0.75, 0.25], [0.5, 0.5]])
    out = np.exp(crf.unary_from_logits([[np.inf, 0.0], [-np.inf, -np.inf]]))
    assert_close(out, [[1.0, 0.0], [0.5, 0.5]])


IMAGE, P = np.zeros((4, 5, 3), "uint8"), np.full((4, 5, 2), 0.5)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((IMAGE,), {}, "exactly one of the arguments `probabilities` and `unary`, received none"),
        ((IMAGE, P), {"unary": P}, "exactly one of the arguments .* received both"),
        ((IMAGE, P[:3]), {}, r"same size, received shapes \(4, 5, 3\) and \(3, 5, 2\)"),
        ((IMAGE[0], P), {}, r"an image \(H, W, C\) and probabilities \(H, W, L\)"),
        ((IMAGE, P[0]), {}, r"an image \(H, W, C\) and probabilities \(H, W, L\)"),
        ((IMAGE[:0], P[:0]), {}, "at least one point"),
        ((IMAGE, -P), {}, "`probabilities`: expected numbers of at least 0, received -0.5"),
        ((IMAGE, P[..., :1]), {}, r"`probabilities`: expected at least 2 labels, .* \(4, 5, 1\)"),
        ((IMAGE,), {"unary": P[..., :1]}, "`unary`: expected at least 2 labels"),
        ((IMAGE, P[..., :0]), {}, "`probabilities`: expected at least 2 labels"),
        ((IMAGE,), {"unary": P[..., :0]}, "`unary`: expected at least 2 labels"),
        ((IMAGE, P * 2), {}, "sum to 1 at each point, received a sum of 2. .* `unary=-energies`"),
        ((IMAGE, -np.log(P / 10)), {}, "sum to 1 at each point, received a sum of 5.9"),
        ((IMAGE,), {"unary": -np.log(P)}, "`unary`: .* received energies.* `unary=-energies`"),
        ((IMAGE,), {"unary": P}, "`unary`: .* received probabilities. Pass them as `prob"),
        ((IMAGE, P * np.nan), {}, "`probabilities`: expected numbers of at least 0, received nan"),
        ((IMAGE,), {"unary": P * np.nan}, "`unary`: expected numbers, received NaN"),
        ((IMAGE * np.nan, P), {}, "`image`: expected numbers, received NaN"),
        (([IMAGE], P), {}, "probabilities for each of 1 images in a list, received ndarray"),
        (([IMAGE, IMAGE], [P]), {}, "probabilities for each of 2 images in a list, received 1"),
        (([IMAGE, IMAGE], [P[1:], P]), {}, "same size"),
        ((IMAGE, P), {"filter": "bilateral"}, "`filter`: expected one of"),
        ((IMAGE, P), {"bilateral": (4.0, 0.0, 5.0)}, "`bilateral`: expected standard deviations"),
        ((IMAGE, P), {"iterations": 5}, "iterations"),
        ((np.zeros((4, 5, 5)), P), {}, "`filter`: the permutohedral lattice has at most 6"),
    ],
)
def test_refine_refuses(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        crf.refine(*arguments, **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: crf.unary_from_labels(np.array([0, 3]), 3), "`labels`: .* 0 to 2, received 3"),
        (lambda: crf.unary_from_labels(np.array([-1]), 3), "`labels`: .* 0 to 2, received -1"),
        (lambda: crf.unary_from_labels(np.array([0.5]), 3), "`labels`: .* integers .* float64"),
        (
            lambda: crf.unary_from_labels(np.array([3]), 3, ignore=255),
            "from 0 to 2 or 255, received 3",
        ),
        (lambda: crf.unary_from_labels(np.array([0]), 1), "`num_classes`: expected at least 2"),
        (lambda: crf.unary_from_labels(np.array([0]), 3, 0.0), "`certainty`: .* received 0.0"),
        (lambda: crf.unary_from_labels(np.array([0]), 3, 1.0), "`certainty`: .* received 1.0"),
        (lambda: crf.unary_from_probabilities(P, scale=0.0), "`scale`: .* received 0.0"),
        (lambda: crf.unary_from_probabilities(P, scale=1.5), "`scale`: .* received 1.5"),
        (lambda: crf.unary_from_probabilities(P, minimum=0.0), "`minimum`: .* received 0.0"),
        (lambda: crf.unary_from_probabilities(np.log(P)), "Pass logits as `unary`"),
    ],
)
def test_helpers_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_tensors_are_taken():
    image, probabilities = np.full((4, 5, 3), 9, "float32"), np.full((4, 5, 2), 0.5, "float32")
    tensors = [keras.ops.convert_to_tensor(x) for x in (image, probabilities)]
    if keras.backend.backend() == "torch":
        tensors[1].requires_grad_()
    expected = crf.refine(image, probabilities, num_iterations=1)
    np.testing.assert_array_equal(crf.refine(*tensors, num_iterations=1), expected)
    listed = crf.refine([tensors[0]], [tensors[1]], num_iterations=1)
    np.testing.assert_array_equal(listed[0], expected)
