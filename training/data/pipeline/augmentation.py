"""The augmentation of an example: the random transforms of a configuration, one after the other."""

import tensorflow as tf

from ...configs.schema import Augmentation
from . import transforms


def augment(
    image: tf.Tensor,
    labels: tf.Tensor,
    augmentation: Augmentation,
    ignore: int,
    seed: tf.Tensor,
    flow_channels: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply an `Augmentation` to one example.

    Args:
        image: uint8 or float32 (H, W, 3), 0..255; or a clip's frames and flow, float32 (H, W, C).
        labels: int32 (H, W).
        augmentation: the settings.
        ignore: the label of padding.
        seed: two integers.
        flow_channels: how many of the last channels are flow.

    Returns:
        float32 (h, w, C) and int32 (h, w), of the crop's size.
    """
    image = tf.cast(image, "float32")
    scale, crop, flip, photometric, pad = transforms.split_seed(seed, 5)
    if augmentation.scale != (1, 1):
        scales = augmentation.scale
        image, labels = transforms.random_scale(image, labels, scales, scale, flow_channels)
    if augmentation.rotation:
        image, labels = transforms.random_rotation(
            image, labels, augmentation.rotation, ignore, _other_seed(seed, 0), flow_channels
        )
    image, labels = transforms.random_crop(image, labels, augmentation.crop, crop)
    if augmentation.horizontal_flip:
        image, labels = transforms.random_horizontal_flip(image, labels, flip, flow_channels)
    image = _change_colors(image, augmentation, seed, photometric, flow_channels)
    return transforms.random_pad(image, labels, augmentation.crop, ignore, pad, flow_channels)


def _change_colors(
    image: tf.Tensor,
    augmentation: Augmentation,
    seed: tf.Tensor,
    photometric: tf.Tensor,
    flow_channels: int,
) -> tf.Tensor:
    """Apply what changes the colours alone, the same to all frames of a clip."""
    jitter = (augmentation.brightness, augmentation.contrast, augmentation.saturation)
    if not (any(jitter) or augmentation.blur or augmentation.cutout):
        return image
    colors, flow = tf.split(image, [image.shape[-1] - flow_channels, flow_channels], axis=-1)
    shape = colors.shape
    if any(jitter):
        # The frames next to each other as one image, so that they change in the same way.
        row = tf.reshape(colors, (tf.shape(colors)[0], -1, 3))
        row = transforms.random_photometric(row, *jitter, photometric)
        colors = tf.ensure_shape(tf.reshape(row, tf.shape(colors)), shape)
    if augmentation.blur:
        colors = transforms.random_blur(colors, augmentation.blur, _other_seed(seed, 1))
    if augmentation.cutout:
        colors = transforms.random_cutout(colors, augmentation.cutout, _other_seed(seed, 2))
    return tf.concat([tf.ensure_shape(colors, shape), flow], axis=-1)


def _other_seed(seed: tf.Tensor, number: int) -> tf.Tensor:
    """Return a further seed, which leaves those of `split_seed` as they are."""
    return tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
