import numpy as np
import pytest

from training.engine.symptoms import symptoms, symptoms_at_the_end

NAMES = ["sky", "road", "car", "pole"]
CONFUSION = np.diag([5, 5, 5, 5])


def rows(losses, miou=0.1):
    return [{"loss": loss, "miou": miou} for loss in losses]


@pytest.mark.parametrize(
    ("losses", "miou", "expected"),
    [
        ([1.39, 1.385, 1.38], 0.1, ["flat"]),
        ([1.39, 1.385, 1.38], 0.26, ["flat"]),  # 1/4 is what one class everywhere can reach
        ([1.39, 1.385, 1.38], 0.27, []),  # a stage that starts from trained weights
        ([1.39, 1.385], 0.1, []),  # too early
        ([1.39, 1.37, 1.36], 0.1, []),
        ([1.0, 0.5, 0.99], 0.1, []),
        ([1.0, 0.5, 1.0], 0.1, ["rising"]),
        ([1.0, 0.6, 1.1], 0.1, []),
        ([1.0, 3.0], 0.1, ["rising"]),
        ([2.0], 0.1, []),
        ([], 0.1, []),
    ],
)
def test_losses(losses, miou, expected):
    found = symptoms(rows(losses, miou), len(NAMES), "unary", 1e-3)
    assert [symptom.name for symptom in found] == expected


def test_a_class_that_is_never_predicted():
    confusion = np.array([[5, 0, 0, 0], [0, 5, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0]])
    (found,) = symptoms_at_the_end(5, confusion, NAMES, "joint")
    assert found.name == "unpredicted"
    assert "no validation pixel is predicted as car. " in found.message  # no pole to be found
    assert "--joint.loss.class-weight-power" in found.message
    assert not list(symptoms_at_the_end(4, confusion, NAMES, "joint"))
    assert not list(symptoms_at_the_end(5, CONFUSION, NAMES, "joint"))


def test_messages_name_rate_and_option():
    [flat] = symptoms(rows([1.0, 1.0, 1.0]), len(NAMES), "unary", 1e-9)
    assert "learning rate of 1e-09 may be far too low" in flat.message
    assert "Try ten times the --unary.learning-rate" in flat.message
    [rising] = symptoms(rows([1.0, 2.5]), len(NAMES), "joint", 0.5)
    assert rising.message.startswith("the loss rose from 1 to 2.5: the learning rate of 0.5 may be")
    assert rising.message.endswith("Try a tenth as --joint.learning-rate.")
