import gc
import itertools
import queue
import threading
import time
import weakref

import keras
import numpy as np
import pytest

from keras_dpn import inference
from keras_dpn.crf import refine
from keras_dpn.inference import (
    InferenceSettings,
    Predictor,
    forward,
    predict_probabilities,
    predictor,
)
from keras_dpn.inference.forward import check_heads
from keras_dpn.inference.images import resize
from keras_dpn.inference.tiles import side_for_memory
from keras_dpn.layers import LocalConv2D
from keras_dpn.models import SpatialTemporalDPN
from keras_dpn.models.staged import StagedModel
from keras_dpn.ops.warp import INVALID_FLOW
from tests.keras_dpn.support import tiny_backbone


def linear_model(classes=4):
    """Logits that are a fixed linear function of each pixel's colour."""
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(classes, 1, name="classifier")(inputs)
    model = keras.Model(inputs, outputs)
    weights = np.random.default_rng(0).normal(0, 0.02, (1, 1, 3, classes)).astype("float32")
    model.set_weights([weights, np.zeros(classes, "float32")])
    return model


class TwoHeads(StagedModel):
    """Two heads over one convolution, which counts how often Python runs through it."""

    def __init__(self):
        inputs = keras.Input((None, None, 3))
        unary = CountingConv(3, 1, name="unary")(inputs)
        final = keras.layers.Conv2D(3, 3, padding="same", name="final")(unary)
        super().__init__(inputs, {"unary": unary, "final": final}, {"name": "two_heads"})


class CountingConv(keras.layers.Conv2D):
    calls = 0

    def call(self, inputs):
        CountingConv.calls += 1
        return super().call(inputs)


def picture(height=6, width=8, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), "uint8")


def at_heads(model, image, heads="all", **settings):
    return Predictor(model, InferenceSettings(**settings), heads=heads).probabilities(image)


def images(model, stream, **settings):
    return (
        maps["final"] for maps in Predictor(model, InferenceSettings(**settings)).images(stream)
    )


def softmax(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_probabilities_are_the_softmax_of_the_logits():
    model, image = linear_model(), picture()
    probabilities = inference.predict_probabilities(model, image)
    weights = model.get_weights()[0][0, 0]
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, softmax(image.astype("float64") @ weights), atol=1e-5)


def test_uint8_and_float_images_agree():
    model, image = linear_model(), picture()
    expected = inference.predict_probabilities(model, image)
    for dtype in ("float16", "float32", "float64"):
        np.testing.assert_array_equal(
            inference.predict_probabilities(model, image.astype(dtype)), expected
        )


def test_flip_averages_with_the_mirrored_image():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(inputs))
    image = picture() / 64
    plain = inference.predict_probabilities(model, image)
    flipped = inference.predict_probabilities(model, image[:, ::-1])[:, ::-1]
    assert np.abs(plain - flipped).max() > 0.01
    mirrored = inference.predict_probabilities(model, image, horizontal_flip=True)
    np.testing.assert_allclose(mirrored, (plain + flipped) / 2, atol=1e-6)


@pytest.mark.parametrize("scales", [(0.5,), (1.0, 2.0), (0.01, 1.3)])
def test_scales_keep_size_and_sum_to_one(scales):
    probabilities = inference.predict_probabilities(linear_model(), picture(5, 7), scales)
    assert probabilities.shape == (5, 7, 4)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)


def test_scales_are_averaged():
    model, image = linear_model(), picture()
    one, two = (inference.predict_probabilities(model, image, (s,)) for s in (1.0, 2.0))
    both = inference.predict_probabilities(model, image, (1.0, 2.0))
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)


def test_a_single_pixel():
    probabilities = inference.predict_probabilities(
        linear_model(), picture(1, 1), (0.5, 1, 2), horizontal_flip=True
    )
    assert probabilities.shape == (1, 1, 4)


def test_labels_are_the_most_probable_classes():
    model, image = linear_model(), picture()
    labels = inference.predict_labels(model, image)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(
        labels, inference.predict_probabilities(model, image).argmax(axis=-1)
    )


def test_half_precision_logits_are_averaged_in_float32():
    inputs = keras.Input((None, None, 3))
    outputs = keras.layers.Conv2D(4, 1, dtype="bfloat16")(inputs)
    probabilities = inference.predict_probabilities(keras.Model(inputs, outputs), picture())
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)


def test_heads_come_from_one_forward_pass():
    model, image = TwoHeads(), picture()
    maps = at_heads(model, image, scales=(1.0, 0.5), horizontal_flip=True)
    assert list(maps) == ["unary", "final"]
    for name, probabilities in maps.items():
        alone = inference.predict_probabilities(
            model.head_model(name), image, scales=(1.0, 0.5), horizontal_flip=True
        )
        np.testing.assert_allclose(probabilities, alone, atol=1e-6)
    chosen = at_heads(model, image, heads=["final"])
    assert list(chosen) == ["final"]


def test_heads_follow_the_models_weights():
    model, image = TwoHeads(), picture()
    before = at_heads(model, image)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    after = at_heads(model, image)
    assert np.abs(before["unary"] - 1 / 3).max() > 0.01
    np.testing.assert_allclose(after["unary"], 1 / 3, atol=1e-6)
    np.testing.assert_allclose(after["final"], 1 / 3, atol=1e-6)


def test_heads_leave_the_model_alone_and_are_forgotten_with_it():
    model = TwoHeads()
    layers, attributes = list(model.layers), set(vars(model))
    gc.collect()
    before = len(forward._MODELS)
    at_heads(model, picture())
    assert model.layers == layers
    assert set(vars(model)) == attributes
    assert len(forward._MODELS) == before + 1
    del model, layers
    gc.collect()
    assert len(forward._MODELS) == before


def test_several_models_are_averaged():
    first, second, image = linear_model(), linear_model(), picture()
    second.set_weights([-w for w in second.get_weights()])
    one, two = (
        inference.predict_probabilities(m, image, horizontal_flip=True) for m in (first, second)
    )
    both = inference.predict_probabilities([first, second], image, horizontal_flip=True)
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)
    both_models = [TwoHeads(), TwoHeads()]
    one, two = (at_heads(model, image) for model in both_models)
    both = at_heads(both_models, image)
    for name in ("unary", "final"):
        np.testing.assert_allclose(both[name], (one[name] + two[name]) / 2, atol=1e-6)
    with pytest.raises(ValueError, match="`models`: expected one or more, received none"):
        inference.predict_probabilities([], image)


def test_a_model_that_is_no_graph_will_do():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.classifier = keras.layers.Conv2D(4, 1)

        def call(self, image):
            return self.classifier(image / 255)

    probabilities = inference.predict_probabilities(Model(), picture())
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-6)


def test_a_stream_of_images_is_read_ahead():
    model, taken = linear_model(), []

    def stream():
        for seed in itertools.count():
            taken.append(threading.current_thread())
            yield picture(4, 5 + seed, seed)

    found = images(model, stream(), horizontal_flip=True)
    for seed, probabilities in enumerate(itertools.islice(found, 3)):
        expected = inference.predict_probabilities(
            model, picture(4, 5 + seed, seed), horizontal_flip=True
        )
        np.testing.assert_array_equal(probabilities, expected)
    found.close()
    assert 3 <= len(taken) <= 6
    assert threading.current_thread() not in taken


def test_a_stream_is_left_without_waiting_for_its_images(monkeypatch):
    monkeypatch.setattr(predictor, "LEAVING_SECONDS", 0.1)
    stream, gone = queue.Queue(), threading.Event()
    for image in (picture(), picture()):
        stream.put(image)
    found = images(linear_model(), (stream.get() for _ in itertools.count()))
    next(found)
    threading.Thread(target=lambda: (found.close(), gone.set()), daemon=True).start()
    assert gone.wait(10)
    stream.put(None)


def test_a_stream_that_is_left_may_be_closed():
    def stream():
        for _ in itertools.count():
            time.sleep(0.1)
            yield picture()

    given = stream()
    found = images(linear_model(), given)
    next(found)
    found.close()
    given.close()  # a ValueError while a thread is in it


def test_a_stream_ends_or_breaks_where_its_images_do():
    model = linear_model()
    assert list(images(model, [])) == []

    def broken():
        yield picture()
        raise OSError("the camera is gone")

    found = images(model, broken())
    assert next(found).shape == (6, 8, 4)
    with pytest.raises(OSError, match="the camera is gone"):
        next(found)


@pytest.mark.tensorflow_only
def test_new_sizes_do_not_trace_again():
    model = TwoHeads()
    at_heads(model, picture(4, 5))
    calls = CountingConv.calls
    for size in (5, 6, 9, 13):
        at_heads(model, picture(size, 2 * size))
    assert CountingConv.calls == calls


@pytest.mark.tensorflow_only
def test_probabilities_do_not_depend_on_the_size_that_came_first():
    """Bit by bit: the graph of a fixed size rounds differently from that of any size."""
    images, weights, found = [picture(12, 16), picture(20, 16), picture(17, 23)], None, []
    for order in (1, -1):
        inputs = keras.Input((None, None, 3))
        x = keras.layers.Conv2D(4, 3, padding="same")(inputs)
        y = LocalConv2D(5)((keras.layers.Softmax()(x), inputs))
        model = keras.Model(inputs, keras.layers.Add()([x, y]))
        model.set_weights(weights := weights or model.get_weights())
        found.append([at_heads(model, image, None)["final"] for image in images[::order]])
    for first, last in zip(found[0], found[1][::-1], strict=True):
        np.testing.assert_array_equal(first, last)


def test_a_model_works_in_another_thread():
    """Where Keras numbers the names of operations from the start."""
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.Softmax(name="softmax")(inputs))
    found = []
    thread = threading.Thread(target=lambda: found.append(at_heads(model, picture(), None)))
    thread.start()
    thread.join()
    assert found[0]["final"].shape == (6, 8, 3)


@pytest.mark.tensorflow_only
def test_a_layer_that_needs_the_size_sees_it():
    class NeedsSize(keras.layers.Layer):
        def call(self, x):
            return x * float(x.shape[1])

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, NeedsSize()(keras.layers.Conv2D(2, 1)(inputs)))
    assert at_heads(model, picture(4, 6), None)["final"].shape == (4, 6, 2)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), "uint8"), r"received shape \(4, 4\)\."),
        (np.zeros((1, 4, 4, 3), "uint8"), r"\(1, 4, 4, 3\). Pass one image at a time"),
        (np.zeros((3, 4, 4), "uint8"), r"\(3, 4, 4\). Pass .* channels last"),
        (np.zeros((0, 4, 3), "uint8"), "at least one pixel"),
        (np.zeros((4, 4, 3), "int32"), "received int32"),
        (np.zeros((4, 4, 3), "bool"), "received bool"),
        (np.full((4, 4, 3), np.nan), "received NaN"),
        ("cat.png", "received shape"),
    ],
)
def test_wrong_images_are_refused(image, message):
    with pytest.raises(ValueError, match="`image`.*" + message):
        inference.predict_probabilities(linear_model(), image)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0), (float("nan"),), "1", ("1",)])
def test_wrong_scales_are_refused(scales):
    with pytest.raises(ValueError, match="`scales`"):
        inference.predict_probabilities(linear_model(), picture(), scales)


def test_a_model_that_shrinks_the_image_is_refused():
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, keras.layers.MaxPooling2D(2)(inputs))
    with pytest.raises(ValueError, match=r"\(1, 6, 8, classes\).*received \(1, 3, 4, 3\)"):
        inference.predict_probabilities(model, picture())


def test_unknown_heads_and_models_without_heads_are_refused():
    with pytest.raises(ValueError, match="`heads`.*'unary', 'final'.*received .*b12"):
        at_heads(TwoHeads(), picture(), heads=["b12"])
    for heads in ([], ["final", "final"]):
        with pytest.raises(ValueError, match="`heads`"):
            check_heads(TwoHeads(), heads)
    assert list(at_heads(TwoHeads(), picture(), heads="unary")) == ["unary"]
    with pytest.raises(ValueError, match="model with heads"):
        at_heads(linear_model(), picture(), heads=["unary"])
    assert list(at_heads(linear_model(), picture(), heads="all")) == ["final"]
    with pytest.raises(ValueError, match="model with heads"):
        Predictor([TwoHeads(), linear_model()], heads="all")


def test_labels_are_those_of_the_last_head():
    model, image = TwoHeads(), picture()
    for heads in (("unary", "final"), ("final", "unary")):
        predictor = Predictor(model, heads=heads)
        assert predictor.heads == heads
        maps = predictor.probabilities(image)
        assert list(maps) == list(heads)
        np.testing.assert_array_equal(predictor.labels(image), maps[heads[-1]].argmax(axis=-1))


CRF = {"num_iterations": 2, "bilateral": (4.0, 3.0, 60.0), "filter": "exact"}


def test_images_are_resized_to_the_only_size_that_a_network_takes():
    any_size = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 1)])
    inputs = keras.Input((6, 8, 3))
    model = keras.Model(inputs, any_size(inputs))
    image = picture(12, 10)
    small = predict_probabilities(any_size, resize(image.astype("float32"), 6, 8))
    for network in (model, keras.Sequential([inputs, any_size])):
        for settings in (None, InferenceSettings(memory_gib=1e-3)):  # it needs no tiles
            found = Predictor(network, settings).probabilities(image)["final"]
            np.testing.assert_allclose(found, resize(small, *image.shape[:2]), atol=1e-5)
    for setting in ({"scales": (1.0, 2.0)}, {"tile": 512}):
        with pytest.raises(ValueError, match="a network that takes images of one size, received"):
            Predictor(model, InferenceSettings(**setting))


def test_a_sequential_model_takes_its_channels():
    model = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Conv2D(2, 1)])
    image = np.zeros((5, 6, 4), "uint8")
    assert Predictor(model).probabilities(image)["final"].shape == (5, 6, 2)


def test_models_have_one_number_of_labels():
    image = keras.Input((None, None, 3))
    models = [keras.Model(image, keras.layers.Conv2D(n, 1)(image)) for n in (1, 2, 5)]
    assert Predictor(models[:2]).probabilities(picture())["final"].shape == (6, 8, 2)
    with pytest.raises(ValueError, match="the same number of labels, .* models with 2 and 5"):
        Predictor(models)


def test_each_head_is_followed_by_what_the_crf_makes_of_it():
    model, image = TwoHeads(), picture()
    unary = model.get_layer("unary")
    unary.kernel.assign(unary.kernel / 100)  # logits of a few units
    predictor = Predictor(model, heads="all", crf=CRF)
    assert predictor.heads == ("unary", "unary+crf", "final", "final+crf")
    maps, plain = predictor.probabilities(image), at_heads(model, image)
    assert tuple(maps) == predictor.heads
    for head in ("unary", "final"):
        np.testing.assert_array_equal(maps[head], plain[head])
        refined = refine(image, plain[head], **CRF)
        assert np.abs(refined - plain[head]).max() > 0.01
        np.testing.assert_allclose(maps[f"{head}+crf"], refined, atol=1e-6)
    np.testing.assert_array_equal(predictor.labels(image), maps["final+crf"].argmax(axis=-1))
    alone = Predictor(model, crf=CRF)
    assert list(alone.probabilities(image)) == ["final", "final+crf"]
    assert Predictor(model, crf={}).heads == ("final", "final+crf")


def test_memory_chooses_the_tile_that_all_networks_fit():
    image = keras.Input((None, None, 3))
    hidden = keras.layers.Conv2D(20, 1)(image)
    networks = linear_model(2), keras.Model(image, keras.layers.Conv2D(2, 1)(hidden))
    tiles = [side_for_memory(network, 2**24, overlap=32) for network in networks]
    assert tiles[0] > tiles[1]
    budget = InferenceSettings(memory_gib=1 / 64, overlap=32)
    for several in (networks, networks[::-1]):
        chosen = Predictor(several, budget).settings
        assert chosen == InferenceSettings(tile=tiles[1], overlap=32)
    with pytest.raises(ValueError, match="`memory`: expected .* GiB or more, .* received 0.00"):
        Predictor(networks, InferenceSettings(memory_gib=1e-6))


# ----------------------------------------------------------------------------------- video


def head_maps(model, frames, flow=None, heads="all"):
    return Predictor(model, heads=heads).video(frames, flow)


def final_maps(model, frames, flow=None):
    return (maps["final"] for maps in Predictor(model).video(frames, flow))


def clip_maps(model, frames, flow, heads="all"):
    return Predictor(model, heads=heads).clip(frames, flow)


def video_model(**settings):
    """A spatial-temporal network of a few hundred weights, whose b11 tells labels apart."""
    tiny = {"num_classes": 3, "width": 0.05, "backbone": tiny_backbone((2, 2, 2))}
    tiny |= {"local_conv": {"window": 3, "scale": 5.0}}
    tiny |= {"contexts": {"window": 3, "mixtures": 1, "noise": 0.3}}
    model = SpatialTemporalDPN(**tiny | settings)
    b11 = model.get_layer("b11")
    b11.kernel.assign(b11.kernel * 0.05)
    return model


def video_frames(count, height=6, width=8):
    """Frames that know their number: that of their first pixel."""
    frames = [picture(height, width, seed=t) for t in range(count)]
    for t, frame in enumerate(frames):
        frame[0, 0] = t
    return frames


def frame_flow(first, second):
    """From each frame to the next 0.7 to the right and 0.4 up, and back again."""
    assert first.dtype == second.dtype == np.uint8
    step = int(second[0, 0, 0]) - int(first[0, 0, 0])
    assert abs(step) == 1
    return step * np.tile(np.float64([0.7, -0.4]), (*first.shape[:2], 1))


def clip_about(frames, index, length):
    """The clip that labels one frame: beyond the ends stand unlinked copies of the end frames."""
    numbers = range(index - length // 2, index + length // 2 + 1)
    clip = [frames[min(max(t, 0), len(frames) - 1)] for t in numbers]
    flows = np.full((2, length - 1, *frames[0].shape[:2], 2), INVALID_FLOW, "float32")
    for i, (t, u) in enumerate(zip(numbers, numbers[1:], strict=False)):
        if t >= 0 and u < len(frames):
            flows[0, i] = frame_flow(frames[t], frames[u])
            flows[1, i] = frame_flow(frames[u], frames[t])
    names = "frames", "forward_flow", "backward_flow"
    return {name: np.array(x)[None] for name, x in zip(names, (clip, *flows), strict=True)}


EAGER = pytest.mark.usefixtures("eager")


def check_video_equals_the_model_on_each_clip(count, settings):
    model, frames = video_model(**settings), video_frames(count)
    found = list(final_maps(model, iter(frames), frame_flow))
    assert len(found) == count
    for t, probabilities in enumerate(found):
        clip = clip_about(frames, t, model.frames)
        inputs = clip if model.linking == "flow" else clip["frames"]
        logits = model.predict_on_batch(inputs)[0]
        if model.output_frames == "all":
            logits = logits[model.frames // 2]
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities, softmax(logits), rtol=1e-3, atol=1e-5)


def test_video_equals_the_model_on_each_clip():
    check_video_equals_the_model_on_each_clip(4, {})


@EAGER
@pytest.mark.parametrize(
    ("count", "settings"),
    [
        pytest.param(
            3,
            {"frames": 5, "output_frames": "all", "pairwise": "triple"},
            marks=pytest.mark.tensorflow_only,
        ),
        pytest.param(1, {}, marks=pytest.mark.tensorflow_only),
        (3, {"linking": "static", "pairwise_stride": 2}),
        pytest.param(2, {"frames": 1, "pairwise_stride": 4}, marks=pytest.mark.tensorflow_only),
    ],
)
def test_video_equals_the_model_with_other_settings(count, settings):
    check_video_equals_the_model_on_each_clip(count, settings)


@EAGER
@pytest.mark.tensorflow_only
def test_video_takes_pairs_of_flows():
    model, frames = video_model(pairwise="triple"), video_frames(3)
    pairs = [(frame_flow(a, b), frame_flow(b, a)) for a, b in zip(frames, frames[1:], strict=False)]
    expected = list(final_maps(model, frames, frame_flow))
    found = list(final_maps(model, frames, iter(pairs)))
    np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="`flow`: expected a pair for each frame but the last"):
        list(final_maps(model, frames, pairs[:1]))


@EAGER
@pytest.mark.tensorflow_only
def test_clip_heads():
    model, frames = video_model(pairwise="triple"), video_frames(5)
    clip = clip_about(frames, 2, 5)
    pairs = zip(clip["forward_flow"][0], clip["backward_flow"][0], strict=True)
    found = clip_maps(model, frames, pairs)
    expected = list(head_maps(model, frames, frame_flow))[2]
    assert list(found) == list(expected) == ["unary", "triple", "final"]
    for name in found:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)
    [final] = clip_maps(model, frames, frame_flow, ["final"]).values()
    np.testing.assert_allclose(final, expected["final"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`frames`: expected an odd number of them, .*received 4"):
        clip_maps(model, frames[:4], frame_flow)


@EAGER
@pytest.mark.tensorflow_only
def test_video_heads():
    model, frames = video_model(), video_frames(3)
    found = list(head_maps(model, frames, frame_flow))
    assert [list(maps) for maps in found] == 3 * [["unary", "triple", "contexts", "final"]]
    outputs = [model.head_model(name).outputs[0] for name in model.head_names]
    heads = keras.Model(model.input, outputs).predict_on_batch(clip_about(frames, 1, 3))
    for name, logits in zip(model.head_names, heads, strict=True):
        np.testing.assert_allclose(found[1][name], softmax(logits[0]), rtol=1e-3, atol=1e-5)
    names = ["triple", "unary"]
    chosen = list(head_maps(model, frames, frame_flow, names))
    assert list(chosen[0]) == names
    np.testing.assert_allclose(chosen[2]["triple"], found[2]["triple"], rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="`heads`"):
        next(head_maps(model, frames, frame_flow, ["b12"]))


def test_video_of_an_image_model_in_several_views():
    inputs = keras.Input((None, None, 3))
    convolution = keras.Model(inputs, keras.layers.Conv2D(4, 3, padding="same")(inputs / 64))
    networks, frames = [convolution, linear_model()], video_frames(2, height=70, width=80)
    views = {"scales": (0.5, 1.0), "horizontal_flip": True, "tile": 64, "overlap": 32}
    predictor = Predictor(networks, InferenceSettings(**views))
    found = list(predictor.video(iter(frames)))
    for frame, maps in zip(frames, found, strict=True):
        expected = inference.predict_probabilities(networks, frame, **views)
        np.testing.assert_array_equal(maps["final"], expected)
    np.testing.assert_array_equal(predictor.clip(frames[:1])["final"], found[0]["final"])


@EAGER
@pytest.mark.tensorflow_only
def test_video_of_a_network_for_clips_has_a_crf():
    model, frames = video_model(linking="static", pairwise="triple"), video_frames(3)
    plain = list(final_maps(model, frames))
    found = list(Predictor(model, crf=CRF).video(iter(frames)))
    for frame, maps, expected in zip(frames, found, plain, strict=True):
        assert list(maps) == ["final", "final+crf"]
        np.testing.assert_array_equal(maps["final"], expected)
        refined = refine(frame, expected, **CRF)
        np.testing.assert_allclose(maps["final+crf"], refined, atol=1e-6)


def test_networks_for_clips_predict_frames_as_they_are_by_themselves():
    clips, images = video_model(pairwise=None), linear_model(3)
    predictor = Predictor(clips, InferenceSettings(memory_gib=1.0))
    assert (predictor.clip_frames, predictor.needs_flow) == (3, True)
    assert (Predictor(images).clip_frames, Predictor(images).needs_flow) == (None, False)
    refused = [(clips, s) for s in ({"scales": (0.5,)}, {"horizontal_flip": True}, {"tile": 512})]
    for networks, settings in [*refused, ([clips, images], {}), ([images, clips], {})]:
        with pytest.raises(ValueError, match="doesn't support other"):
            Predictor(networks, InferenceSettings(**settings))
    for predict in (predictor.probabilities, predictor.labels):
        with pytest.raises(ValueError, match="network is for clips: use `video`, or `clip`"):
            predict(picture())


def test_video_with_an_image_model():
    model, frames = linear_model(), video_frames(3)
    expected = [inference.predict_probabilities(model, frame) for frame in frames]
    for flow in (None, frame_flow):
        found = list(final_maps(model, iter(frames), flow))
        np.testing.assert_array_equal(found, expected)
    model = TwoHeads()
    found = list(head_maps(model, iter(frames)))
    expected = [at_heads(model, frame) for frame in frames]
    assert [list(maps) for maps in found] == 3 * [["unary", "final"]]
    for name in ("unary", "final"):
        ours, theirs = ([maps[name] for maps in both] for both in (found, expected))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.tensorflow_only
def test_video_follows_its_frames_and_runs_each_once(monkeypatch):
    model, read, calls = video_model(frames=5, linking="flow"), [], {"unary": 0, "flow": 0}
    terms, _ = forward.split_model(model, None)
    original = terms.predict_on_batch

    def counted(batch):
        calls["unary"] += len(batch) * batch.shape[1]
        return original(batch)

    def flow(first, second):
        calls["flow"] += 1
        return frame_flow(first, second)

    def frames():
        for frame in video_frames(7):
            read.append(frame)
            yield frame

    monkeypatch.setattr(terms, "predict_on_batch", counted)
    behind = [len(read) - i for i, _ in enumerate(final_maps(model, frames(), flow))]
    assert behind == [3, 3, 3, 3, 3, 2, 1]  # two frames on, beside the frame itself
    assert calls == {"unary": 7, "flow": 2 * 6}


def test_video_without_frames():
    for model in (linear_model(), video_model(linking="static")):
        assert list(final_maps(model, [])) == []
    assert list(final_maps(video_model(), iter(()), frame_flow)) == []


@EAGER
@pytest.mark.tensorflow_only
def test_video_models_are_forgotten():
    model = video_model(linking="static")
    assert len(list(final_maps(model, video_frames(2)))) == 2
    assert model in forward._MODELS
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None


@pytest.fixture(scope="module")
def linked_model():
    """A network that is not trained, for what is refused before it runs."""
    return video_model()


def test_video_needs_its_flow(linked_model):
    with pytest.raises(ValueError, match="`flow`: expected a function from two frames .*None"):
        next(final_maps(linked_model, video_frames(2)))


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    ("flow", "message"),
    [
        (np.zeros((6, 7, 2)), r"of the sizes of the frames, received \(6, 7, 2\) for \(6, 8, 3\)"),
        (np.zeros((2, 6, 8)), r"received shape \(2, 6, 8\)\. Put the two channels \(dx, dy\) last"),
        (np.full((6, 8, 2), np.nan), "of numbers, received NaN"),
        (np.zeros((6, 8, 2), "int16"), "of floats, in pixels, received int16"),
    ],
)
def test_video_refuses_flow(linked_model, flow, message):
    with pytest.raises(ValueError, match=f"`flow`: .*{message}"):
        list(final_maps(linked_model, video_frames(2), lambda first, second: flow))


@pytest.mark.tensorflow_only
def test_video_refuses_frames_of_other_sizes(linked_model):
    frames = [*video_frames(2), *video_frames(1, height=7)]
    with pytest.raises(ValueError, match=r"`frames`: .*\(6, 8, 3\) as the first, received \(7, 8"):
        list(final_maps(video_model(linking="static"), frames))
    with pytest.raises(ValueError, match="`image`: .*received int32"):
        list(final_maps(linked_model, [frames[0].astype("int32")], frame_flow))


@EAGER
@pytest.mark.tensorflow_only
def test_a_clip_may_begin_with_a_copy():
    model, frames = video_model(pairwise="triple"), video_frames(2)
    expected = next(final_maps(model, frames, frame_flow))
    clip = {name: value[0] for name, value in clip_about(frames, 0, 3).items()}
    flow = zip(clip["forward_flow"], clip["backward_flow"], strict=True)
    found = clip_maps(model, clip["frames"], flow, ["final"])
    np.testing.assert_allclose(found["final"], expected, rtol=1e-5, atol=1e-6)
