import json

import keras
import numpy as np
import pytest

from keras_dpn import ops
from keras_dpn.models import DPN, SpatialTemporalDPN
from keras_dpn.models.dpn_arguments import merge_groups
from keras_dpn.models.spatial_temporal_dpn import _resized
from keras_dpn.models.staged import argument_names
from keras_dpn.ops.warp import INVALID_FLOW
from tests.keras_dpn.support import (
    assert_close,
    compile_for_one_step,
    direct_linked_local_conv,
    direct_links,
    direct_softmax,
    picture,
    random,
    run,
    to_numpy,
    weight_shapes,
    without_values,
)

# JAX compiles each of these networks for seconds: there, a few of them must do.
TENSORFLOW = pytest.mark.tensorflow_only

TINY = {
    "num_classes": 3,
    "width": 0.05,
    "backbone": {"fc6_kernel": 1, "fc_width": 100},
    "local_conv": {"window": 4},
    "contexts": {"window": 3, "mixtures": 2, "noise": 0.3},
}


def spread(model):
    """The model with a b11 that tells labels apart."""
    b11 = model.get_layer("b11")
    b11.kernel.assign(b11.kernel * 0.05)
    b11.bias.assign([0.3, -0.2, 0.1])
    return model


def tiny(**settings):
    return spread(SpatialTemporalDPN(**merge_groups(TINY, settings)))


def tiny_dpn(**settings):
    return spread(DPN(**merge_groups(TINY, settings)))


def frames_of(time, size=(9, 13), batch=1, seed=0):
    return picture(*size, batch=batch * time, seed=seed).reshape(batch, time, *size, 3)


def clip_of(time, size=(9, 13), batch=1, motion=1.5, seed=0):
    """Frames and flows most of which lead back."""
    steps = (batch, time - 1, *size, 2)
    forward = motion * random(*steps, seed=seed + 1, low=-1.0)
    backward = (
        random(*steps, seed=seed + 2, low=-0.3, high=0.3) - forward.mean((2, 3))[:, :, None, None]
    )
    frames = frames_of(time, size, batch, seed)
    return {"frames": frames, "forward_flow": forward, "backward_flow": backward}


def run_heads(model, inputs):
    """The logits of every head."""
    outputs = [model.head_model(s).outputs[0] for s in model.head_names]
    return dict(zip(model.head_names, run(keras.Model(model.input, outputs), inputs), strict=True))


def share_weights(model, other):
    for layer in model.layers:
        layer.set_weights(other.get_layer(layer.name).get_weights())
    return model


HEADS = {
    None: ("unary", "final"),
    "triple": ("unary", "triple", "final"),
    "contexts": ("unary", "triple", "contexts", "final"),
}


@pytest.mark.parametrize(
    ("time", "settings"),
    [
        pytest.param(3, {}, marks=TENSORFLOW),
        (1, {"output_frames": "all", "frames": 5, "pairwise": "triple", "pairwise_stride": 2}),
        (
            2,
            {
                "output_frames": "all",
                "linking": "static",
                "pairwise_stride": 4,
                "num_iterations": 2,
            },
        ),
        pytest.param(
            5, {"linking": "static", "pairwise": None, "pairwise_stride": 8}, marks=TENSORFLOW
        ),
        pytest.param(4, {"output_frames": "all", "pairwise": None}, marks=TENSORFLOW),
        pytest.param(
            5,
            {
                "frames": 5,
                "num_iterations": 2,
                "pairwise_stride": 8,
                "local_conv": {"window": (3, 5)},
            },
            marks=TENSORFLOW,
        ),
    ],
)
def test_heads_and_sizes(time, settings):
    model, clip = tiny(**settings), clip_of(time, batch=2)
    assert model.head_names == HEADS[model.pairwise]
    inputs = clip if model.linking == "flow" else clip["frames"]
    all_frames = model.output_frames == "all"
    assert model.output.shape == ((None,) * (4 if all_frames else 3) + (3,))
    for logits in run_heads(model, inputs).values():
        assert logits.shape == ((2, time, 9, 13, 3) if all_frames else (2, 9, 13, 3))
        assert np.isfinite(logits).all()


@pytest.mark.parametrize("input_shape", [(None, None, 3), (17, 30, 3)])
@pytest.mark.parametrize("linking", ["flow", "static"])
def test_inputs(linking, input_shape):
    settings = {"input_shape": input_shape, "linking": linking, "output_frames": "all"}
    model = without_values(lambda: SpatialTemporalDPN(21, width=0.02, **settings))
    assert model.output.shape == (None, None, *input_shape[:2], 21)
    if linking == "static":
        assert model.input.shape == (None, None, *input_shape)
    else:
        assert {name: x.shape for name, x in model.input.items()} == {
            "frames": (None, None, *input_shape),
            "forward_flow": (None, None, *input_shape[:2], 2),
            "backward_flow": (None, None, *input_shape[:2], 2),
        }


def test_default_is_the_journals():
    shapes = weight_shapes(lambda: SpatialTemporalDPN(11))
    assert shapes["b13/kernel"] == (7, 7, 3 * 11, 55)
    model = without_values(lambda: SpatialTemporalDPN(11, pairwise="triple"))
    assert model.get_layer("b12").window == (3, 50, 50)
    assert [model.frames, model.linking, model.output_frames] == [3, "flow", "center"]


# ------------------------------------------------------------------ what the heads compute


def coarse(flow, stride):
    """The mean flow of each cell that lies in the image, in pixels of the grid."""
    height, width = (-(-n // stride) for n in flow.shape[2:4])
    out = np.zeros((*flow.shape[:2], height, width, 2))
    for y, x in np.ndindex(height, width):
        cell = flow[:, :, stride * y : stride * (y + 1), stride * x : stride * (x + 1)]
        out[:, :, y, x] = cell.mean((2, 3)) / stride
    return out


@pytest.mark.parametrize(
    ("stride", "frames", "context_window"), [(1, 3, 3), pytest.param(4, 5, 2, marks=TENSORFLOW)]
)
def test_logits_are_eq_9_on_linked_frames(stride, frames, context_window):
    settings = {"pairwise_stride": stride, "frames": frames}
    settings |= {"contexts": {"window": context_window}}
    settings |= {
        "local_conv": {"position_weight": 0.1},
        "output_frames": "all",
        "link_threshold": 1.2,
    }
    settings |= {"frame_spacing": 2.5}
    model, clip = tiny(**settings), clip_of(3, motion=3.0)
    terms, field = model.split("final")
    unary, guide = run(terms, clip["frames"])
    flows = [clip["forward_flow"], clip["backward_flow"]]
    if stride > 1:
        flows = [coarse(flow, stride) for flow in flows]

    def link(x):
        neighbors, validity = direct_links(x, flows, frames, 1.2 / stride)
        assert 0.3 < validity.mean() < 0.95
        return neighbors

    q = direct_softmax(unary)
    weights = {"color_weight": 1.0, "position_weight": 0.1, "spacing": (2.5, 1, 1)}
    o12 = direct_linked_local_conv(link(q), link(guide), (frames, 4, 4), **weights)
    o12 = q * o12 / (frames * 16)
    kernel, bias = (to_numpy(w) for w in model.get_layer("b13").weights)
    stacked = link(o12).reshape(*o12.shape[:4], -1)  # (B, T, h, w, K L)
    height, width, n = *o12.shape[2:4], context_window
    padded = np.pad(stacked, [(0, 0), (0, 0), *[((n - 1) // 2, n // 2)] * 2, (0, 0)])
    o13 = bias + sum(
        padded[:, :, y : y + height, x : x + width] @ kernel[y, x] for y, x in np.ndindex(n, n)
    )
    logits = unary - o13.reshape(*o13.shape[:-1], 3, 2).min(-1)
    expected = np.asarray(logits[0], "float32")
    expected = to_numpy(ops.resize(expected, [n * stride for n in expected.shape[1:3]]))
    assert_close(run(model, clip)[0], expected[:, :9, :13], rtol=1e-4, atol=2e-5)
    again = run(field, [unary, guide, *clip.values()])
    assert_close(again[0], expected[:, :9, :13], rtol=1e-4, atol=2e-5)


@TENSORFLOW
@pytest.mark.parametrize("stride", [1, 4])
def test_unary_term_is_the_dpns(stride):
    dpn = tiny_dpn(pairwise_stride=stride)
    model = SpatialTemporalDPN.from_dpn(
        dpn, linking="static", output_frames="all", context_window=3
    )
    frames = frames_of(3)
    expected = run(dpn.head_model("unary"), frames[0])
    assert_close(run(model.head_model("unary"), frames)[0], expected)


@TENSORFLOW
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("frames", [3, 5])
def test_zero_flow_is_static_linking(frames, stride):
    settings = {"frames": frames, "pairwise_stride": stride, "output_frames": "all"}
    flow = tiny(linking="flow", num_iterations=2, **settings)
    static = share_weights(tiny(linking="static", num_iterations=2, **settings), flow)
    clip = clip_of(4, motion=0.0)
    clip["backward_flow"] *= 0
    expected = run_heads(static, clip["frames"])
    for head, logits in run_heads(flow, clip).items():
        assert_close(logits, expected[head], rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_frames_without_links_know_nothing_of_each_other():
    model, clip = tiny(output_frames="all", num_iterations=2), clip_of(3)
    for name in ("forward_flow", "backward_flow"):
        clip[name] = np.full_like(clip[name], INVALID_FLOW)
    together = run(model, clip)[0]
    alone = {"frames": clip["frames"][0][:, None]}
    alone |= {name: np.zeros((3, 0, 9, 13, 2), "float32") for name in clip if name != "frames"}
    assert_close(together, run(model, alone)[:, 0], rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_linked_frames_know_of_each_other():
    model, clip = tiny(), clip_of(3)
    before = run_heads(model, clip)
    clip["frames"][:, 2] = 255 - clip["frames"][:, 2]
    after = run_heads(model, clip)
    changes = [np.abs(after[head] - before[head]).max() for head in model.head_names]
    assert changes[0] == 0  # the middle frame's unary term
    assert min(changes[1:]) > 0.01


# --------------------------------------------------------------- starting from a 2-D network


@TENSORFLOW
@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("settings", [{}, {"num_iterations": 2}, {"pairwise": "triple"}])
def test_a_still_clip_begins_where_the_dpn_ends(stride, settings):
    """K equal frames are K times the window, of which the mean is taken."""
    dpn = tiny_dpn(pairwise_stride=stride, **settings)
    model = SpatialTemporalDPN.from_dpn(dpn, linking="static", context_window=5)
    image = picture(9, 13)
    logits = run(model, np.repeat(image[:, None], 5, axis=1))
    assert_close(logits, run(dpn, image), rtol=1e-4, atol=1e-5)


@TENSORFLOW
@pytest.mark.parametrize("linking", ["static", "flow"])
def test_one_frame_begins_where_the_dpn_ends_but_for_the_windows_mean(linking):
    dpn = tiny_dpn(local_conv={"position_weight": 0.1})
    model = SpatialTemporalDPN.from_dpn(dpn, frames=5, linking=linking, context_window=None)
    assert model.contexts["window"] == 3
    b12 = model.get_layer("b12")
    assert_close(b12.a, dpn.get_layer("b12").a)
    b12.a.assign(5 * b12.a)
    clip = clip_of(1)
    logits = run(model, clip if linking == "flow" else clip["frames"])
    assert_close(logits, run(dpn, clip["frames"][0]), rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_from_dpn_takes_arguments_over():
    dpn = tiny_dpn(pairwise_stride=4, contexts={"mixtures": 1}, name="mine")
    model = SpatialTemporalDPN.from_dpn(dpn, frames=5, output_frames="all", linking="static")
    config = model.get_config()
    assert (config["frames"], config["output_frames"], config["width"]) == (5, "all", 0.05)
    assert (config["pairwise_stride"], config["backbone"]["fc_width"]) == (4, 100)
    assert config["contexts"] == {"window": 7, "mixtures": 1, "noise": 0.3}
    assert model.name == "spatial_temporal_dpn"
    for layer in dpn.layers:
        if layer.weights and layer.name != "b13":
            for ours, theirs in zip(
                model.get_layer(layer.name).weights, layer.weights, strict=True
            ):
                assert_close(ours, to_numpy(theirs))


def test_learned_filters_begin_as_the_squared_distance():
    settings = {"linking": "static", "input_shape": (9, 13, 3), "pairwise_stride": 4}
    distance = tiny(local_conv={"position_weight": 0.1}, **settings)
    learned = tiny(local_conv={"position_weight": 0.1, "kernel": "learned"}, **settings)
    filters = to_numpy(learned.get_layer("b12").filters)
    assert filters.shape == (3, 4, 3 * 4 * 4)
    values = {layer.name: layer.get_weights() for layer in distance.layers if layer.weights}
    values["b12"][-1] = filters
    for name, weights in values.items():
        learned.get_layer(name).set_weights(weights)
    frames = frames_of(5)
    assert_close(learned(frames), to_numpy(distance(frames)), rtol=1e-4, atol=1e-4)


def test_learned_filters_of_images_are_those_of_the_center_frame():
    settings = {"input_shape": (9, 13, 3), "pairwise_stride": 4}
    dpn = tiny_dpn(local_conv={"kernel": "learned"}, **settings)
    dpn.get_layer("b12").filters.assign(random(3, 4, 16))
    model = SpatialTemporalDPN.from_dpn(dpn, linking="static", context_window=None)
    filters = to_numpy(model.get_layer("b12").filters).reshape(3, 4, 3, 16)
    assert_close(filters[:, :, 1], random(3, 4, 16))
    assert_close(filters[:, :, 0], np.zeros((3, 4, 16)))  # the initial position weight is 0


def test_b13_begins_with_the_middle_frame():
    dpn = tiny_dpn()
    model = SpatialTemporalDPN.from_dpn(dpn, context_window=5)
    kernel = to_numpy(model.get_layer("b13").kernel).reshape(5, 5, 3, 3, 6)  # ..., K, L, L K
    np.testing.assert_array_equal(kernel[1:4, 1:4, 1], to_numpy(dpn.get_layer("b13").kernel))
    assert np.count_nonzero(kernel) == 3 * 3 * 3 * 6


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("other", [1, 2, 3, 4, 7, 8])
def test_filters_keep_their_centre(size, other):
    def offsets(n):
        return np.arange(n) - (n - 1) // 2  # of a convolution with padding "same"

    kernel = np.stack([100.0 + offsets(size)] * 2, axis=1)
    expected = [100.0 + i if i in offsets(size) else 0 for i in offsets(other)]
    np.testing.assert_array_equal(_resized(kernel, 0, other), np.stack([expected] * 2, axis=1))


@TENSORFLOW
@pytest.mark.parametrize(
    ("window", "larger"),
    [(3, 4), (2, 5), ((4, 3), (7, 6))],
)
def test_larger_contexts_begin_as_the_smaller_ones(window, larger):
    dpn = tiny_dpn(contexts={"window": window})
    model = SpatialTemporalDPN.from_dpn(dpn, linking="static", context_window=larger)
    image = picture(9, 13)
    logits = run(model, np.repeat(image[:, None], 3, axis=1))
    assert_close(logits, run(dpn, image), rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_starts_from_another_network_for_clips():
    first, second = tiny(linking="static"), tiny(linking="static")
    second.start_from(first)
    for own, other in zip(second.get_weights(), first.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


@TENSORFLOW
def test_old_names_of_arguments_work():
    model = tiny(linking="static", pairwise=None)
    with pytest.warns(DeprecationWarning, match="`stage=` .* Use `heads=`"):
        _, field = model.split(stage=["unary", "final"])
    assert len(field.outputs) == 2
    with pytest.warns(DeprecationWarning, match="`dpn=` .* Use `other=`"):
        model.start_from(dpn=tiny_dpn(pairwise=None))


@TENSORFLOW
@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        ({"backbone": "large_fov"}, {}, "`other`: its layer b9 has weights of other shapes"),
        ({"pairwise": "triple"}, {}, "`other`: .*the same layers, but only one .* has b13"),
        ({"num_classes": 4}, {}, "`other`: its layer b11 has weights of other shapes"),
        ({"contexts": {"mixtures": 3}}, {}, "`other`: its layer b13 has weights of other shapes"),
    ],
)
def test_refuses_to_start_from_another_network(theirs, ours, message):
    def build():
        own = {key: TINY[key] for key in ("num_classes", "width", "contexts")}
        model = SpatialTemporalDPN(**merge_groups(own, ours))
        model.start_from(DPN(**merge_groups(own, theirs)))

    with pytest.raises(ValueError, match=message):
        without_values(build)


@TENSORFLOW
def test_every_frame_is_a_global_context_of_its_own():
    dpn = tiny_dpn(global_context=True, pairwise_stride=4)
    settings = {"linking": "static", "output_frames": "all", "context_window": None}
    model, frames = SpatialTemporalDPN.from_dpn(dpn, **settings), frames_of(3)
    unary = run(model.head_model("unary"), frames)
    assert_close(unary[0], run(dpn.head_model("unary"), frames[0]), rtol=1e-4, atol=1e-5)
    shapes = weight_shapes(
        lambda: SpatialTemporalDPN(11, backbone="large_fov", global_context=True)
    )
    assert sum(np.prod(shape) for shape in shapes.values()) == 20_597_485


@TENSORFLOW
def test_skips_are_the_dpns_in_every_frame():
    skips = {"output_stride": 16, "skips": ("conv4", "conv3"), "skip_width": 400}
    dpn = tiny_dpn(pairwise_stride=4, backbone=skips)
    settings = {"linking": "static", "output_frames": "all", "context_window": None}
    model, frames = SpatialTemporalDPN.from_dpn(dpn, **settings), frames_of(3, (17, 30))
    assert model.backbone.items() >= skips.items()
    unary = run(model.head_model("unary"), frames)
    assert_close(unary[0], run(dpn.head_model("unary"), frames[0]), rtol=1e-4, atol=1e-5)
    still = np.repeat(frames[:, :1], 3, axis=1)
    logits = run(model, still)[0]  # K equal frames are K times the window of the middle one
    assert_close(logits[1], run(dpn, frames[0, :1])[0], rtol=1e-4, atol=1e-5)


# ------------------------------------------------------------------------- as a Keras model


@pytest.mark.parametrize("linking", ["flow", pytest.param("static", marks=TENSORFLOW)])
def test_split_equals_the_whole(linking):
    model, clip = tiny(linking=linking, pairwise_stride=2, output_frames="all"), clip_of(4)
    inputs = clip if linking == "flow" else clip["frames"]
    expected = run_heads(model, inputs)
    terms, field = model.split(model.head_names)
    maps = [run(terms, clip["frames"][:, t : t + 1]) for t in range(4)]  # frame by frame
    maps = [np.concatenate(x, axis=1) for x in zip(*maps, strict=True)]
    found = run(field, [*maps, *(clip.values() if linking == "flow" else [inputs])])
    assert len(found) == 4
    for logits, head in zip(found, model.head_names, strict=True):
        assert_close(logits, expected[head], rtol=1e-4, atol=1e-5)


@TENSORFLOW
def test_split_shares_the_weights():
    model, clip = tiny(linking="static"), clip_of(3)
    terms, field = model.split("triple")
    model.get_layer("b12").a.assign(3.0)
    out = run(field, [*run(terms, clip["frames"]), clip["frames"]])
    assert_close(out, run(model.head_model("triple"), clip["frames"]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="`heads`: expected one of .*received 'b12'"):
        model.split("b12")


def test_training_reaches_every_weight():
    """Those of b13 for the other frames too, which begin at zero."""
    dpn = tiny_dpn(pairwise_stride=4, dropout=0.0)
    model = SpatialTemporalDPN.from_dpn(dpn, context_window=3)
    before = {w.path: to_numpy(w) for w in model.trainable_weights}
    compile_for_one_step(model, keras.optimizers.SGD(0.1))
    clip, labels = clip_of(3, batch=2), np.random.default_rng(0).integers(0, 3, (2, 9, 13))
    model.fit(clip, labels, verbose=0)
    after = {w.path: to_numpy(w) for w in model.trainable_weights}
    assert not [path for path in before if np.all(before[path] == after[path])]
    moved = (after["b13/kernel"] - before["b13/kernel"]).reshape(3, 3, 3, 3, 6)
    assert np.abs(moved).max(axis=(0, 1, 3, 4)).min() > 1e-6  # of every frame
    assert all(np.isfinite(value).all() for value in after.values())


@TENSORFLOW
def test_save_and_load(tmp_path):
    model, clip = tiny(pairwise_stride=4, frames=5, output_frames="all"), clip_of(3)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is SpatialTemporalDPN
    assert_close(run(loaded, clip), run(model, clip))
    assert loaded.head_names == model.head_names
    assert json.dumps(loaded.get_config()) == json.dumps(model.get_config())


def test_config_round_trip():
    settings = {"local_conv": {"window": (3, 5), "kernel": "gaussian"}, "frames": 5}
    settings |= {"linking": "static", "output_frames": "all", "link_threshold": 2.5, "name": "own"}
    settings |= {"width": 0.02}
    model = without_values(lambda: SpatialTemporalDPN(4, input_shape=(None, 16, 3), **settings))
    config = json.loads(json.dumps(model.get_config()))
    assert set(config) == set(argument_names(SpatialTemporalDPN))
    again = without_values(lambda: SpatialTemporalDPN.from_config(config))
    assert json.loads(json.dumps(again.get_config())) == config
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    assert (model.frames, model.linking, model.link_threshold) == (5, "static", 2.5)


@TENSORFLOW
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    wide, clip = tiny(pairwise_stride=2), clip_of(3)
    clip["frames"] += 0.3
    keras.config.set_dtype_policy(policy)
    model = share_weights(tiny(pairwise_stride=2), wide)
    assert model.get_layer("b9").compute_dtype == policy[6:]
    assert model.get_layer("stack_neighbors").output.dtype == "float32"
    (_, guide), (_, expected_guide) = (run(m.split()[0], clip["frames"]) for m in (model, wide))
    assert_close(guide, expected_guide)  # colours keep their digits
    logits = run(model, clip)
    assert logits.dtype == np.float32
    assert_close(logits, run(wide, clip), rtol=0, atol=0.1)


@TENSORFLOW
def test_takes_uint8():
    model, clip = tiny(pairwise_stride=4), clip_of(3)
    expected = run(model, clip)
    clip["frames"] = clip["frames"].astype("uint8")
    assert_close(run(model, clip), expected)


# ---------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 2}, "`frames`: expected an odd number, .*received 2"),
        ({"frames": 0}, "`frames`: expected an integer of at least 1, received 0"),
        ({"linking": "sift"}, r"`linking`: expected one of \['flow', 'static'\], received 'sift'"),
        ({"output_frames": "last"}, r"`output_frames`: expected one of \['all', 'center'\], rec"),
        ({"link_threshold": -1}, "`threshold`: expected a number of pixels from 0 up"),
        ({"frame_spacing": 0}, "`frame_spacing`: expected a positive number.*received 0"),
        ({"num_classes": 0}, "`num_classes`: expected an integer of at least 1, received 0"),
        (
            {"local_conv": {"window": (3, 5, 5)}},
            "`local_conv.window`: expected an integer or 2 integers",
        ),
        ({"pairwise_stride": 3}, "`pairwise_stride`: expected 1, 2, 4 or 8, received 3"),
        ({"local_conv": {"kernel": "learned"}}, "expects known spatial sizes, received"),
        ({"local_conv": {"kernel": "exact"}}, "`kernel`: expected one of"),
        (
            {"input_shape": (3, 9, 9, 3)},
            r"`input_shape`: expected \(height, width, channels\)",
        ),
    ],
)
def test_refuses_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        without_values(lambda: SpatialTemporalDPN(**merge_groups(TINY, settings)))


@TENSORFLOW
def test_refuses_clips_without_a_center_frame():
    with pytest.raises(ValueError, match="a frame in the center, an odd number .*received 2"):
        tiny(linking="static")(frames_of(2))


@TENSORFLOW
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("forward_flow", (1, 3, 9, 13, 2)),  # as many as frames
        ("backward_flow", (1, 2, 9, 12, 2)),
        ("forward_flow", (2, 2, 9, 13, 2)),
    ],
)
def test_refuses_flow_of_other_sizes(name, shape):
    clip = clip_of(3)
    clip[name] = np.zeros(shape, "float32")
    with pytest.raises(ValueError, match=f"`{name}`: .*the steps between frames"):
        tiny()(clip)


@TENSORFLOW
def test_refuses_nan():
    clip = clip_of(3)
    clip["backward_flow"][0, 1, 2, 3, 0] = np.nan
    with pytest.raises(ValueError, match="`backward_flow`: .*of numbers, received NaN"):
        tiny()(clip)


# --------------------------------------------------------------------------- names of 0.1


def test_flat_arguments_are_those_of_the_dpn():
    flat = {"triple_window": 4, "mixtures": 2, "labels_of": "middle"}
    with pytest.warns(DeprecationWarning) as caught:
        model = without_values(lambda: SpatialTemporalDPN(3, width=0.02, **flat))
    assert [str(warning.message).split("`")[1] for warning in caught] == [f"{n}=" for n in flat]
    assert "Use `output_frames=` instead" in str(caught[-1].message)
    assert model.contexts == {"window": 7, "mixtures": 2, "noise": 0.01}
    assert (model.local_conv["window"], model.output_frames) == (4, "center")
    with pytest.warns(DeprecationWarning, match="`.labels_of` .* Use `.output_frames` instead"):
        assert model.labels_of == "middle"
    again = without_values(lambda: SpatialTemporalDPN.from_config({"num_classes": 3, **flat}))
    assert again.contexts == model.contexts


def test_refuses_a_still_networks_unknown_arguments():
    with pytest.raises(TypeError, match="SpatialTemporalDPN got .* `pairwize`; did you mean `pai"):
        SpatialTemporalDPN(3, pairwize=None)
    with pytest.raises(TypeError, match="^DPN got an unexpected argument `labels_of`"):
        DPN(3, labels_of="all")
