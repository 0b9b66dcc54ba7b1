import itertools
import json

import keras
import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from keras_dpn import inference, metrics
from keras_dpn.classes import Classes
from keras_dpn.inference import InferenceSettings, Predictor
from keras_dpn.inference import predictor as predictor_module
from keras_dpn.models import SpatialTemporalDPN
from keras_dpn.models.staged import StagedModel
from training.data.dataset import Dataset, Example
from training.data.generated.moving_scenes import MovingScenesDataset
from training.evaluation.evaluator import Evaluator, evaluate
from training.evaluation.metrics import Confusion, MetricSettings, Trimap
from training.evaluation.scores import CalibrationScores, ObjectScores

CONSISTENCY = MetricSettings(consistency=True)
CLASSES = Classes(("dark", "red", "absent"), ((0, 0, 0), (255, 0, 0), (0, 0, 255)), ignore=7)


class Images(Dataset):
    """Three images of different sizes; the labels are wrong in places, and ignored in others."""

    name = "images"
    classes = CLASSES
    splits = {"val": tuple(Example(str(i), index=i) for i in range(3)), "empty": ()}

    def read(self, example):
        rng = np.random.default_rng(example.index)
        labels = rng.choice([0, 1, 1, 7], (4 + example.index, 6)).astype("uint8")
        image = np.zeros((*labels.shape, 3), "uint8")
        image[..., 0] = rng.choice([10, 200], labels.shape)
        return image, labels


class RedModel(StagedModel):
    """Head "unary" predicts red everywhere, head "final" where the image is red."""

    def __init__(self, classes=3):
        image = keras.Input((None, None, 3))
        unary = self.layer(classes, np.zeros(3), [0.0, 9.0, -9.0])(image)
        final = self.layer(classes, [0.0, 0.1, -9.0], [0.0, -10.0, -9.0])(image)
        config = {"classes": classes, "name": "red_model"}
        super().__init__(image, {"unary": unary, "final": final}, config)

    @staticmethod
    def layer(classes, red, bias):
        kernel = np.zeros((1, 1, 3, classes))
        kernel[0, 0, 0, :3] = red
        bias = np.pad(np.array(bias), (0, classes - 3), constant_values=-9.0)
        return keras.layers.Conv2D(
            classes,
            1,
            kernel_initializer=keras.initializers.Constant(kernel),
            bias_initializer=keras.initializers.Constant(bias),
        )


def expected_confusion(predict):
    pairs = [Images().read(e) for e in Images.splits["val"]]
    truth = np.concatenate([labels.ravel() for _, labels in pairs])
    labels = np.concatenate([predict(image).ravel() for image, _ in pairs])
    return confusion_matrix(truth[truth != 7], labels[truth != 7], labels=[0, 1, 2])


def red_where_red(image):
    return (image[..., 0] > 100).astype(int)


def test_every_head_is_scored_in_one_pass_over_images_of_any_size():
    evaluation = evaluate(Predictor(RedModel(), heads="all"), Images(), "val")
    assert (evaluation.dataset, evaluation.split, evaluation.num_images) == ("images", "val", 3)
    unary, final = evaluation.heads
    assert (unary.name, final.name) == ("unary", "final")
    np.testing.assert_array_equal(
        unary.confusion, expected_confusion(lambda image: np.ones(image.shape[:2], int))
    )
    confusion = expected_confusion(red_where_red)
    np.testing.assert_array_equal(final.confusion, confusion)
    hits, union = confusion[1, 1], confusion[1].sum() + confusion[:, 1].sum() - confusion[1, 1]
    assert final.iou[1] == pytest.approx(hits / union)
    assert final.iou[2] is None
    assert final.miou == pytest.approx(np.mean(final.iou[:2]))
    assert final.accuracy == pytest.approx(np.trace(confusion) / confusion.sum())
    json.dumps(evaluation.to_json(), allow_nan=False)
    assert evaluation.image_names == ("0", "1", "2")
    for head in (unary, final):
        np.testing.assert_array_equal(head.confusions.sum(axis=0), head.confusion)
    labels = Images().read(Images.splits["val"][1])[1]
    assert unary.confusions[1].sum() == np.sum(labels != 7)


def test_by_default_the_models_output_alone_is_scored():
    (head,) = evaluate(Predictor(RedModel()), Images(), "val").heads
    assert head.name == "final"
    np.testing.assert_array_equal(head.confusion, expected_confusion(red_where_red))


def test_metrics_are_counted_apart_for_each_head_and_run():
    class Names:
        needs_video = False

        def __init__(self):
            self.labels = []

        def update(self, sample, prediction):
            self.labels.append(prediction.labels.sum())

        def result(self):
            return {"confidences": tuple(self.labels)}

    evaluator = Evaluator(Images(), [Confusion(CLASSES), Names()])
    predictor = Predictor(RedModel(), heads="all")
    unary, final = evaluator.run(predictor, "val").heads
    sizes = [image[..., 0].size for image, _ in map(Images().read, Images.splits["val"])]
    assert unary.confidences == tuple(sizes) and unary.objects is None
    assert len(final.confidences) == 3 and final.confidences != unary.confidences
    assert evaluator.run(predictor, "val").heads == (unary, final)


def test_scales_and_flip_reach_the_model():
    settings = InferenceSettings(scales=(0.5,), horizontal_flip=True)
    evaluation = evaluate(Predictor(RedModel(), settings), Images(), "val")
    assert evaluation.settings == settings
    expected = {"scales": (0.5,), "horizontal_flip": True, "tile": None, "overlap": 256}
    values = evaluation.to_json()
    assert expected.items() <= values.items() and "memory_gib" not in values
    assert evaluation.head().confusion != expected_confusion(red_where_red).tolist()


def next_class(image, probabilities, **settings):
    """Stands for a CRF: makes each class the next one where the image is red."""
    assert image.dtype == np.uint8
    assert settings == {"bilateral": [4, 50, 5]}
    red = image[..., :1] > 100
    return np.where(red, np.roll(probabilities, 1, axis=-1), probabilities)


def test_every_head_is_scored_without_and_with_the_crf(monkeypatch):
    monkeypatch.setattr(predictor_module, "refine", next_class)
    crf = {"bilateral": [4, 50, 5]}
    evaluation = evaluate(Predictor(RedModel(), heads="all", crf=crf), Images(), "val")
    assert evaluation.crf == crf
    rows = {head.name: head.confusion for head in evaluation.heads}
    assert list(rows) == ["unary", "unary+crf", "final", "final+crf"]
    assert rows["final"] == expected_confusion(red_where_red).tolist()
    assert rows["final+crf"] == expected_confusion(lambda x: 2 * red_where_red(x)).tolist()
    assert rows["unary+crf"] == expected_confusion(lambda x: 1 + red_where_red(x)).tolist()


def test_objects_and_calibration_are_those_of_all_images():
    settings = {"box_threshold": 0.7, "boundary_tolerance": 0.1, "calibration_bins": 5}
    model = RedModel()
    evaluation = evaluate(
        Predictor(model, heads="all"), Images(), "val", MetricSettings(**settings)
    )
    counts, calibration = [], 0
    for image, labels in map(Images().read, Images.splits["val"]):
        probabilities = inference.predict_probabilities(model, image)
        predicted, confidences = red_where_red(image), probabilities.max(axis=-1)
        counts.append(metrics.object_counts(labels, predicted, 3, 7, 0.1))
        pixels = labels, predicted, confidences, 7, 5
        calibration = calibration + metrics.calibration_counts(*pixels)
    unary, final = evaluation.heads
    parameters = {"box_threshold": 0.7, "boundary_tolerance": 0.1}
    assert final.objects == ObjectScores(**metrics.object_scores(counts, 0.7), **parameters)
    assert final.calibration == CalibrationScores(**metrics.calibration(calibration))
    assert unary.objects.per_class["ta"][0] == 0, "it predicts red everywhere"
    assert unary.calibration.ece != final.calibration.ece


def test_several_models_are_averaged_in_tiles_or_not(monkeypatch):
    first, second = RedModel(), RedModel()
    second.set_weights([-w for w in second.get_weights()])
    evaluation = evaluate(Predictor([first, second]), Images(), "val")
    assert evaluation.num_models == 2
    expected = np.zeros((3, 3), int)
    for image, labels in map(Images().read, Images.splits["val"]):
        pair = [inference.predict_probabilities(model, image) for model in (first, second)]
        expected += confusion_matrix(
            labels.ravel(), sum(pair).argmax(axis=-1).ravel(), labels=[0, 1, 2]
        )
    np.testing.assert_array_equal(evaluation.head().confusion, expected)
    seen = []
    predict_tiles = predictor_module.predict_tiles

    def spy(predict, image, tile, overlap):
        seen.append((tile, overlap))
        return predict_tiles(predict, image, tile, overlap)

    monkeypatch.setattr(predictor_module, "predict_tiles", spy)
    tiled = Predictor([first, second], InferenceSettings(tile=512, overlap=128))
    settings = evaluate(tiled, Images(), "val").settings
    assert (settings.tile, settings.overlap) == (512, 128)
    assert seen == [(512, 128)] * 3


def test_an_image_that_cannot_be_read_ends_the_evaluation():
    class Broken(Images):
        def read(self, example):
            if example.index == 1:
                raise ValueError("1.png: can't be read")
            return super().read(example)

    with pytest.raises(ValueError, match="1.png: can't be read"):
        evaluate(Predictor(RedModel()), Broken(), "val")


@pytest.mark.parametrize("around", ["void", "boundary"])
def test_trimap_curves_are_of_all_images_together(around):
    evaluator = Evaluator(Images(), [Trimap(CLASSES, around, width=3)])
    unary, final = evaluator.run(Predictor(RedModel(), heads="all"), "val").heads
    pairs = [Images().read(e) for e in Images.splits["val"]]
    total = sum(
        metrics.trimap_confusions(labels, red_where_red(image), 3, 7, around, 3)
        for image, labels in pairs
    )
    assert final.trimap.around == around
    assert final.trimap.widths == [1, 2, 3]
    assert final.trimap.miou == pytest.approx([metrics.mean_iou(c) for c in total])
    assert final.trimap.accuracy == pytest.approx([metrics.pixel_accuracy(c) for c in total])
    assert unary.trimap != final.trimap


def test_the_widest_band_of_a_trimap_has_40_pixels():
    settings = MetricSettings(trimap="boundary")
    trimap = evaluate(Predictor(RedModel()), Images(), "val", settings).head().trimap
    assert trimap.widths == list(range(1, 41)) and len(trimap.miou) == 40


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="'empty' of images has no images"):
        evaluate(Predictor(RedModel()), Images(), "empty")
    with pytest.raises(ValueError, match="`split`.*'test'"):
        evaluate(Predictor(RedModel()), Images(), "test")
    with pytest.raises(ValueError, match="3 classes, but the network predicts 5"):
        evaluate(Predictor(RedModel(5)), Images(), "val")
    with pytest.raises(ValueError, match="a dataset of clips, which images is not"):
        evaluate(Predictor(RedModel()), Images(), "val", CONSISTENCY)


@pytest.fixture(scope="module")
def moving():
    return MovingScenesDataset({"val": 2}, size=(48, 64), frames=3)


def expected_consistency(labels_of, dataset):
    total = 0
    for sequence in dataset.sequences["val"]:
        for a, b in itertools.pairwise(sequence):
            links = dataset.flow(a, b), dataset.flow(b, a)
            pair = labels_of(a), labels_of(b), *links, dataset.classes.num_classes
            total = total + metrics.temporal_confusion(*pair)
    return total


def test_videos_with_a_model_for_images(moving):
    predictor = Predictor(RedModel(moving.classes.num_classes), heads="all")
    evaluation = evaluate(predictor, moving, "val", CONSISTENCY)
    one_by_one = evaluate(predictor, moving, "val")
    expected = expected_consistency(
        lambda example: red_where_red(moving.read_frame(example)), moving
    )
    for head, alone in zip(evaluation.heads, one_by_one.heads, strict=True):
        assert head.confusion == alone.confusion and alone.consistency is None
    unary, final = (head.consistency for head in evaluation.heads)
    assert unary.miou == 1 and unary.pixels == expected.sum()  # the same everywhere
    assert final.miou == pytest.approx(metrics.scores(expected)["miou"])
    assert evaluation.num_images == 6


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("linking", ["flow", "static"])
def test_a_model_for_clips(moving, linking):
    model = SpatialTemporalDPN(
        moving.classes.num_classes,
        linking=linking,
        width=0.04,
        backbone="large_fov",
        local_conv={"window": 3},
        pairwise_stride=4,
    )
    labels = {}
    for example in moving.examples("val"):
        clip = moving.read_clip(example, 3)
        inputs = clip.frames[None]
        if linking == "flow":
            flows = {"forward_flow": clip.forward_flow, "backward_flow": clip.backward_flow}
            inputs = {"frames": inputs} | {name: flow[None] for name, flow in flows.items()}
        labels[example] = np.argmax(model.predict_on_batch(inputs)[0], axis=-1)
    head = evaluate(Predictor(model), moving, "val").head()
    expected = expected_consistency(labels.get, moving)
    assert head.consistency.miou == pytest.approx(metrics.scores(expected)["miou"])
    truth = np.concatenate([moving.read(example)[1].ravel() for example in labels])
    predicted = np.concatenate([frame.ravel() for frame in labels.values()])
    np.testing.assert_array_equal(
        head.confusion, confusion_matrix(truth, predicted, labels=range(11))
    )


@pytest.mark.parametrize(
    ("count", "settings"),
    [(1, {"scales": (0.5, 1.0)}), (1, {"horizontal_flip": True}), (2, {}), (1, {"tile": 512})],
)
def test_videos_in_several_views(moving, count, settings):
    models = [RedModel(moving.classes.num_classes) for _ in range(count)]
    if count > 1:
        models[1].set_weights([-w for w in models[1].get_weights()])
    predictor = Predictor(models, InferenceSettings(**settings))
    evaluation = evaluate(predictor, moving, "val", CONSISTENCY)
    head, alone = evaluation.head(), evaluate(predictor, moving, "val").head()
    assert head.confusion == alone.confusion
    expected = expected_consistency(lambda e: predictor.labels(moving.read_frame(e)), moving)
    assert head.consistency.miou == pytest.approx(metrics.scores(expected)["miou"])
    assert evaluation.num_models == count
    assert evaluation.settings == InferenceSettings(**settings)
