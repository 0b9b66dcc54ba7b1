import keras
import numpy as np
import pytest

from training.engine.checkpoints import Checkpoints


def net():
    model = keras.Sequential([keras.layers.Dense(2)])
    model.build((None, 3))
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return model, optimizer


def test_what_is_saved_comes_back(tmp_path):
    model, optimizer = net()
    optimizer.apply([keras.ops.ones(w.shape) for w in model.trainable_variables])
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, optimizer, {"epoch": 3})
    other, its_optimizer = net()
    checkpoints.restore_model(other)
    checkpoints.restore_optimizer(its_optimizer)
    for a, b in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(optimizer.variables, its_optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert checkpoints.state() == {"epoch": 3}


def test_random_layers_carry_on_where_they_were(tmp_path):
    def drop():
        return keras.Sequential([keras.Input((50,)), keras.layers.Dropout(0.5, seed=1)])

    model, other, x = drop(), drop(), np.ones((1, 50), "float32")
    model(x, training=True)
    Checkpoints(tmp_path).save(model, None, {})
    Checkpoints(tmp_path).restore_model(other)
    np.testing.assert_array_equal(model(x, training=True), other(x, training=True))


def test_a_state_can_be_replaced(tmp_path):
    model, optimizer = net()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, optimizer, {"epoch": 3, "retries": 0})
    path = checkpoints.latest()
    files = {file.name: file.read_bytes() for file in path.iterdir() if file.suffix != ".json"}
    checkpoints.replace_state({"epoch": 3, "retries": 1})
    assert checkpoints.state() == {"epoch": 3, "retries": 1}
    assert checkpoints.latest() == path and len(list(path.iterdir())) == len(files) + 1
    assert all((path / name).read_bytes() == content for name, content in files.items())


def test_the_newest_replaces_the_one_before(tmp_path):
    model, _ = net()
    checkpoints = Checkpoints(tmp_path)
    for epoch in range(12):
        checkpoints.save(model, None, {"epoch": epoch})
    assert checkpoints.state() == {"epoch": 11}
    assert [path.name for path in tmp_path.iterdir()] == ["000012"]


def test_directories_of_others_stay(tmp_path):
    model, _ = net()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/000000").symlink_to(elsewhere)
    (tmp_path / "checkpoints/best so far").mkdir()
    Checkpoints(tmp_path / "checkpoints").save(model, None, {"epoch": 1})
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["000000", "000001", "best so far"] and elsewhere.is_dir()


def test_a_full_disk_costs_no_earlier_checkpoint(tmp_path, monkeypatch):
    model, _ = net()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, None, {"epoch": 1})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model, "save_weights", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(model, None, {"epoch": 2})
    assert checkpoints.state() == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]


def test_a_half_written_checkpoint_is_not_seen(tmp_path):
    model, _ = net()
    for name in (".0a1b.000001", "partial"):  # of a killed process, today and in version 0.1
        (tmp_path / name).mkdir()
    assert Checkpoints(tmp_path).latest() is None
    assert Checkpoints(tmp_path).state() is None
    Checkpoints(tmp_path).save(model, None, {"epoch": 1})
    assert Checkpoints(tmp_path).state() == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["000001"]


def test_an_optimizer_of_other_variables_is_refused(tmp_path):
    model, optimizer = net()
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(model, keras.optimizers.SGD(), {})
    with pytest.raises(ValueError, match="expected .* variables, received"):
        checkpoints.restore_optimizer(optimizer)
