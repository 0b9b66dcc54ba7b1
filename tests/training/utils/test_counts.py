from training.utils.counts import counted


def test_one_is_singular():
    assert [counted(n, "image") for n in (0, 1, 2)] == ["0 images", "1 image", "2 images"]
