"""From a run to a preset and from there to labels, with the commands."""

import json
import shutil

import keras
import numpy as np
import pytest

from keras_dpn import Segmenter, models
from keras_dpn.presets.files import read_metadata
from keras_dpn.probabilities import to_labels
from training.cli import main
from training.export import preset
from training.rundir import dataset


@pytest.fixture(scope="module")
def made(finished_run, small_scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("preset")
    (folder / "notes.md").write_text("## What it is bad at\n\nEverything: it was never trained.\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "run_dataset", lambda *args: small_scenes)
        options = ["--description", "Generated scenes", "--size", "48"]
        options += ["--notes", str(folder / "notes.md"), "--out", str(folder / "tiny")]
        assert main(["preset", str(finished_run), *options]) == 0
    return folder / "tiny"


def test_scores_are_those_of_what_is_stored(made, small_scenes):
    metadata = read_metadata(made)
    assert metadata["weights_dtype"] == "float16" and metadata["size"] == 48
    segmenter = Segmenter.from_preset(made)
    confidences, right = [], []
    for example in small_scenes.examples("val"):
        image, labels = small_scenes.read(example)
        result = segmenter(image)
        confidences.append(result.confidence)
        right.append((result.labels == labels)[labels != 255])
    assert metadata["lowest_confidence"] == pytest.approx(min(confidences), rel=1e-5)
    card = (made / "README.md").read_text()
    accuracy = 100 * np.concatenate([x.ravel() for x in right]).mean()
    row = next(line for line in card.splitlines() if line.startswith("| pixel accuracy |"))
    assert row.split(" | ")[-1] == f"{accuracy:.1f} |"
    assert "| | unary | triple | contexts | final |" in card
    assert f"{metadata['miou']:.1f}" in card
    assert "Everything: it was never trained." in card
    assert "Dataset scenes, seed 0" in card and "| IoU, grass |" in card


def test_a_directory_that_holds_something_is_refused(
    made, finished_run, small_scenes, monkeypatch, capsys
):
    monkeypatch.setattr(dataset, "run_dataset", lambda *args: small_scenes)
    monkeypatch.delattr(preset, "evaluate")  # it takes hours
    options = ["--out", str(made), "--description", "x"]
    assert main(["preset", str(finished_run), *options]) == 2
    assert "expected a new or an empty directory" in capsys.readouterr().err


def test_a_preset_is_exported(made, small_scenes, tmp_path):
    assert main(["export", "--model", str(made), "--out", str(tmp_path / "served")]) == 0
    facts = json.loads((tmp_path / "served/1/model.json").read_text())
    assert facts["preset"]["description"] == "Generated scenes"
    image, _ = small_scenes.read(small_scenes.examples("val")[0])
    import tensorflow as tf

    served = tf.saved_model.load(tmp_path / "served/1").signatures["image"]
    labels = served(image=image[None])["labels"][0].numpy()
    network = models.from_preset(made)
    expected = to_labels(network.predict_on_batch(image[None])[0])
    assert (labels == expected).mean() > 0.999


def test_training_begins_from_a_preset(made, tmp_path):
    from training.engine.networks import ADAPTERS

    network = models.DPN.from_preset(made, load_weights=False)
    line = ADAPTERS["DPN"].load_weights(network, str(made))
    assert "left ()" in line
    clips = models.SpatialTemporalDPN.from_dpn(network, linking="static")
    fresh = models.SpatialTemporalDPN(
        **{k: v for k, v in clips.get_config().items() if k != "name"}
    )
    line = ADAPTERS["SpatialTemporalDPN"].load_weights(fresh, str(made))
    assert "started from a network for images" in line
    trained = models.from_preset(made)
    for model in (network, fresh):
        np.testing.assert_array_equal(
            model.get_layer("b9").get_weights()[0], trained.get_layer("b9").get_weights()[0]
        )


def test_keras_alone_reads_it(made, tmp_path):
    shutil.copytree(made, tmp_path / "copy")
    assert isinstance(keras.saving.load_model(tmp_path / "copy"), models.DPN)
