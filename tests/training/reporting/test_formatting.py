import pytest

from training.reporting import formatting


def test_unknown_values_are_dashes():
    assert formatting.percent(None) == formatting.points(None, 0.5) == "–"
    assert formatting.points(0.5, None) == "–"


def test_changes_have_signs():
    assert formatting.points(0.5, 0.4) == "+10.0"
    assert formatting.points(0.4, 0.5) == "−10.0"
    assert formatting.signed_points(-0.01234) == "−1.23"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (89, "89 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_duration(seconds, text):
    assert formatting.duration(seconds) == text
