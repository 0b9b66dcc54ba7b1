"""Which published data set a directory looks like, for messages."""

from pathlib import Path

# What tells each data set's directory from the others'.
_MARKS = {
    "voc": ("VOCdevkit/VOC2012", "VOC2012", "ImageSets/Segmentation"),
    "pascal_context": ("VOCdevkit/VOC2010", "VOC2010"),
    "cityscapes": ("leftImg8bit", "gtFine"),
    "camvid": ("trainannot", "valannot", "701_StillsRaw_full", "LabeledApproved_full"),
    "sift_flow": ("SemanticLabels", "TestSet1.txt"),
    "coco": ("annotations/instances_train2017.json", "annotations/instances_val2017.json"),
    "coco_panoptic": ("annotations/panoptic_train2017.json", "annotations/panoptic_val2017.json"),
    "clips": ("clips",),
    "folder": ("classes.json",),
}


def hint(data_dir: Path, name: str) -> str:
    """A sentence for the end of a message: which other data set the directory looks like.

    Args:
        data_dir: the directory.
        name: the data set that it was said to be.

    Returns:
        The sentence after a space; nothing where the directory looks like that data set or like
        none.
    """
    if not data_dir.is_dir():
        return f" {data_dir}: no such directory."
    found = {
        other: next((mark for mark in marks if (data_dir / mark).exists()), None)
        for other, marks in _MARKS.items()
    }
    alike = [other for other, mark in found.items() if mark]
    if not alike or name in alike:
        return ""
    return f" {data_dir} has {found[alike[0]]}: it looks like the data set {alike[0]!r}."
