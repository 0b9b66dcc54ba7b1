"""Write a generated dataset as files.

    keras-dpn generate scenes --out DIR
    keras-dpn generate moving-scenes --out DIR --num-images 40

Scenes, context-scenes and houses are written in the layout of the dataset "folder", moving-scenes
in that of "clips", with exact optical flow. Training reads the generated datasets by their names,
without files; files serve as an example of the layouts, and for other programs.
"""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def main(
    dataset: Positional[Literal["scenes", "moving-scenes", "context-scenes", "houses"]],
    *,
    out: Path,
    num_images: int | None = None,
    seed: int = 0,
) -> None:
    """Write a generated dataset as files.

    Args:
        dataset: which one.
        out: directory to write; created if it doesn't exist.
        num_images: how many training images, by default 500, or for moving-scenes how many training
            sequences, by default 40; val and test get a quarter as many each.
        seed: which images; the same seed gives the same files.
    """
    from ..data.generated.writers import write_clips, write_dataset
    from ..data.registry import DATASETS

    info = DATASETS[dataset.replace("-", "_")]
    count = num_images if num_images is not None else 40 if info.has_clips else 500
    if count < 1:
        raise ValueError(
            f"Invalid value for argument `num_images`: expected 1 or more, received {count}."
        )
    quarter = -(-count // 4)
    data = info.load_class()({"train": count, "val": quarter, "test": quarter}, seed=seed)
    if info.has_clips:
        write_clips(data, out)
    else:
        write_dataset(data, out)
    unit = "sequences" if info.has_clips else "images"
    print(f"{out}: {count} training, {quarter} validation and {quarter} test {unit}")
