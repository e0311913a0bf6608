"""Test-time augmentation: what a network says of one picture at several sizes, as it is and mirrored, on average."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from components import preprocessing

SCALES = (0.75, 1.0, 1.25)
"""Of the network's size."""

_LEAST = 1e-12

Logits = Callable[[tf.Tensor], tf.Tensor]
"""From float32 [N, H, W, 3] in [0, 1] to float32 [N, H, W, C], for any H and W."""


def average_views(
    image: tf.Tensor,
    height: int,
    width: int,
    logits: Logits,
    resize: Callable[[tf.Tensor, int, int], tf.Tensor],
    scales: Sequence[float] = SCALES,
) -> tf.Tensor:
    """Averages the probabilities that a network gives to a picture at each scale, as it is and mirrored.

    Args:
        image: uint8 [H, W, 3]; each scale is made of it, so that a larger one shows more.
        height: of the answer.
        width: of the answer.
        logits: the network.
        resize: to uint8 [height, width, 3].
        scales: of the answer's size at which the network looks; sides are rounded to whole pixels, at least 1.

    Returns:
        float32 [height, width, C], logarithms of the mean probabilities: logits whose softmax is that mean.
    """
    total = 0.0
    for scale in scales:
        seen = preprocessing.scale_image(resize(image, max(1, round(height * scale)), max(1, round(width * scale))))
        answers = logits(tf.stack([seen, tf.reverse(seen, [1])]))  # [2, h, w, C]
        both = tf.stack([answers[0], tf.reverse(answers[1], [1])])
        total += tf.reduce_mean(tf.nn.softmax(tf.image.resize(both, (height, width))), axis=0)
    return tf.math.log(tf.maximum(total / len(scales), _LEAST))
