"""All networks side by side: on CamVid, and for pictures and clips on moving scenes.

    python -m training.ablate networks_camvid --work-dir DIR --data-dir CAMVID --weights FILE
    python -m training.ablate networks_moving_scenes --work-dir DIR --seeds 0 1 2

Frames of a film are alike: `--block` draws as many successive ones together as are (15 of CamVid's
validation frames are a second, 6 moving scenes a sequence).
"""

from ...configs.networks import DPNTrainConfig, SpatialTemporalDPNTrainConfig
from ...configs.recipes.camvid import RECIPES as _CAMVID
from ...configs.recipes.deeplab import RECIPES as _DEEPLAB
from ...configs.recipes.fcn import RECIPES as _FCN
from ...configs.recipes.moving_scenes import RECIPES as _MOVING
from ...configs.recipes.parsenet import RECIPES as _PARSENET
from ...configs.recipes.piecewise import RECIPES as _PIECEWISE
from .base import Row, Sweep


def _dpn(
    pictures: DPNTrainConfig,
    static: SpatialTemporalDPNTrainConfig,
    linked: SpatialTemporalDPNTrainConfig,
) -> tuple[Row, ...]:
    return (
        Row("unary", pictures, "unary", title="unary term (LargeFOV)"),
        Row("triple", pictures, "triple", title="DPN: + triple penalty"),
        Row("contexts", pictures, "contexts", title="+ label contexts"),
        Row("joint", pictures, "joint", title="+ joint tuning"),
        Row("static", static, start="unary", title="spatial-temporal DPN, same place"),
        Row("linked", linked, start="unary", title="spatial-temporal DPN, linked by flow"),
    )


SWEEPS = {
    "networks_camvid": Sweep(
        "All networks on CamVid",
        (
            *_dpn(_CAMVID["camvid"], _CAMVID["camvid_static"], _CAMVID["camvid_linked"]),
            Row("deeplab", _DEEPLAB["deeplab_camvid"], title="DeepLab-LargeFOV"),
            Row(
                "deeplab_crf",
                _DEEPLAB["deeplab_camvid_crf"],
                title="DeepLab-LargeFOV with a CRF, learnt together",
            ),
            Row("parsenet", _PARSENET["camvid_parsenet"], title="ParseNet, late fusion"),
            Row("fcn", _FCN["camvid_fcn"], title="FCN with five taps"),
            Row("piecewise", _PIECEWISE["camvid_piecewise"], title="PiecewiseCRF"),
        ),
        reference="unary",
        consistency=True,
    ),
    "networks_moving_scenes": Sweep(
        "DPN on moving scenes: pictures and clips",
        _dpn(
            _MOVING["moving_scenes"],
            _MOVING["moving_scenes_static"],
            _MOVING["moving_scenes_linked"],
        ),
        reference="joint",
        consistency=True,
    ),
}
