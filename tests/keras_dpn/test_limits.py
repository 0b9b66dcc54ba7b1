import pytest

from keras_dpn.limits import MAX_PIXELS, fits, size_error


@pytest.mark.parametrize(
    ("size", "max_pixels", "expected"),
    [
        ((100, 100), 10_000, True),
        ((100, 101), 10_000, False),
        ((1, 1), 1, True),
        ((1, 1024), 1024, True),  # 64 x 1024 is small
        ((1, 1025), 1025, False),
        ((1, 65_536), 2**22, True),
        ((65_536, 1), 2**22, True),
        ((1, 65_537), 2**22, False),
        ((64, 65_536), 2**22, True),
        ((2**31, 2**31), MAX_PIXELS, False),
    ],
)
def test_pixels_are_counted_with_sides_of_at_least_64(size, max_pixels, expected):
    assert fits(*size, max_pixels) == expected
    assert (size_error(*size, max_pixels) is None) == expected


def test_the_message_says_what_counts():
    assert size_error(200, 100, 10_000) == (
        "100 x 200 pixels are too many; at most 0.01 million are allowed, see `max_pixels`."
    )
    assert "(sides below 64 count as 64)" in size_error(1, 100_000, 2**20)
