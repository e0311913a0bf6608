"""Losses on logits that leave the ignored pixels out, and their sum.

Each loss is a function of labels, int [B, H, W], 0..C-1 or 255 (ignored), and logits, float [B, H, W, C]. It returns
float32 [], one number for all pixels of the batch that count, whichever picture they are in. Where no pixel counts, the loss is
0 and so is its gradient. All work in float32 and have shapes that XLA can compile.

The logits 0 and z of a sigmoid head need no case of their own: their softmax is 1 - sigmoid(z) and sigmoid(z).
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np
from keras import KerasTensor, ops

from components import features
from pipeline_config import TrainConfig

LOVASZ_BINS = 1024
"""Bins of a pixel's error, 0..1, in `lovasz_softmax`, which is exact up to one bin's width."""

Loss = Callable[[KerasTensor, KerasTensor], KerasTensor]
"""Of labels and logits, as above."""


def cross_entropy(
    labels: KerasTensor, logits: KerasTensor, class_weights: Sequence[float] | None = None, hardest_fraction: float = 1.0
) -> KerasTensor:
    """Returns the mean of -log(share of the true class), 0 and more.

    The hardest pixels are chosen first, by their plain cross-entropy; the class weights then make their mean a weighted one
    (divided by the sum of the weights, so that they do not change the learning rate).

    Args:
        labels: int [B, H, W], 0..C-1 or 255.
        logits: float [B, H, W, C].
        class_weights: of the pixels of each class, C numbers of 0 or more; None: all alike.
        hardest_fraction: share of the pixels that count, (0, 1]: those with the largest cross-entropy, at least one.

    Raises:
        ValueError: there are more or fewer weights than classes.
    """
    counted = ops.not_equal(labels, features.IGNORE_LABEL)
    classes = ops.where(counted, ops.cast(labels, "int32"), 0)
    pixels = ops.sparse_categorical_crossentropy(classes, ops.cast(logits, "float32"), from_logits=True)  # [B, H, W]
    weights = ops.cast(counted, "float32")
    if hardest_fraction < 1:
        weights = _hardest(pixels, weights, hardest_fraction)
    if class_weights is not None:
        if len(class_weights) != logits.shape[-1]:
            raise ValueError(f"There are {len(class_weights)} class weights for {logits.shape[-1]} classes.")
        weights = weights * ops.take(ops.convert_to_tensor(class_weights, "float32"), classes)
    return _mean(pixels, weights)


def dice(labels: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Returns 1 - the mean soft Dice coefficient of the classes that the batch's labels have, 0..1.

    A class's coefficient is 2 sum(share * truth) / (sum(share) + sum(truth)) (Drozdzal et al. 2016), the sums over all pixels
    of the batch: for shares of 0 and 1 it is the F1 score. A class that no label has would score 0 whatever the logits: it is
    left out, and what is given to it is missing in the classes that are there.

    Args:
        labels: int [B, H, W], 0..C-1 or 255.
        logits: float [B, H, W, C].
    """
    shares, truth, counted = _shares_and_truth(labels, logits)
    pixels_of = _sum_by_class(truth)  # [C]
    overlap = _sum_by_class(shares * truth)
    both = pixels_of + _sum_by_class(shares * counted)
    present = pixels_of > 0
    return _mean(1 - 2 * overlap / ops.where(present, both, 1.0), ops.cast(present, "float32"))


def lovasz_softmax(labels: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Returns the Lovasz-Softmax loss of the batch, 0..1 (Berman et al. 2018), over the classes that its labels have.

    For each class it extends 1 - IoU, a function of the set of wrong pixels, to errors |truth - share| between 0 and 1: the
    pixels join the set in the order of their errors, largest first, and each error is multiplied by what its pixel adds to
    1 - IoU. That depends only on how many pixels of the class, and of the others, have larger errors. Hence the errors are
    counted into `LOVASZ_BINS` bins instead of sorted: half a million pixels of 21 classes take 0.13 s on two cores instead of
    0.9 s. Pixels that share a bin share its step: the loss is off by at most a bin's width, and no tie is broken by an order.

    Args:
        labels: int [B, H, W], 0..C-1 or 255.
        logits: float [B, H, W, C].
    """
    shares, truth, counted = _shares_and_truth(labels, logits)
    num_classes = logits.shape[-1]
    errors = ops.abs(truth - shares) * counted  # [B, H, W, C]
    bins = ops.clip(ops.cast(errors * LOVASZ_BINS, "int32"), 0, LOVASZ_BINS - 1)  # After the cast: NaN must find a bin.
    rows = 2 * ops.arange(num_classes, dtype="int32") + ops.cast(truth, "int32")
    cells = rows * LOVASZ_BINS + bins
    ones = ops.broadcast_to(ops.cast(counted, "int32"), ops.shape(cells))
    counts = ops.segment_sum(ops.reshape(ones, (-1,)), ops.reshape(cells, (-1,)), num_segments=2 * num_classes * LOVASZ_BINS)
    counts = ops.reshape(counts, (num_classes, 2, LOVASZ_BINS))
    steps = ops.take(ops.reshape(_jaccard_steps(counts), (-1,)), cells)
    present = ops.any(counts[:, 1] > 0, axis=-1)  # [C]
    return _mean(_sum_by_class(errors * steps), ops.cast(present, "float32"))


def reconstruction(labels: KerasTensor, logits: KerasTensor) -> KerasTensor:
    """Returns the mean squared distance of the predicted label map from the true one, 0..2: the Brier score (Brier 1950).

    The label maps are the shares and their one-hot truth; a pixel's distance is summed over the classes, not divided by C.

    Args:
        labels: int [B, H, W], 0..C-1 or 255.
        logits: float [B, H, W, C].
    """
    shares, truth, counted = _shares_and_truth(labels, logits)
    return _mean(ops.sum(ops.square(shares - truth), axis=-1), counted[..., 0])


def median_frequency_weights(pixels: np.ndarray) -> np.ndarray:
    """Returns class weights that make rare classes count more (Eigen & Fergus 2015).

    The frequency of a class is its share of the pixels of those pictures in which it occurs; its weight is the median of the
    frequencies divided by its own. A class that never occurs gets 1: no training pixel has it, and a weight of 0 would hide its
    pixels in a validation.

    Args:
        pixels: int64 [N, C], the pixels of each class in each picture, ignored ones left out.

    Returns:
        float32 [C], positive.
    """
    totals = pixels.sum(0)
    occurs = totals > 0
    weights = np.ones(len(totals), np.float32)
    if occurs.any():
        around = pixels.sum(1) @ (pixels > 0)  # [C]: all pixels of the pictures in which the class occurs
        frequencies = totals[occurs] / around[occurs]
        weights[occurs] = np.median(frequencies) / frequencies
    return weights


def make_loss(config: TrainConfig, class_weights: Sequence[float] | None = None) -> Loss:
    """Returns the loss that `config.loss` names.

    Args:
        config: its terms, and the hardest pixels of the cross-entropy.
        class_weights: of the cross-entropy, C numbers; None where `config.class_weights` is "none".

    Raises:
        ValueError: the configuration wants class weights and none are given, or the other way round.
    """
    if (class_weights is None) != (config.class_weights == "none"):
        given = "none are given" if class_weights is None else f"{len(class_weights)} are given"
        raise ValueError(f"train.class_weights is {config.class_weights}, but {given}.")
    terms: dict[str, Loss] = {
        "cross_entropy": functools.partial(
            cross_entropy, class_weights=class_weights, hardest_fraction=config.hardest_fraction
        ),
        "dice": dice,
        "lovasz_softmax": lovasz_softmax,
        "reconstruction": reconstruction,
    }
    return lambda labels, logits: sum(weight * terms[name](labels, logits) for weight, name in config.loss_terms)


def _shares_and_truth(labels: KerasTensor, logits: KerasTensor) -> tuple[KerasTensor, KerasTensor, KerasTensor]:
    """Returns softmax, float32 [B, H, W, C]; one-hot labels, likewise, all 0 where ignored; 1 where counted, [B, H, W, 1]."""
    labels = ops.expand_dims(ops.cast(labels, "int32"), -1)
    counted = ops.cast(ops.not_equal(labels, features.IGNORE_LABEL), "float32")
    truth = ops.equal(labels, ops.arange(logits.shape[-1], dtype="int32"))
    logits = ops.cast(logits, "float32")
    # Not ops.softmax, which warns where there is one class.
    shares = ops.exp(logits - ops.logsumexp(logits, axis=-1, keepdims=True))
    return shares, ops.cast(truth, "float32"), counted


def _sum_by_class(values: KerasTensor) -> KerasTensor:
    """Returns float32 [C], sums of float32 [B, H, W, C]: by rows first, since a long float32 sum loses digits."""
    return ops.sum(ops.sum(values, axis=2), axis=(0, 1))


def _mean(values: KerasTensor, weights: KerasTensor) -> KerasTensor:
    """Returns the weighted mean, float32 []; 0 if the weights are all 0."""
    total = ops.sum(weights)
    return ops.sum(values * weights) / ops.where(total > 0, total, 1.0)


def _hardest(pixels: KerasTensor, counted: KerasTensor, fraction: float) -> KerasTensor:
    """Chooses the k = ceil(fraction * counted) pixels with the largest losses, at least one.

    The k-th largest loss, found by sorting, is a threshold; pixels that tie with it share the places that are left. So no
    gradient passes through a sort, and k need not be known when the graph is made.

    Args:
        pixels: float32 [B, H, W], losses of 0 or more.
        counted: float32 [B, H, W], 1 or 0.
        fraction: (0, 1).

    Returns:
        float32 [B, H, W]: 1 if chosen, 0 if not, in between for ties; their sum is k, or 0 if no pixel counts.
    """
    losses = ops.stop_gradient(ops.where(counted > 0, pixels, -1.0))
    # In float32, 0.15 * 100 comes out above 15.
    size = ops.maximum(ops.ceil(fraction * ops.sum(counted) - 1e-4), 1.0)
    ascending = ops.sort(ops.reshape(losses, (-1,)))
    threshold = ops.take(ascending, ops.shape(ascending)[0] - ops.cast(size, "int32"))
    above = ops.cast(losses > threshold, "float32")
    ties = ops.cast(ops.equal(losses, threshold), "float32")
    return counted * (above + ties * (size - ops.sum(above)) / ops.maximum(ops.sum(ties), 1.0))


def _jaccard_steps(counts: KerasTensor) -> KerasTensor:
    """Returns what a wrong pixel adds to 1 - IoU of its class, when the pixels turn wrong bin by bin from the largest errors.

    With P pixels of the class, of which a are wrong, and b wrong pixels of other classes, IoU = (P - a) / (P + b). One bin
    takes a to a + p and b to b + q. The steps are the means of two orders in the bin, the class's pixels first or last, so that
    p steps of one kind and q of the other add up to the change of 1 - IoU exactly.

    Args:
        counts: int32 [C, 2, bins], pixels of other classes (0) and of the class itself (1), by ascending errors.

    Returns:
        float32 [C, 2, bins]; of no meaning for a class without pixels.
    """
    larger = ops.sum(counts, axis=-1, keepdims=True) - ops.cumsum(counts, axis=-1)  # [C, 2, bins]: b and a
    own = ops.cast(ops.sum(counts[:, 1], axis=-1, keepdims=True), "float32")  # [C, 1]: P
    counts, larger = ops.cast(counts, "float32"), ops.cast(larger, "float32")
    before = 1 / ops.maximum(own + larger[:, 0], 1.0)
    after = 1 / ops.maximum(own + larger[:, 0] + counts[:, 0], 1.0)
    other_step = (own - larger[:, 1] - counts[:, 1] / 2) * before * after
    return ops.stack([other_step, (before + after) / 2], axis=1)
