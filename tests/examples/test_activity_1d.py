import numpy as np
import pytest

from examples import activity_1d
from examples.activity_1d import LIFT, LOWER, NEXT, build_models, make_signals, run_example, train


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(activity_1d, "STEPS", 32)


def test_activities_follow_each_other_as_they_may():
    signals, labels = make_signals(4, seed=0)
    assert (signals.shape, signals.dtype) == ((4, 512, 6), np.float32)
    assert (labels.shape, labels.dtype) == ((4, 512), np.uint8)
    for row in labels.astype(int):
        changes = {(a, b) for a, b in zip(row, row[1:], strict=False) if a != b}
        assert changes <= {(a, b) for a, following in NEXT.items() for b in following}


def test_lifting_and_lowering_look_the_same():
    signals, labels = make_signals(60, seed=0)
    np.testing.assert_allclose(
        signals[labels == LIFT].mean(axis=0), signals[labels == LOWER].mean(axis=0), atol=0.15
    )


def test_signals_depend_on_the_seed():
    first, again, other = (make_signals(1, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_training_moves_the_fields_and_nothing_else(short, eager):
    models = build_models(window=3, contexts=5, mixtures=2)
    train({"unary": models["unary"]}, steps=1, seed=0)
    unary = [np.array(w) for w in models["unary"].weights]
    fields = {name: models[name] for name in ("crf", "contexts")}
    before = {n: [np.array(w) for w in m.trainable_weights] for n, m in fields.items()}
    train(fields, steps=1, seed=0)
    for name, model in fields.items():
        assert before[name]
        for old, new in zip(before[name], model.trainable_weights, strict=True):
            assert np.abs(old - np.array(new)).max() > 0, new.path
    for old, new in zip(unary, models["unary"].weights, strict=True):
        np.testing.assert_array_equal(old, np.array(new))
    signals, _ = make_signals(2, seed=1)
    for model in models.values():
        assert np.isfinite(model.predict_on_batch(signals)).all()


def test_steps_are_positive():
    with pytest.raises(ValueError, match="`steps`"):
        run_example(steps=0)
