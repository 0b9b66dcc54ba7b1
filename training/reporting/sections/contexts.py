"""The section of what a network has learned about label contexts."""

import numpy as np
from markupsafe import Markup

from keras_dpn import viz

from .. import media
from ..context import ReportContext
from ..images import model_inputs
from ..rendering import render


class LabelContexts:
    """Which label a network expects where around which, in each frame that it looks at."""

    def applies(self, context: ReportContext) -> bool:
        return context.model.context_kernels() is not None

    def render(self, context: ReportContext) -> Markup:
        model, names = context.model, context.dataset.classes.names
        sign = model.triple_penalty_sign(model_inputs(model, context.samples[0]))
        kernels = model.context_kernels() * (sign or 1)
        mixtures = kernels.shape[-1] // len(names)
        maps = np.stack([viz.context_maps(kernel, mixtures) for kernel in kernels])
        matrices = [viz.compatibility_matrix(kernel, mixtures) for kernel in kernels]
        compatibility = viz.plot_compatibility(np.stack(matrices), names)
        return render(
            "contexts",
            is_ambiguous=sign == 0,
            has_frames=model.clip_frames is not None,
            plots=[
                media.plot(viz.plot_contexts(maps, names), "the strongest contexts"),
                media.plot(compatibility, "label compatibilities"),
            ],
        )
