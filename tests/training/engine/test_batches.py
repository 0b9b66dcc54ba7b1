import numpy as np

from training.configs.networks import DPNTrainConfig
from training.configs.schema import Augmentation, DataConfig, StageConfig
from training.engine.batches import Batches


def test_an_epoch_has_whole_updates(small_scenes):
    """Of three pictures two make an update; what its steps see is what one step would see."""
    data = DataConfig(batch_size=1, augmentation=Augmentation(crop=(32, 48)))
    batches = Batches(DPNTrainConfig(data=data), small_scenes)
    small, large = StageConfig(epochs=2, accumulate=2), StageConfig(epochs=2, batch_size=2)
    assert [batches.steps_per_epoch(stage) for stage in (small, large)] == [2, 1]
    steps, updates = (list(batches.train(stage, 0, 0)) for stage in (small, large))
    assert [len(steps), len(updates)] == [4, 2]
    for i in (0, 1):
        seen = np.concatenate([step[i] for step in steps])
        np.testing.assert_array_equal(seen, np.concatenate([update[i] for update in updates]))
