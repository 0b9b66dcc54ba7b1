import base64
import io

import numpy as np
from PIL import Image

from keras_dpn import viz
from keras_dpn.classes import Classes
from training.reporting import media

CLASSES = Classes(("a", "b"), ((9, 9, 9), (200, 0, 0)), ignore=7)


def pixels(embedded):
    content = base64.b64decode(embedded.uri.split(",")[1])
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def test_narrow_photos_keep_every_pixel():
    image = np.random.default_rng(0).integers(0, 256, (2, 299, 3), dtype="uint8")
    embedded = media.photo(image, "x")
    assert (
        embedded.uri == f"data:image/png;base64,{base64.b64encode(viz.image_png(image)).decode()}"
    )
    np.testing.assert_array_equal(pixels(embedded), image)


def test_wide_images_are_downsampled():
    image = np.full((600, 1700, 3), 40, "uint8")
    photo = media.photo(image, "x")
    assert photo.uri.startswith("data:image/jpeg;base64,")
    labels = image[..., 0] * 0
    shown = (photo, media.label_map(labels, CLASSES, "y"), media.highlight(image, {}, "z"))
    assert {pixels(one).shape for one in shown} == {(200, 567, 3)}
    assert [one.alt for one in shown] == ["x", "y", "z"]


def test_label_maps_have_the_classes_colors():
    labels = np.array([[0, 1]], "uint8")
    assert pixels(media.label_map(labels, CLASSES, "x")).tolist() == [[[9, 9, 9], [200, 0, 0]]]


def test_highlights_are_in_color_on_gray():
    image = np.full((1, 3, 3), 55, "uint8")
    masks = {(1, 2, 3): np.array([[1, 0, 0]], bool), (4, 5, 6): np.array([[0, 0, 1]], bool)}
    shown = pixels(media.highlight(image, masks, "x"))
    assert shown[0].tolist() == [[1, 2, 3], [193, 193, 193], [4, 5, 6]]
