"""Random augmentations of an image together with its labels, as TensorFlow functions.

Each takes an image, float32 (H, W, 3) in 0..255, its labels, int32 (H, W), and a seed: an integer
tensor of two. The same seed gives the same result on every device (Philox), inside tf.data and
outside. Keras's preprocessing layers are not used: they interpolate labels.

A clip is an image of more channels: those of its frames, then the `flow_channels` of its optical
flow. Flow moves with the frames, and its (dx, dy) change with their size and direction.
"""

import math

import tensorflow as tf

# The mean colour of ImageNet, RGB: VGG16's preprocessing maps it to 0, as the convolutions'
# padding; black would look like the edge of a dark object.
PAD_COLOR = (122.67892, 116.66877, 104.00699)

# Weights of red, green and blue in a pixel's grey (ITU-R BT.601, as Pillow and OpenCV).
LUMA = (0.299, 0.587, 0.114)


def random_scale(
    image: tf.Tensor,
    labels: tf.Tensor,
    scale: tuple[float, float],
    seed: tf.Tensor,
    flow_channels: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize by a factor drawn from `scale`: the image bilinearly, labels to the nearest.

    Args:
        image: float32 (H, W, C).
        labels: int32 (H, W).
        scale: smallest and largest factor, both inclusive.
        seed: two integers.
        flow_channels: how many of the last channels are flow.

    Returns:
        The resized image and labels, at least 1x1.
    """
    factor = _uniform(seed, *scale)
    size = tf.cast(tf.shape(labels), "float32") * factor
    size = tf.maximum(tf.cast(tf.round(size), "int32"), 1)
    return _resized(image, labels, size, flow_channels)


def resize(
    image: tf.Tensor, labels: tf.Tensor, size: tuple[int, int], flow_channels: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resize to (height, width): the image bilinearly, antialiased, labels to the nearest."""
    image, labels = _resized(image, labels, tf.constant(size), flow_channels, antialias=True)
    return tf.ensure_shape(image, (*size, None)), tf.ensure_shape(labels, size)


def _resized(
    image: tf.Tensor,
    labels: tf.Tensor,
    size: tf.Tensor,
    flow_channels: int,
    antialias: bool = False,
) -> tuple[tf.Tensor, tf.Tensor]:
    image = tf.image.resize(image, size, antialias=antialias)
    if flow_channels:
        factors = tf.cast(size, "float32") / tf.cast(tf.shape(labels), "float32")
        image = _scale_flow(image, factors[1], factors[0], flow_channels)
    labels = tf.image.resize(labels[..., None], size, method="nearest")[..., 0]
    return image, labels


def random_rotation(
    image: tf.Tensor,
    labels: tf.Tensor,
    degrees: float,
    ignore: int,
    seed: tf.Tensor,
    flow_channels: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Rotate about the center: the image bilinearly, labels to the nearest; the size stays.

    What comes from outside of the image has `PAD_COLOR` and the label `ignore`.

    Args:
        image: float32 (H, W, C).
        labels: int32 (H, W).
        degrees: largest angle, in either direction.
        ignore: the label of what comes from outside.
        seed: two integers.
        flow_channels: how many of the last channels are flow.
    """
    angle = _uniform(seed, -degrees, degrees) * (math.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    size = tf.cast(tf.shape(labels), "float32")
    y, x = (size[0] - 1) / 2, (size[1] - 1) / 2
    # From a pixel of the result, (column, row), to its origin.
    transform = [cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y, 0.0, 0.0]
    if flow_channels:
        image = _rotate_flow(image, cos, sin, flow_channels)
    color = _pad_color(image.shape[-1], flow_channels)
    rotated = _projected(image - color, transform, "BILINEAR", 0) + color
    labels = _projected(labels[..., None], transform, "NEAREST", ignore)[..., 0]
    return tf.ensure_shape(rotated, image.shape), labels


def random_crop(
    image: tf.Tensor, labels: tf.Tensor, crop: tuple[int, int], seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Cut out a window of `crop` (height, width), or the whole side if that is shorter."""
    shape = tf.shape(labels)
    size = tf.minimum(shape, crop)
    start = _offset(seed, shape - size)
    channels = image.shape[-1]
    image = tf.slice(image, tf.concat([start, [0]], 0), tf.concat([size, [channels]], 0))
    return tf.ensure_shape(image, (None, None, channels)), tf.slice(labels, start, size)


def random_pad(
    image: tf.Tensor,
    labels: tf.Tensor,
    crop: tuple[int, int],
    ignore: int,
    seed: tf.Tensor,
    flow_channels: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pad to `crop` (height, width), the image in `PAD_COLOR` and the labels with `ignore`.

    The image is at a random position in it, so that a short side isn't always at the top.
    """
    missing = tf.maximum(crop - tf.shape(labels), 0)
    before = _offset(seed, missing)
    padding = tf.stack([before, missing - before], axis=1)  # (2, 2)
    labels = tf.pad(labels, padding, constant_values=ignore)
    # Pad values are one number for all channels: shift the colour to 0 meanwhile.
    channels = image.shape[-1]
    color = _pad_color(channels, flow_channels)
    image = tf.pad(image - color, tf.concat([padding, [[0, 0]]], 0)) + color
    return tf.ensure_shape(image, (*crop, channels)), tf.ensure_shape(labels, crop)


def random_horizontal_flip(
    image: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, flow_channels: int = 0
) -> tuple[tf.Tensor, tf.Tensor]:
    """Flip horizontally with a probability of 1/2."""
    is_flipped = _uniform(seed, 0.0, 1.0) < 0.5
    step = tf.where(is_flipped, -1, 1)
    if flow_channels:
        image = _scale_flow(image, tf.cast(step, "float32"), 1.0, flow_channels)
    return tf.ensure_shape(image[:, ::step], image.shape), labels[:, ::step]


def random_photometric(
    image: tf.Tensor, brightness: float, contrast: float, saturation: float, seed: tf.Tensor
) -> tf.Tensor:
    """Change brightness, contrast and saturation; the result stays in 0..255.

    Args:
        image: float32 (H, W, 3), 0..255.
        brightness: largest shift up or down, as a fraction of 255.
        contrast: the distance from the mean colour is multiplied by 1 - contrast .. 1 + contrast.
        saturation: the distance from each pixel's grey, by 1 - saturation .. 1 + saturation.
        seed: two integers.
    """
    seeds = split_seed(seed, 3)
    shift = 255.0 * _uniform(seeds[0], -brightness, brightness)
    contrast = _uniform(seeds[1], 1 - contrast, 1 + contrast)
    saturation = _uniform(seeds[2], 1 - saturation, 1 + saturation)
    mean = tf.reduce_mean(image, axis=(0, 1))
    # All at once, as pixel @ mix + offset, takes half the time of one after the other.
    grey = tf.tile(tf.constant(LUMA)[:, None], (1, 3))
    mix = saturation * tf.eye(3) + (1 - saturation) * grey
    offset = tf.linalg.matvec(mix, mean * (1 - contrast) + shift, transpose_a=True)
    pixels = tf.reshape(image, (-1, 3)) @ (contrast * mix) + offset
    return tf.reshape(tf.clip_by_value(pixels, 0.0, 255.0), tf.shape(image))


def random_blur(image: tf.Tensor, deviation: float, seed: tf.Tensor) -> tf.Tensor:
    """Blur by a Gaussian whose standard deviation is drawn from 0 to `deviation` pixels.

    At the edge of the image the mean is over the pixels inside.

    Args:
        image: float32 (H, W, C).
        deviation: largest standard deviation.
        seed: two integers.
    """
    radius = math.ceil(3 * deviation)
    offsets = tf.range(-radius, radius + 1, dtype="float32")
    sigma = tf.maximum(_uniform(seed, 0.0, deviation), 1e-3)
    kernel = tf.exp(-0.5 * tf.square(offsets / sigma))
    channels = image.shape[-1]
    blurred = tf.concat([image, tf.ones_like(image[..., :1])], -1)[None]  # (1, H, W, C + 1)
    for shape in ((-1, 1, 1, 1), (1, -1, 1, 1)):
        window = tf.tile(tf.reshape(kernel, shape), (1, 1, channels + 1, 1))
        blurred = tf.nn.depthwise_conv2d(blurred, window, (1, 1, 1, 1), "SAME")
    return blurred[0, ..., :channels] / blurred[0, ..., channels:]


def random_cutout(image: tf.Tensor, side: float, seed: tf.Tensor) -> tf.Tensor:
    """Fill a rectangle with `PAD_COLOR`; its labels stay, to be inferred from the surroundings.

    Cutout, DeVries and Taylor 2017, of random size.

    Args:
        image: float32 (H, W, C), C a multiple of 3.
        side: largest height and width, as fractions of the image's.
        seed: two integers.
    """
    place, size = split_seed(seed, 2)
    shape = tf.shape(image)[:2]
    sides = _offset(size, tf.cast(tf.round(side * tf.cast(shape, "float32")), "int32"))
    start = _offset(place, shape - sides)
    rows, columns = tf.range(shape[0])[:, None], tf.range(shape[1])[None]
    is_inside = (rows >= start[0]) & (rows < start[0] + sides[0])
    is_inside &= (columns >= start[1]) & (columns < start[1] + sides[1])
    return tf.where(is_inside[..., None], _pad_color(image.shape[-1]), image)


def _projected(
    image: tf.Tensor, transform: list[tf.Tensor], interpolation: str, fill: float
) -> tf.Tensor:
    """Return the image (H, W, C) whose pixels come from where the transform leads."""
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[None],
        transforms=tf.stack(transform)[None],
        output_shape=tf.shape(image)[:2],
        fill_value=float(fill),
        interpolation=interpolation,
        fill_mode="CONSTANT",
    )[0]


def _pad_color(channels: int, flow_channels: int = 0) -> tf.Tensor:
    """Return `PAD_COLOR` for each frame, and no motion."""
    return tf.constant(PAD_COLOR * ((channels - flow_channels) // 3) + (0.0,) * flow_channels)


def _rotate_flow(image: tf.Tensor, cos: tf.Tensor, sin: tf.Tensor, channels: int) -> tf.Tensor:
    """Rotate the vectors of the flow, the last channels of an image."""
    rest, flow = tf.split(image, [image.shape[-1] - channels, channels], axis=-1)
    dx, dy = flow[..., ::2], flow[..., 1::2]
    rotated = tf.stack([cos * dx - sin * dy, sin * dx + cos * dy], axis=-1)  # (H, W, N, 2)
    return tf.concat([rest, tf.reshape(rotated, tf.shape(flow))], axis=-1)


def _scale_flow(image: tf.Tensor, dx: tf.Tensor, dy: tf.Tensor, channels: int) -> tf.Tensor:
    """Multiply the flow, the last channels of an image, by (dx, dy)."""
    ones = tf.ones(image.shape[-1] - channels)
    return image * tf.concat([ones, tf.tile(tf.stack([dx, dy]), [channels // 2])], 0)


def split_seed(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Split a seed into `count` independent ones."""
    return tf.unstack(tf.random.experimental.stateless_split(seed, count, alg="philox"))


def _uniform(seed: tf.Tensor, low: float, high: float) -> tf.Tensor:
    return low + (high - low) * tf.random.stateless_uniform((), seed, alg="philox")


def _offset(seed: tf.Tensor, room: tf.Tensor) -> tf.Tensor:
    """Draw uniform integers 0..room, inclusive, one for each of the two sides."""
    fraction = tf.random.stateless_uniform((2,), seed, alg="philox")
    return tf.cast(fraction * tf.cast(room + 1, "float32"), "int32")
