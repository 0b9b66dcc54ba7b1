import json

import pytest

from keras_dpn.classes import Classes

COLORS = ((0, 0, 0), (255, 0, 0))


def test_json_round_trip():
    classes = Classes(("sky", "road"), COLORS, ignore=11)
    assert Classes.from_json(json.loads(json.dumps(classes.to_json()))) == classes


def test_ignore_may_be_left_out():
    assert Classes.from_json({"names": ["a"], "colors": [[1, 2, 3]]}).ignore == 255


@pytest.mark.parametrize(
    ("names", "colors", "ignore", "message"),
    [
        ((), (), 255, "1 to 255 classes"),
        (("a", "a"), COLORS, 255, "different names"),
        (("a", ""), COLORS, 255, "non-empty"),
        (("a",), COLORS, 255, "expected 1, one for each name"),
        (("a", "b"), ((0, 0, 0), (0, 0, 256)), 255, "0..255"),
        (("a", "b"), ((0, 0, 0), (0, 0)), 255, "three integers"),
        (("a", "b"), ((0, 0, 0), (0, 0, 0)), 255, "same colour"),
        (("a", "b"), COLORS, 1, "from 2"),
        (("a", "b"), COLORS, 256, "to 255"),
        (("a", "b"), COLORS, None, "`ignore`"),
    ],
)
def test_invalid_classes(names, colors, ignore, message):
    with pytest.raises(ValueError, match=message):
        Classes(names, colors, ignore)


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        {"names": ["a"]},
        {"names": ["a"], "colors": [[0, 0, 0]], "colours": []},
        {"names": "ab", "colors": [[0, 0, 0]]},
        {"names": ["a"], "colors": [0]},
    ],
)
def test_invalid_json(data):
    with pytest.raises(ValueError, match="[Ee]xpected"):
        Classes.from_json(data)
