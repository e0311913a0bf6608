"""The gate: which models pass, and why, in words."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

from components import gate, iou
from components.evaluation import Measured
from pipeline_config import ConfigError, EvaluateConfig

CLASS_NAMES = ("background", "person", "dog")
GATE = EvaluateConfig(min_mean_iou=0.25, max_mean_iou_drop=0.02, max_iou_drop=0.01)


def measured(matrix: Sequence[Sequence[int]]) -> Measured:
    """What the Evaluator says of a confusion matrix."""
    counts = np.array(matrix)
    values = {"mean_iou": iou.mean_iou(counts)} | {
        f"iou/{name}": value for name, value in zip(CLASS_NAMES, iou.iou(counts).tolist(), strict=True)
    }
    return Measured(
        metrics={name: None if np.isnan(value) else value for name, value in values.items()}, confusion_matrix=counts.tolist()
    )


def scored(*ious: float | None) -> Measured:
    """A model with these IoUs a class; of its matrix only the classes' shares in the truth are right: 80, 10 and 10 of 100."""
    present = [value for value in ious if value is not None]
    metrics = {"mean_iou": float(np.mean(present)) if present else None}
    return Measured(
        metrics=metrics | {f"iou/{name}": value for name, value in zip(CLASS_NAMES, ious, strict=True)},
        confusion_matrix=[[80, 0, 0], [10, 0, 0], [10, 0, 0]],
    )


GOOD = scored(0.9, 0.6, 0.3)  # Mean 0.6.


def judge(
    candidate: Measured, baseline: Measured | None = None, config: EvaluateConfig = GATE, split: str = "test", problem: str = ""
) -> gate.Decision:
    return gate.judge(candidate, baseline, split, config, CLASS_NAMES, problem)


def test_first_model_that_reaches_the_floor_is_blessed() -> None:
    decision = judge(GOOD)
    assert decision.blessed
    assert decision.refusals == ()
    assert decision.reasons == (
        "mean IoU 0.6000 reaches the floor of 0.2500",
        "it is better than background everywhere, whose mean IoU is 0.2667",
        "there is no earlier blessed model to compare with",
    )


def test_score_on_the_floor_reaches_it_and_one_just_below_does_not() -> None:
    assert judge(GOOD, config=dataclasses.replace(GATE, min_mean_iou=GOOD.metrics["mean_iou"])).blessed
    decision = judge(GOOD, config=dataclasses.replace(GATE, min_mean_iou=GOOD.metrics["mean_iou"] + 1e-4))
    assert decision.refusals == ("mean IoU 0.6000 is below the floor of 0.6001",)


def test_equal_model_is_blessed_even_without_tolerance() -> None:
    strict = EvaluateConfig(max_mean_iou_drop=0.0, max_iou_drop=0.0)
    decision = judge(GOOD, GOOD, strict)
    assert decision.blessed
    assert decision.reasons[2:] == (
        "mean IoU rose by 0.00 points from the baseline's 0.6000, allowed 0.00 points",
        "no class fell by more than 0.00 points",
    )


def test_worse_model_is_refused_beyond_the_tolerance_only() -> None:
    no_class = dataclasses.replace(GATE, max_iou_drop=1.0)
    assert judge(scored(0.9, 0.6, 0.27), GOOD, no_class).blessed  # By one point of two that are allowed.
    decision = judge(scored(0.9, 0.6, 0.21), GOOD, no_class)
    assert decision.refusals == ("mean IoU fell by 3.00 points from the baseline's 0.6000, allowed 2.00 points",)


def test_model_that_is_better_overall_but_ruins_a_class_is_refused_and_the_class_named() -> None:
    decision = judge(scored(0.95, 0.569, 0.6), GOOD)
    assert decision.refusals == ("person fell by 3.10 points, allowed 1.00",)
    assert not decision.blessed
    assert "mean IoU rose by 10.63 points from the baseline's 0.6000, allowed 2.00 points" in decision.reasons


def test_every_class_that_fell_too_far_is_named() -> None:
    decision = judge(scored(0.99, 0.5, 0.2), GOOD, dataclasses.replace(GATE, max_mean_iou_drop=1.0))
    assert decision.refusals == ("person fell by 10.00 points, allowed 1.00", "dog fell by 10.00 points, allowed 1.00")


def test_class_that_the_truth_lacks_and_the_candidate_no_longer_answers_has_not_fallen() -> None:
    assert judge(scored(0.9, 0.6, None), scored(0.9, 0.6, 0.0)).blessed


def test_model_without_any_pixel_to_measure_is_refused_even_by_a_floor_of_zero() -> None:
    decision = judge(scored(None, None, None), GOOD, EvaluateConfig(min_mean_iou=0.0, beat_constant=False))
    assert decision.refusals == ("the mean IoU is not a number: there was no pixel to measure",)


def test_model_whose_answers_are_no_numbers_says_background_everywhere_and_is_refused() -> None:
    # The argmax of NaN logits is class 0: 80 of 100 pixels are right, and the mean IoU is 0.8 / 3.
    nan = measured([[80, 0, 0], [10, 0, 0], [10, 0, 0]])
    decision = judge(nan, config=EvaluateConfig(min_mean_iou=0.05))
    assert decision.refusals == ("it is no better than background everywhere, whose mean IoU is 0.2667",)
    assert judge(nan, config=EvaluateConfig(min_mean_iou=0.05, beat_constant=False)).blessed


def test_floor_of_a_class() -> None:
    config = dataclasses.replace(GATE, min_iou="person=0.6, dog=0.31")
    decision = judge(GOOD, config=config)
    assert decision.refusals == ("dog's IoU 0.3000 is below its floor of 0.3100",)
    assert "person's IoU 0.6000 reaches its floor of 0.6000" in decision.reasons


def test_floor_of_a_class_that_occurs_nowhere_cannot_be_checked_and_refuses() -> None:
    decision = judge(scored(0.9, None, 0.3), config=dataclasses.replace(GATE, min_iou="person=0.0"))
    assert decision.refusals == (
        "person occurs in no picture that was measured, so that its floor of 0.0000 cannot be checked",
    )


def test_baseline_that_no_longer_loads_is_said_and_the_floors_decide() -> None:
    decision = judge(GOOD, problem="the baseline, X, no longer loads (gone): there is nothing to compare with")
    assert decision.blessed
    assert decision.reasons[2] == "the baseline, X, no longer loads (gone): there is nothing to compare with"


def test_reason_says_where_the_validation_split_had_to_do() -> None:
    text = "measured on the validation split, which also chose the epoch: the data set has no test split"
    assert judge(GOOD, split="eval").reasons[-1] == text
    assert text not in judge(GOOD).reasons


@pytest.mark.parametrize("text", ["person", "person=2", "=0.5", "person=high", "person=0.5,person=0.6", "person=-0.1"])
def test_floors_that_cannot_be_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.min_iou"):
        EvaluateConfig(min_iou=text)


def test_floor_for_a_class_that_the_data_set_does_not_have_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"got 'persn'\. Did you mean person"):
        EvaluateConfig(min_iou="persn=0.5").check_classes(CLASS_NAMES)
    EvaluateConfig(min_iou=" person = 0.5 , dog=1").check_classes(CLASS_NAMES)


def test_fall_of_exactly_what_is_allowed_is_borne() -> None:
    # In binary, 0.6 - 0.58 is above 0.02, and 0.4 - 0.3 above 0.1.
    config = EvaluateConfig(max_mean_iou_drop=0.02, max_iou_drop=0.1)
    assert judge(scored(0.58, 0.58, 0.58), scored(0.6, 0.6, 0.6), config).blessed
    assert judge(scored(0.9, 0.6, 0.3), scored(0.9, 0.6, 0.4), dataclasses.replace(config, max_mean_iou_drop=1.0)).blessed


def test_largest_fall_that_was_borne_is_told() -> None:
    decision = judge(scored(0.91, 0.6, 0.295), GOOD)
    assert decision.blessed
    assert decision.reasons[-1] == "no class fell by more than 1.00 points (most: dog by 0.50)"


def test_perfect_model_on_a_split_of_one_class_is_not_held_to_be_blind() -> None:
    assert judge(measured([[50, 0, 0], [0, 0, 0], [0, 0, 0]])).blessed


def test_floor_of_a_class_that_the_truth_lacks_cannot_be_checked_though_the_model_answers_it() -> None:
    found = measured([[70, 5, 0], [0, 0, 0], [5, 0, 20]])
    assert found.metrics["iou/person"] == 0.0
    decision = judge(found, config=dataclasses.replace(GATE, min_iou="person=0.2"))
    assert decision.refusals == (
        "person occurs in no picture that was measured, so that its floor of 0.2000 cannot be checked",
    )
