import json

import numpy as np
import pytest

from keras_dpn.classes import Classes
from tests.keras_dpn.io.samples import save
from training.data.io.class_files import read_classes_json
from training.data.io.images import LabelError, read_label

COLORS = [[0, 0, 0], [200, 0, 0]]
MASK = np.array([[0, 255, 255], [0, 0, 255]], "uint8")
CLASSES = Classes(("road", "car"), ((0, 0, 0), (200, 0, 0)))


def read(tmp_path, **data):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps({"names": ["road", "car"], "colors": COLORS} | data))
    return read_classes_json(path)


def test_numbers_are_labels_by_default(tmp_path):
    assert read(tmp_path) == (CLASSES, None)
    assert read(tmp_path, ignore=7).classes.ignore == 7


def test_any_number_may_be_ignored(tmp_path):
    classes, values = read(tmp_path, ignore=0)
    assert classes == CLASSES and values == {0: 255, 1: 0, 2: 1}
    path = save(tmp_path, np.array([[0, 1, 2]], "uint8"))
    np.testing.assert_array_equal(read_label(path, classes, values), [[255, 0, 1]])
    assert read(tmp_path, ignore=1).values == {0: 0, 1: 255, 2: 1}
    with pytest.raises(LabelError, match="value 2 at x=2, y=0; expected 0..1, 3"):
        read_label(path, classes, {0: 255, 1: 0, 3: 1})


def test_values(tmp_path):
    expected = {0: 0, 255: 1}
    assert read(tmp_path, values={"0": "road", "255": "car"}).values == expected
    assert read(tmp_path, values={"0": 0, "255": 1}, ignore=255).values == expected
    values = read(tmp_path, values={"0": "road", "9": "car", "65535": None}).values
    assert values == {0: 0, 9: 1, 65535: 255, 255: 255}
    assert read(tmp_path, values={"1": "road", "2": "car"}, ignore=0).values == {0: 255, 1: 0, 2: 1}
    assert read(tmp_path, values={"1": "road", "2": "car"}, ignore=999).values[999] == 255


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_masks_of_two_classes_are_never_ignored_without_a_word(tmp_path, mode):
    path = save(tmp_path, MASK, mode=mode)
    with pytest.raises(LabelError, match="x.png: its only values are 0 and 255.*classes.json"):
        read_label(path, CLASSES)
    for name, label in (("car", 1), (None, 255)):
        values = {"0": "road", "255": name} | ({"1": "car"} if name is None else {})
        classes, numbers = read(tmp_path, values=values)
        np.testing.assert_array_equal(read_label(path, classes, numbers), MASK // 255 * label)


def test_masks_of_one_bit_are_those_of_eight(tmp_path):
    """Programs that make PNGs smaller store 0 and 255 in one bit."""
    path = save(tmp_path, MASK, mode="1")
    np.testing.assert_array_equal(read_label(path, CLASSES), MASK // 255)
    for values in ({0: 0, 255: 1}, {0: 0, 1: 1}):
        np.testing.assert_array_equal(read_label(path, CLASSES, values), MASK // 255)


def test_black_and_white_are_classes_if_they_have_these_colours(tmp_path):
    classes = Classes(("road", "car"), ((0, 0, 0), (255, 255, 255)))
    np.testing.assert_array_equal(read_label(save(tmp_path, MASK, mode="RGB"), classes), MASK > 0)


def test_palettes_and_other_classes_beside_ignored_pixels_pass(tmp_path):
    np.testing.assert_array_equal(read_label(save(tmp_path, MASK, mode="P"), CLASSES), MASK)
    other = np.where(MASK == 0, 1, MASK).astype("uint8")
    np.testing.assert_array_equal(read_label(save(tmp_path, other), CLASSES), other)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"values": {"0": "road", "1": "bus"}}, "1 is 'bus'; expected one of road, car, or null"),
        ({"values": {"0": "road", "1": 2}}, "1 is 2"),
        ({"values": {"0": "road", "1": True}}, "1 is True"),
        ({"values": {"0": "road", "1": [1]}}, "1 is "),
        ({"values": {"0": "road"}}, "no number is 'car'"),
        ({"values": {"-1": "road"}}, "expected numbers 0..65535"),
        ({"values": {"x": "road"}}, "expected numbers 0..65535"),
        ({"values": [0, 1]}, "for each number"),
        ({"values": {"0": "car", "255": "road"}}, "contradict each other"),
        ({"ignore": -1}, "`ignore`"),
        ({"ignore": True}, "`ignore`"),
        ({"colors": [[1, 2, 3], [1, 2, 3]]}, "road and car have the same colour"),
    ],
)
def test_broken_files(tmp_path, data, words):
    with pytest.raises(ValueError, match=f"classes.json: .*{words}"):
        read(tmp_path, **data)
