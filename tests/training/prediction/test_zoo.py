"""Every kind of image file gets the same labels by every way into the library."""

import base64
import io
import json
import urllib.request

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_dpn.classes import Classes
from keras_dpn.client import Client, ServingError
from keras_dpn.client.inputs import encoded
from keras_dpn.export import export
from keras_dpn.io.images import read_image
from keras_dpn.segmenter import Segmenter
from tests.keras_dpn.io import zoo
from tests.serving_peer import ServingPeer
from training.data.sets.folder import FolderDataset
from training.demo.inference import FilePredictor
from training.demo.served_model import ServedModel
from training.prediction.images import predict_images
from training.prediction.sources import find_sources

CLASSES = Classes(("dark", "mid", "light"), ((1, 2, 3), (90, 90, 90), (200, 200, 255)))


def network():
    """Each pixel's label depends on every bit of its colour."""
    weights = np.random.default_rng(0).normal(size=(1, 1, 3, 3)).astype("float32")
    weights -= weights.mean(axis=2, keepdims=True)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 1)])
    model.set_weights([weights, np.zeros(3, "float32")])
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The zoo as a dataset of files, which has only suffixes that are known or none."""
    folder = tmp_path_factory.mktemp("zoo")
    (folder / "images").mkdir()
    # Every second: tests/keras_dpn/export/test_images.py compares the pixels of all.
    served = dict([*zoo.served()][::2])
    for number, (name, data) in enumerate([*served.items(), *zoo.converted()]):
        kind = "served" if name in served else "converted"
        suffix = ("", ".dat", ".jpg", ".png")[number % 4]
        (folder / "images" / f"{number:03} {kind} {name.replace('/', ' ')}{suffix}").write_bytes(
            data
        )
    return folder


def write_dataset(folder):
    """Add label maps, a split and classes to the images."""
    names = sorted(path.name for path in (folder / "images").iterdir())
    for part in ("labels", "splits"):
        (folder / part).mkdir()
    (folder / "classes.json").write_text(json.dumps(CLASSES.to_json()))
    (folder / "splits/train.txt").write_text("\n".join(names))
    for name in names:
        height, width, _ = read_image(folder / "images" / name).shape
        stem = (folder / "labels" / name).with_suffix("")
        Image.new("L", (width, height)).save(stem.with_name(f"{stem.name}.png"))


def demo_labels(predictor, path):
    value = predictor.predict(path, lambda *_: None).value
    assert "maps" in value, value
    png = base64.b64decode(value["files"][0].rpartition(",")[2])
    return np.asarray(Image.open(io.BytesIO(png)))


def curl(address, data):
    """The labels that a REST request by hand gets."""
    row = {"image_bytes": {"b64": base64.b64encode(data).decode()}}
    body = json.dumps({"instances": [row]}).encode()
    with urllib.request.urlopen(f"{address}/v1/models/zoo:predict", body) as response:
        (answer,) = json.loads(response.read())["predictions"]
    height, width = answer["sizes"]
    return np.array(answer["labels"], "uint8")[:height, :width]


def test_all_ways_agree(files, tmp_path):
    model = network()
    directory = tmp_path / "zoo"
    path = export(model, directory, classes=CLASSES.to_json(), warmup=None, max_pixels=10_000)
    segmenter, served = Segmenter(model, CLASSES), ServedModel(path)
    write_dataset(files)
    dataset = FolderDataset(files)
    sources = find_sources([files / "images"], tmp_path / "out")
    assert predict_images(segmenter, sources.images, tmp_path / "out") == []
    examples = {example.image: example for example in dataset.splits["train"]}
    assert len(examples) == len(sources.images) > 60
    demo = FilePredictor(served, tmp_path / "demo", 10_000)
    with ServingPeer(directory, "zoo") as peer, Client(peer.grpc, "zoo") as client:
        for name, file in sources.images.items():
            labels = segmenter(file).labels
            expected = segmenter(read_image(file)).labels
            ways = {
                "file": labels,
                "predict": np.asarray(Image.open(tmp_path / f"out/labels/{name}.png")),
                "training": segmenter(dataset.read(examples[file])[0]).labels,
                "client": client.predict(file).labels,
                "client, bytes": client.predict(file.read_bytes()).labels,
                "demo": demo_labels(demo, file),
                "Pillow": segmenter(Image.open(file)).labels,
                "array": client.predict(read_image(file)).labels,
            }
            if " served " in file.name:
                ways["curl"] = curl(peer.rest, file.read_bytes())
            else:
                with pytest.raises(tf.errors.InvalidArgumentError):
                    served._loaded.signatures["serving_default"](tf.constant([file.read_bytes()]))
            for way, found in ways.items():
                np.testing.assert_array_equal(found, expected, err_msg=f"{way}: {file.name}")


def test_arrays_with_alpha_channel_are_composited_too(tmp_path):
    rgba = np.random.default_rng(0).integers(0, 256, (9, 7, 4), "uint8")
    Image.fromarray(rgba).save(tmp_path / "a.png")
    segmenter = Segmenter(network(), CLASSES)
    np.testing.assert_array_equal(segmenter(rgba).labels, segmenter(tmp_path / "a.png").labels)
    assert encoded(rgba)[1] == encoded(read_image(tmp_path / "a.png"))[1]


def test_what_no_way_reads_is_named(tmp_path, messages):
    """A HEIC, whose suffix nobody knows, is found and named; notes are named too."""
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.heic").write_bytes(heic)
    (tmp_path / "in/notes.txt").write_text("a note")
    Image.new("RGB", (4, 4)).save(tmp_path / "in/b.png")
    sources = find_sources([tmp_path / "in"], tmp_path / "out")
    assert "neither images nor videos" in messages() and "notes.txt" in messages()
    bad = predict_images(Segmenter(network(), CLASSES), sources.images, tmp_path / "out")
    assert [path.name for path in bad] == ["a.heic"]
    assert "a.heic: can't be read" in messages() and "HEIC file: convert it" in messages()
    with Client("http://localhost:1", "zoo", attempts=1) as client:
        with pytest.raises(ValueError, match="a.heic: .*HEIC"):
            client.predict(tmp_path / "in/a.heic")
        with pytest.raises(ServingError):
            client.predict(tmp_path / "in/b.png")
