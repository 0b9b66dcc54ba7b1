import io

import numpy as np
from PIL import Image

from keras_dpn import viz


def test_image_png_round_trip():
    image = np.arange(2 * 3 * 3, dtype="float32").reshape(2, 3, 3) * 20
    read = np.asarray(Image.open(io.BytesIO(viz.image_png(image))))
    np.testing.assert_array_equal(read, np.clip(image, 0, 255).astype("uint8"))
