import inspect
import subprocess
import sys

import pytest

import keras_dpn

# Arguments without a default, by name.
REQUIRED = {"window": 3, "block_size": 2, "relation": "above", "num_classes": 3, "rate": 0.5}
REQUIRED |= {"losses": [keras_dpn.losses.SegmentationDice()]}
CLASSES = [
    value
    for module in (keras_dpn.layers, keras_dpn.losses, keras_dpn.metrics)
    for value in vars(module).values()
    if isinstance(value, type) and value.__module__.startswith("keras_dpn.")
]


@pytest.mark.parametrize("name", keras_dpn.__all__)
def test_names_are_there(name):
    assert getattr(keras_dpn, name)


def test_what_reads_weights_predicts_and_draws_is_there():
    assert callable(keras_dpn.models.load_pretrained)
    assert callable(keras_dpn.inference.predict_probabilities)
    assert callable(keras_dpn.viz.colorize)


@pytest.mark.tensorflow_only  # a new process, which takes seconds to import either backend
def test_the_import_needs_no_library_for_pictures():
    """Keras looks for some of them itself, and goes on without."""
    code = """if True:
        import sys

        sys.modules |= dict.fromkeys(("PIL", "cv2", "matplotlib"))  # cannot be imported
        import keras_dpn

        print(*keras_dpn.__all__)
    """
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == keras_dpn.__all__


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_layers_losses_and_metrics_refuse_unknown_arguments(cls):
    parameters = inspect.signature(cls).parameters
    required = [name for name, p in parameters.items() if p.default is p.empty and name in REQUIRED]
    arguments = {name: REQUIRED[name] for name in required}
    assert cls(**arguments)
    with pytest.raises((TypeError, ValueError), match="unheard_of"):
        cls(**arguments, unheard_of=1)


def test_these_are_all_layers_losses_and_metrics():
    names = {cls.__name__ for cls in CLASSES}
    assert set(keras_dpn.layers.__all__) < names
    assert {"SegmentationCrossEntropy", "SegmentationScores"} < names
