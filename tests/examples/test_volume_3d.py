import numpy as np
import pytest
from scipy import ndimage

from examples import volume_3d
from examples.volume_3d import (
    LIVER,
    SPACING,
    SPLEEN,
    VESSEL,
    build_models,
    main,
    make_volumes,
    run_example,
    train,
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(volume_3d, "SIZE", (4, 12, 12))


def test_volumes_and_labels():
    volumes, labels = make_volumes(8, seed=0)
    assert (volumes.shape, volumes.dtype) == ((8, 10, 32, 32, 1), np.float32)
    assert (labels.shape, labels.dtype) == ((8, 10, 32, 32), np.uint8)
    for organ in (LIVER, SPLEEN, VESSEL):
        assert (labels == organ).mean() > 0.005
    again, other = (make_volumes(8, seed)[0] for seed in (0, 1))
    np.testing.assert_array_equal(volumes, again)
    assert (volumes != other).all()


def test_organs_are_as_long_in_millimetres_along_each_axis():
    lengths = []
    for labels in make_volumes(30, seed=0)[1]:
        for box in ndimage.find_objects(ndimage.label(labels == SPLEEN)[0]):
            lengths.append(
                [(axis.stop - axis.start) * mm for axis, mm in zip(box, SPACING, strict=True)]
            )
    z, y, x = np.mean(lengths, axis=0)
    assert 0.8 < z / x < 1.25 and 0.8 < y / x < 1.25


def test_training_moves_the_field_and_nothing_else(small, eager):
    models = build_models(mixtures=2)
    before = {w.path: np.array(w) for w in models["field"].trainable_weights}
    train(models, steps=1, seed=0)
    field = {w.path: np.array(w) for w in models["field"].trainable_weights}
    assert {path.split("/")[0] for path in field} == {"b12", "b13"}  # the unary term is frozen
    for path, weight in field.items():
        assert np.abs(weight - before[path]).max() > 0, path
    assert models["field"].get_layer("b12").spacing == SPACING
    volumes, _ = make_volumes(1, seed=1)
    for model in models.values():
        assert np.isfinite(model.predict_on_batch(volumes)).all()


def test_the_scores_are_printed(small, monkeypatch, capsys):
    monkeypatch.setattr(volume_3d, "train", lambda *_: None)
    main(steps=1)
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in printed] == ["unary", "field"]
    assert all(0 < float(line[-1]) < 100 for line in printed)


def test_steps_are_positive():
    with pytest.raises(ValueError, match="`steps`"):
        run_example(steps=0)
