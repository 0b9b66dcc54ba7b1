"""All networks side by side: on CamVid, and for images and clips on moving scenes.

    keras-dpn ablate networks_camvid --work-dir DIR --data-dir CAMVID --weights FILE
    keras-dpn ablate networks_moving_scenes --work-dir DIR --seeds 0 1 2

Successive frames of a video are similar: `--block-size` resamples that many of them together (15 of
CamVid's validation frames are a second, 6 moving scenes a sequence).
"""

from ...configs.recipes import RECIPES
from .base import Row, Sweep


def _dpn(dataset: str) -> tuple[Row, ...]:
    images, linked = RECIPES[f"dpn/{dataset}"], RECIPES[f"dpn-video/{dataset}"]
    static = RECIPES[f"dpn-video/{dataset}/static"]
    return (
        Row("unary", images, "unary", title="unary term (LargeFOV)"),
        Row("triple", images, "triple", title="DPN: + triple penalty"),
        Row("contexts", images, "contexts", title="+ label contexts"),
        Row("joint", images, "joint", title="+ joint tuning"),
        Row("static", static, start="unary", title="spatial-temporal DPN, same position"),
        Row("linked", linked, start="unary", title="spatial-temporal DPN, linked by flow"),
    )


SWEEPS = {
    "networks_camvid": Sweep(
        "All networks on CamVid",
        (
            *_dpn("camvid"),
            Row("deeplab", RECIPES["deeplab/camvid"], title="DeepLab-LargeFOV"),
            Row(
                "deeplab_crf",
                RECIPES["deeplab/camvid/crf"],
                title="DeepLab-LargeFOV with a CRF, trained together",
            ),
            Row("parsenet", RECIPES["parsenet/camvid"], title="ParseNet, late fusion"),
            Row("fcn", RECIPES["fcn/camvid"], title="FCN with five skip connections"),
            Row("piecewise", RECIPES["piecewise/camvid"], title="PiecewiseCRF"),
        ),
        reference="unary",
        consistency=True,
    ),
    "networks_moving_scenes": Sweep(
        "DPN on moving scenes: images and clips",
        _dpn("moving-scenes"),
        reference="joint",
        consistency=True,
    ),
}
