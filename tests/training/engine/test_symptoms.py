import numpy as np
import pytest

from training.engine.symptoms import symptoms

NAMES = ["sky", "road", "car", "pole"]
CONFUSION = np.diag([5, 5, 5, 5])


def rows(losses, miou=0.1, validated=True):
    values = {"miou": miou, **({"val_miou": miou} if validated else {})}
    return [{"loss": loss, **values} for loss in losses]


def names(*args, confusion=CONFUSION):
    return [found.name for found in symptoms(*args, confusion, NAMES, "unary", 1e-3)]


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
    assert names(rows(losses, miou)) == expected


def test_a_class_that_is_never_predicted():
    confusion = np.array([[5, 0, 0, 0], [0, 5, 0, 0], [0, 3, 0, 0], [0, 0, 0, 0]])
    losses = [2.0, 1.5, 1.0, 0.8, 0.7]
    found = list(symptoms(rows(losses), confusion, NAMES, "joint", 1e-3))
    assert [symptom.name for symptom in found] == ["unpredicted"]
    message = found[0].message
    assert "after 5 validations no pixel is predicted as car. " in message  # no pole to be found
    assert "--joint.loss.class-weight-power" in message
    assert names(rows(losses[:4]), confusion=confusion) == []
    later = rows(losses) + rows([0.6], validated=False)  # the confusion is none of a validation
    assert names(later, confusion=confusion) == []
    assert names(rows(losses)) == []


def test_messages_name_rate_and_option():
    [flat] = symptoms(rows([1.0, 1.0, 1.0]), CONFUSION, NAMES, "unary", 1e-9)
    assert "learning rate of 1e-09 may be far too low" in flat.message
    assert "Try ten times the --unary.learning-rate" in flat.message
    [rising] = symptoms(rows([1.0, 2.5]), CONFUSION, NAMES, "joint", 0.5)
    assert rising.message.startswith("the loss rose from 1 to 2.5: the learning rate of 0.5 may be")
    assert rising.message.endswith("Try a tenth as --joint.learning-rate.")
