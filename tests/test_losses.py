"""The losses on six pixels: by hand, and against NumPy."""

import itertools
import math
from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import iou, losses
from pipeline_config import LOSS_TERMS, TrainConfig

V = 255  # Void.
LABELS = np.array([[[0, 1, 0], [1, 0, V]]], np.int32)
# The share that each pixel's true class gets; its logits are the logarithms of (share, 1 - share), in the classes' order.
SHARES = np.array([[[1 / 2, 1 / 4, 3 / 4], [1 / 2, 1 / 8, 1 / 16]]])
EXPECTED = {
    # Five pixels count: -(ln 1/2 + ln 1/4 + ln 3/4 + ln 1/2 + ln 1/8) / 5.
    "cross_entropy": math.log(2 * 4 * (4 / 3) * 2 * 8) / 5,
    # Class 0 gets 1/2 + 3/4 + 1/8 = 11/8 of its 3 pixels and 3/4 + 1/2 of the others, 21/8: 2 * 11/8 / (21/8 + 3) = 22/45.
    # Class 1 gets 1/4 + 1/2 = 3/4 of its 2 pixels and 5 - 21/8 = 19/8 of all: 2 * 3/4 / (19/8 + 2) = 12/35.
    "dice": 1 - (22 / 45 + 12 / 35) / 2,
    # Errors in descending order, the same for both classes: 7/8 (truth 0), 3/4 (1), 1/2 (0 and 1, together), 1/4 (0).
    # IoU of class 0 falls from 1 to 2/3, 2/4, 1/5, 0: 7/8 * 1/3 + 3/4 * 1/6 + 1/2 * 3/10 + 1/4 * 1/5 = 37/60.
    # IoU of class 1 falls from 1 to 2/3, 1/3, 0, 0: 7/8 * 1/3 + 3/4 * 1/3 + 1/2 * 1/3 = 17/24.
    "lovasz_softmax": (37 / 60 + 17 / 24) / 2,
    # 2 (1 - share)^2 a pixel: 2 (1/4 + 9/16 + 1/16 + 1/4 + 49/64) / 5 = 2 * 121/64 / 5.
    "reconstruction": 121 / 160,
}
NOTHING = np.full((1, 2, 3), V, np.int32)

each_term = pytest.mark.parametrize("term", LOSS_TERMS)
each_loss = pytest.mark.parametrize(
    "config",
    [
        *(TrainConfig(loss=term) for term in LOSS_TERMS),
        TrainConfig(hardest_fraction=0.5),
        TrainConfig(loss="+".join(LOSS_TERMS)),
    ],
    ids=lambda config: f"{config.loss}-{config.hardest_fraction:g}",
)


def _logits(labels: np.ndarray = LABELS) -> np.ndarray:
    is_zero = (labels == 0)[..., np.newaxis]
    pair = np.stack([SHARES, 1 - SHARES], axis=-1)  # [B, H, W, 2]: true class, other class
    return np.log(np.where(is_zero, pair, pair[..., ::-1])).astype(np.float32)


def _loss_and_gradient(
    labels: np.ndarray, logits: np.ndarray, loss: Callable | None = None, term: str = "cross_entropy"
) -> tuple[float, np.ndarray]:
    loss = loss or losses.make_loss(TrainConfig(loss=term))
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        value = loss(labels, variable)
    return float(value), tape.gradient(value, variable).numpy()


def _random(seed: int, shape: tuple[int, ...] = (2, 2, 3), num_classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels, some of them void, and logits."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([*range(num_classes), V], shape).astype(np.int32)
    return labels, rng.normal(0, 2, (*shape, num_classes)).astype(np.float32)


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64))
    return powers / powers.sum(-1, keepdims=True)


@each_term
def test_six_pixels_by_hand(term: str) -> None:
    loss, gradient = _loss_and_gradient(LABELS, _logits(), term=term)
    assert loss == pytest.approx(EXPECTED[term], rel=1e-6)
    assert gradient[0, 1, 2].tolist() == [0.0, 0.0]
    assert np.abs(gradient[0, :, :2]).min() > 0


def test_gradient_of_cross_entropy_is_softmax_minus_truth_over_the_count() -> None:
    _, gradient = _loss_and_gradient(LABELS, _logits())
    # First pixel: shares (1/2, 1/2), truth 0: ((1/2 - 1) / 5, (1/2 - 0) / 5).
    assert gradient[0, 0, 0].tolist() == pytest.approx([-0.1, 0.1], rel=1e-5)
    # Fifth pixel: shares (1/8, 7/8), truth 0: -7/40, 7/40.
    assert gradient[0, 1, 1].tolist() == pytest.approx([-7 / 40, 7 / 40], rel=1e-5)


@each_loss
def test_logits_on_void_change_nothing(config: TrainConfig) -> None:
    logits, other = _logits(), _logits()
    other[0, 1, 2] = [1e4, -1e4]
    loss, gradient = _loss_and_gradient(LABELS, logits, losses.make_loss(config))
    other_loss, other_gradient = _loss_and_gradient(LABELS, other, losses.make_loss(config))
    assert other_loss == loss
    assert other_gradient.tolist() == gradient.tolist()


@each_loss
def test_void_alone_costs_nothing_and_moves_nothing(config: TrainConfig) -> None:
    loss, gradient = _loss_and_gradient(NOTHING, _logits(), losses.make_loss(config))
    assert loss == 0.0
    assert gradient.tolist() == np.zeros((1, 2, 3, 2)).tolist()


def test_pixels_weigh_the_same_whichever_picture_of_the_batch_they_are_in() -> None:
    only_one = np.full((1, 2, 3), V, np.int32)
    only_one[0, 0, 0] = 0  # Share 1/2.
    labels = np.concatenate([LABELS, only_one])
    logits = np.concatenate([_logits(), _logits(only_one)])
    # Six pixels: the five of the first picture and one more of ln 2. The mean of two means would be (sum of 5 / 5 + ln 2) / 2.
    loss, _ = _loss_and_gradient(labels, logits)
    assert loss == pytest.approx((5 * EXPECTED["cross_entropy"] + np.log(2)) / 6, rel=1e-6)


@each_loss
def test_pixels_may_lie_in_one_picture_or_in_several(config: TrainConfig) -> None:
    labels, logits = _random(seed=1)
    together = losses.make_loss(config)(labels.reshape(1, 4, 3), logits.reshape(1, 4, 3, 4))
    assert float(losses.make_loss(config)(labels, logits)) == pytest.approx(float(together), rel=1e-6)


@each_loss
def test_pictures_of_void_that_fill_up_a_batch_change_nothing(config: TrainConfig) -> None:
    alone, gradient = _loss_and_gradient(LABELS, _logits(), losses.make_loss(config))
    labels, logits = np.concatenate([LABELS, NOTHING, NOTHING]), np.concatenate([_logits()] * 3)
    filled, gradients = _loss_and_gradient(labels, logits, losses.make_loss(config))
    assert filled == pytest.approx(alone, rel=1e-6)
    assert gradients[0].ravel().tolist() == pytest.approx(gradient.ravel().tolist(), rel=1e-5)
    assert not gradients[1:].any()


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        # Truths 0, 1, 0, 1, 0, 1 and three equal logits: every share is 1/3.
        ("cross_entropy", math.log(3)),
        ("dice", 3 / 5),  # Classes 0 and 1 alike: 1 - 2 * (3 * 1/3) / (6 * 1/3 + 3).
        ("lovasz_softmax", 2 / 3),  # Own pixels, of error 2/3, come first and take IoU to 0: 2/3 * 1 + 1/3 * 0.
        ("reconstruction", 2 / 3),  # (2/3)^2 + (1/3)^2 + (1/3)^2
    ],
)
def test_class_that_no_pixel_has_is_pushed_down(term: str, expected: float) -> None:
    labels = np.array([[[0, 1, 0], [1, 0, 1]]], np.int32)
    loss, gradient = _loss_and_gradient(labels, np.zeros((1, 2, 3, 3), np.float32), term=term)
    assert loss == pytest.approx(expected, rel=1e-6)
    assert gradient[..., 2].min() > 0


def test_without_void_it_is_keras_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, (2, 4, 3)).astype(np.int32)
    logits = rng.normal(0, 3, (2, 4, 3, 5)).astype(np.float32)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    assert float(losses.make_loss(TrainConfig())(labels, logits)) == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_random_masks_agree_with_numpy(seed: int) -> None:
    labels, logits = _random(seed, (3, 2, 3), 3)
    counted = labels != V
    shares, truth = _softmax(logits)[counted], np.eye(3)[labels[counted]]
    present = truth.any(0)
    f1 = 2 * (shares * truth).sum(0) / (shares + truth).sum(0)
    expected = {
        "cross_entropy": -np.log((shares * truth).sum(-1)).mean(),
        "dice": 1 - f1[present].mean(),
        "reconstruction": ((shares - truth) ** 2).sum(-1).mean(),
    }
    for term, value in expected.items():
        assert float(losses.make_loss(TrainConfig(loss=term))(labels, logits)) == pytest.approx(value, rel=1e-5), term


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
@each_loss
def test_inside_a_graph_it_is_what_it_is_eagerly(config: TrainConfig, jit_compile: bool) -> None:
    loss = losses.make_loss(config)

    @tf.function(
        jit_compile=jit_compile,
        input_signature=[tf.TensorSpec([None, None, None], tf.int32), tf.TensorSpec([None, None, None, 4], tf.float32)],
    )
    def step(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            value = loss(labels, logits)
        return value, tape.gradient(value, logits)

    for shape in ((2, 2, 3), (1, 3, 4)):
        labels, logits = _random(2, shape)
        eager, eager_gradient = _loss_and_gradient(labels, logits, loss)
        value, gradient = step(labels, logits)
        assert float(value) == pytest.approx(eager, rel=1e-5)
        assert gradient.numpy().ravel().tolist() == pytest.approx(eager_gradient.ravel().tolist(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int32, tf.int64])
@each_term
def test_labels_may_be_any_integers(term: str, dtype: tf.DType) -> None:
    labels = tf.cast(LABELS, dtype)
    assert float(losses.make_loss(TrainConfig(loss=term))(labels, _logits())) == pytest.approx(EXPECTED[term], rel=1e-6)
    assert float(getattr(losses, term)(labels, _logits())) == pytest.approx(EXPECTED[term], rel=1e-6)


@each_term
def test_float16_logits_give_a_float32_loss(term: str) -> None:
    logits = _logits().astype(np.float16)
    for loss in (losses.make_loss(TrainConfig(loss=term)), getattr(losses, term)):
        value = loss(LABELS, logits)
        assert value.dtype == tf.float32
        assert float(value) == pytest.approx(EXPECTED[term], rel=1e-3)


@pytest.mark.parametrize(
    # A wrong answer with the largest float16 costs the distance of the logits, 2 * 65504, which float16 does not have.
    ("term", "expected"),
    [("cross_entropy", 2 * 65504), ("dice", 1), ("lovasz_softmax", 1), ("reconstruction", 2)],
)
def test_extreme_float16_logits_give_a_finite_float32_loss(term: str, expected: float) -> None:
    logits = np.tile(np.array([-65504, 65504], np.float16), (1, 2, 3, 1))
    labels = np.array([[[0, 0, 0], [0, 0, V]]], np.int32)
    loss = losses.make_loss(TrainConfig(loss=term))(labels, logits)
    assert loss.dtype == tf.float32
    assert float(loss) == pytest.approx(expected, rel=1e-6)


@each_loss
def test_extreme_logits_have_finite_gradients(config: TrainConfig) -> None:
    labels, logits = _random(3)
    signs = np.where(logits < 0, -1e4, 1e4).astype(np.float32)
    loss, gradient = _loss_and_gradient(labels, signs, losses.make_loss(config))
    assert np.isfinite(loss) and np.isfinite(gradient).all()


@each_loss
def test_right_answers_cost_nothing(config: TrainConfig) -> None:
    labels, _ = _random(4)
    logits = 1e4 * np.eye(4, dtype=np.float32)[np.where(labels == V, 0, labels)]
    assert _loss_and_gradient(labels, logits, losses.make_loss(config))[0] == pytest.approx(0, abs=1e-6)


@each_loss
def test_logits_that_are_no_numbers_show_in_the_loss(config: TrainConfig) -> None:
    labels, logits = _random(5)
    assert math.isnan(losses.make_loss(config)(labels, np.full_like(logits, np.nan)))


@pytest.mark.parametrize(
    ("fraction", "expected"),
    [
        # From the hardest: ln 8, ln 4, ln 2, ln 2, ln 4/3.
        (1e-6, math.log(8)),  # At least one.
        (0.4, math.log(8 * 4) / 2),
        (0.5, math.log(8 * 4 * 2) / 3),  # 2.5, rounded up; one of the two that tie.
        (0.8, math.log(8 * 4 * 2 * 2) / 4),
        (0.99, EXPECTED["cross_entropy"]),
        (1.0, EXPECTED["cross_entropy"]),
    ],
)
def test_hardest_pixels_alone_count(fraction: float, expected: float) -> None:
    loss = losses.make_loss(TrainConfig(hardest_fraction=fraction))
    assert float(loss(LABELS, _logits())) == pytest.approx(expected, rel=1e-6)


def test_pixels_that_tie_for_the_last_place_share_it() -> None:
    _, gradient = _loss_and_gradient(LABELS, _logits(), losses.make_loss(TrainConfig(hardest_fraction=0.5)))
    # Three places: the first and the fourth pixel, of share 1/2, have half a place each: 1/2 * (1/2 - 1) / 3.
    assert gradient[0, 0, 0, 0] == pytest.approx(-1 / 12, rel=1e-5)
    assert gradient[0, 1, 0, 1] == pytest.approx(-1 / 12, rel=1e-5)
    assert gradient[0, 0, 2].tolist() == [0.0, 0.0]  # The easiest.
    assert gradient[0, 1, 1, 0] == pytest.approx((1 / 8 - 1) / 3, rel=1e-5)  # The hardest.


@pytest.mark.parametrize(("count", "fraction", "chosen"), [(10, 0.3, 3), (10, 0.31, 4), (100, 0.15, 15), (300, 0.09, 27)])
def test_hardest_fraction_is_rounded_up_in_decimals(count: int, fraction: float, chosen: int) -> None:
    logits = np.stack([np.zeros(count), np.arange(count)], axis=-1).astype(np.float32)[np.newaxis, np.newaxis]
    _, gradient = _loss_and_gradient(
        np.zeros((1, 1, count), np.int32), logits, losses.make_loss(TrainConfig(hardest_fraction=fraction))
    )
    assert np.count_nonzero(gradient[..., 0]) == chosen


def test_class_weights_weigh_the_mean() -> None:
    loss = losses.make_loss(TrainConfig(class_weights="median_frequency"), [1.0, 3.0])
    # Three pixels of class 0 (ln 2, ln 4/3, ln 8) once, two of class 1 (ln 4, ln 2) three times: nine in all.
    expected = (math.log(2 * 4 / 3 * 8) + 3 * math.log(4 * 2)) / 9
    assert float(loss(LABELS, _logits())) == pytest.approx(expected, rel=1e-6)


def test_hardest_pixels_are_chosen_before_they_are_weighed() -> None:
    config = TrainConfig(class_weights="median_frequency", hardest_fraction=0.4)
    # ln 8 of class 0, ln 4 of class 1.
    expected = (math.log(8) + 3 * math.log(4)) / 4
    assert float(losses.make_loss(config, [1.0, 3.0])(LABELS, _logits())) == pytest.approx(expected, rel=1e-6)


def test_weights_of_zero_leave_classes_out() -> None:
    config = TrainConfig(class_weights="median_frequency")
    loss, gradient = _loss_and_gradient(LABELS, _logits(), losses.make_loss(config, [0.0, 0.5]))
    assert loss == pytest.approx(math.log(4 * 2) / 2, rel=1e-6)
    assert gradient[LABELS == 0].tolist() == [[0.0, 0.0]] * 3
    loss, gradient = _loss_and_gradient(LABELS, _logits(), losses.make_loss(config, [0.0, 0.0]))
    assert loss == 0.0 and not gradient.any()


def test_equal_class_weights_change_nothing() -> None:
    loss = losses.make_loss(TrainConfig(class_weights="median_frequency"), np.full(2, 0.1, np.float32))
    assert float(loss(LABELS, _logits())) == pytest.approx(EXPECTED["cross_entropy"], rel=1e-6)


def test_class_weights_of_other_classes_are_refused() -> None:
    loss = losses.make_loss(TrainConfig(class_weights="median_frequency"), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="There are 3 class weights for 2 classes"):
        loss(LABELS, _logits())


def test_class_weights_are_given_where_they_are_configured_and_only_there() -> None:
    with pytest.raises(ValueError, match="train.class_weights is median_frequency, but none are given"):
        losses.make_loss(TrainConfig(class_weights="median_frequency"))
    with pytest.raises(ValueError, match="train.class_weights is none, but 2 are given"):
        losses.make_loss(TrainConfig(), [1.0, 2.0])


def test_sum_of_terms_is_weighted() -> None:
    loss = losses.make_loss(TrainConfig(loss="cross_entropy + 0.5*dice + 2 * lovasz_softmax + 0.1*reconstruction"))
    terms = [1.0, 0.5, 2.0, 0.1]
    expected = sum(weight * EXPECTED[term] for weight, term in zip(terms, LOSS_TERMS, strict=True))
    assert float(loss(LABELS, _logits())) == pytest.approx(expected, rel=1e-6)


def test_logits_0_and_z_of_a_sigmoid_head_give_the_binary_losses() -> None:
    rng = np.random.default_rng(7)
    labels, z = rng.integers(0, 2, (2, 2, 3)), rng.normal(0, 3, (2, 2, 3)).astype(np.float32)
    logits, share = np.stack([np.zeros_like(z), z], axis=-1), 1 / (1 + np.exp(-z.astype(np.float64)))
    binary = keras.losses.BinaryCrossentropy(from_logits=True)(labels[..., np.newaxis], z[..., np.newaxis])
    f1 = 2 * (share * labels).sum() / (share + labels).sum()
    f1_of_background = 2 * ((1 - share) * (1 - labels)).sum() / (2 - share - labels).sum()
    expected = {
        "cross_entropy": float(binary),
        "dice": 1 - (f1 + f1_of_background) / 2,
        "reconstruction": 2 * np.mean((share - labels) ** 2),
    }
    for term, value in expected.items():
        assert float(getattr(losses, term)(labels, logits)) == pytest.approx(value, rel=1e-5), term


@each_loss
def test_each_loss_alone_teaches_a_tiny_picture(config: TrainConfig) -> None:
    labels, _ = _random(8, (1, 4, 5), 3)
    loss = losses.make_loss(config)
    logits = keras.Variable(np.zeros((1, 4, 5, 3), np.float32))
    optimizer = keras.optimizers.SGD(5.0)
    for _ in range(60):
        with tf.GradientTape() as tape:
            value = loss(labels, logits)
        optimizer.apply([tape.gradient(value, logits.value)], [logits])
    counted = labels != V
    assert (np.argmax(logits, axis=-1) == labels)[counted].all()
    assert float(loss(labels, logits)) < 0.1


def _lovasz(labels: np.ndarray, shares: np.ndarray) -> float:
    """Returns Lovasz-Softmax as an integral: 1 - IoU of the set of pixels whose error is above t, over t from 0 to 1."""
    counted = labels != V
    classes = np.unique(labels[counted])
    total = 0.0
    for class_id in classes:
        truth = labels[counted] == class_id
        errors = np.abs(truth - shares[counted][:, class_id])
        levels = np.concatenate([[0], np.unique(errors)])
        for low, high in itertools.pairwise(levels):
            prediction = truth ^ (errors > low)
            total += (high - low) * (1 - (truth & prediction).sum() / (truth | prediction).sum())
    return total / len(classes)


@pytest.mark.parametrize("seed", range(20))
def test_lovasz_is_the_integral_over_sets_of_wrong_pixels(seed: int) -> None:
    labels, logits = _random(seed)
    assert float(losses.lovasz_softmax(labels, logits)) == pytest.approx(_lovasz(labels, _softmax(logits)), abs=1e-3)


@pytest.mark.parametrize("seed", [0, 11, 27])
def test_lovasz_has_the_gradient_of_the_integral(seed: int) -> None:
    labels, logits = _random(seed, (1, 2, 3), 3)
    shares = _softmax(logits)
    errors = np.abs(np.eye(3)[np.minimum(labels, 2)] - shares)[labels != V]
    assert np.diff(np.sort(errors, axis=0), axis=0).min() > 1 / losses.LOVASZ_BINS  # No two pixels in a bin.
    loss, gradient = _loss_and_gradient(labels, logits, losses.lovasz_softmax)
    assert loss == pytest.approx(_lovasz(labels, shares), rel=1e-6)
    for index in np.ndindex(logits.shape):
        up, down = logits.astype(np.float64), logits.astype(np.float64)
        up[index] += 1e-6
        down[index] -= 1e-6
        slope = (_lovasz(labels, _softmax(up)) - _lovasz(labels, _softmax(down))) / 2e-6
        assert gradient[index] == pytest.approx(slope, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_lovasz_of_certain_answers_is_what_their_iou_lacks(seed: int) -> None:
    labels, logits = _random(seed, (2, 4, 5))
    prediction = np.argmax(logits, axis=-1)
    scores = iou.iou(iou.confusion_matrix(labels, prediction, 4))[np.unique(labels[labels != V])]
    loss = losses.lovasz_softmax(labels, 1e4 * np.eye(4, dtype=np.float32)[prediction])
    assert float(loss) == pytest.approx(1 - scores.mean(), rel=1e-6)


def test_lovasz_treats_pixels_alike_that_tie() -> None:
    labels, _ = _random(10, (2, 4, 5))
    _, gradient = _loss_and_gradient(labels, np.zeros((2, 4, 5, 4), np.float32), losses.lovasz_softmax)
    for class_id in range(4):
        assert np.ptp(gradient[labels == class_id], axis=0).max() == 0


def test_lovasz_of_many_pixels_agrees_with_the_integral() -> None:
    labels, logits = _random(11, (2, 40, 50))
    assert float(losses.lovasz_softmax(labels, logits)) == pytest.approx(_lovasz(labels, _softmax(logits)), rel=1e-4)


def test_median_frequency_by_hand() -> None:
    # Class 0: 10 of the 8 + 4 pixels of its pictures, 5/6; class 1: 2 of 8, 1/4; class 2 never. The median is 13/24.
    weights = losses.median_frequency_weights(np.array([[6, 2, 0], [4, 0, 0], [0, 0, 0]], np.int64))
    assert weights.dtype == np.float32
    assert weights.tolist() == pytest.approx([13 / 20, 13 / 6, 1], rel=1e-6)


def test_median_frequency_of_one_class_or_of_nothing_is_1() -> None:
    assert losses.median_frequency_weights(np.array([[6, 0]], np.int64)).tolist() == [1, 1]
    assert losses.median_frequency_weights(np.zeros((2, 3), np.int64)).tolist() == [1, 1, 1]
    assert losses.median_frequency_weights(np.zeros((0, 3), np.int64)).tolist() == [1, 1, 1]
