import pytest
import tensorflow as tf


@pytest.fixture
def eager():
    """Runs training step by step: to compile a network for one step takes longer."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
