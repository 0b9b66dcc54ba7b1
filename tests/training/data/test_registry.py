import subprocess
import sys
from typing import get_args

import pytest

from training.configs.datasets import NAMES, ClipDatasetName, DatasetName, GeneratedName
from training.data.clips.base import ClipDataset
from training.data.registry import DATASETS, load_dataset


def test_every_name_has_a_reader():
    assert get_args(DatasetName) == NAMES
    assert sorted(DATASETS) == sorted(NAMES)
    assert {name for name, info in DATASETS.items() if info.is_generated} == {
        *get_args(GeneratedName)
    }


@pytest.mark.parametrize("name", [name for name in NAMES if name != "shards"])
def test_classes_have_the_names_and_clips_that_the_table_says(name):
    info = DATASETS[name]
    assert info.load_class().name == name
    has_clips = issubclass(info.load_class(), ClipDataset)
    assert has_clips == info.has_clips == (name in get_args(ClipDatasetName))


def test_names_and_table_import_nothing_heavy():
    """`--help` lists the names."""
    code = (
        "import sys; import training.data.registry; "
        "print({'tensorflow', 'keras', 'cv2', 'numpy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_load_dataset(folder):
    assert load_dataset("folder", folder).name == "folder"
    assert load_dataset("scenes", None, seed=4).seed == 4


def test_load_dataset_rejects():
    with pytest.raises(ValueError, match="'vco'"):
        load_dataset("vco", None)
    with pytest.raises(ValueError, match="--data-dir"):
        load_dataset("camvid", None)
