"""The gate: whether a model has earned its place, and why, in words."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from components import features, iou
from components.evaluation import Measured
from pipeline_config import EvaluateConfig


@dataclasses.dataclass(frozen=True)
class Decision:
    """What the gate decided.

    Attributes:
        reasons: all that was compared, in words.
        refusals: those of them for which the model is refused.
    """

    reasons: tuple[str, ...]
    refusals: tuple[str, ...]

    @property
    def blessed(self) -> bool:
        """Whether the model may be pushed."""
        return not self.refusals


@dataclasses.dataclass(frozen=True)
class _Finding:
    text: str
    good: bool = True


def judge(
    candidate: Measured,
    baseline: Measured | None,
    split: str,
    config: EvaluateConfig,
    class_names: Sequence[str],
    baseline_problem: str = "",
) -> Decision:
    """Judges a model by its measures on all images; what it does on slices is shown, and decides nothing.

    Args:
        candidate: its measures.
        baseline: the baseline's on the same images, or None.
        split: that was measured.
        config: floors and tolerances.
        class_names: in the order of the ids.
        baseline_problem: why there is no baseline although there should be; empty where there never was one.
    """
    score = candidate.metrics["mean_iou"]
    if score is None:
        text = "the mean IoU is not a number: there was no pixel to measure"
        return Decision((text,), (text,))
    findings = [
        *_floors(score, candidate, config, class_names),
        *_comparison(score, candidate, baseline, config, class_names, baseline_problem),
    ]
    if split != features.TEST_SPLIT:
        text = "measured on the validation split, which also chose the epoch: the data set has no test split"
        findings.append(_Finding(text))
    return Decision(
        tuple(finding.text for finding in findings), tuple(finding.text for finding in findings if not finding.good)
    )


def _floors(score: float, candidate: Measured, config: EvaluateConfig, class_names: Sequence[str]) -> Iterator[_Finding]:
    """Compares with what was asked for, and with an answer that has looked at nothing."""
    good = score >= config.min_mean_iou - _ROUNDING
    reached = "reaches" if good else "is below"
    yield _Finding(f"mean IoU {score:.4f} {reached} the floor of {config.min_mean_iou:.4f}", good)
    matrix = np.array(candidate.confusion_matrix)
    occurring = matrix.sum(1) > 0
    if config.beat_constant and occurring.sum() > 1:  # Of one class alone, the constant is the truth.
        commonest, constant = iou.constant_mean_iou(matrix)
        good = score > constant
        better = "better" if good else "no better"
        yield _Finding(f"it is {better} than {class_names[commonest]} everywhere, whose mean IoU is {constant:.4f}", good)
    for name, floor in config.class_floors:
        value = candidate.metrics[f"iou/{name}"]
        if value is None or not occurring[class_names.index(name)]:
            text = f"{name} occurs in no picture that was measured, so that its floor of {floor:.4f} cannot be checked"
            yield _Finding(text, good=False)
        else:
            good = value >= floor - _ROUNDING
            yield _Finding(f"{name}'s IoU {value:.4f} {'reaches' if good else 'is below'} its floor of {floor:.4f}", good)


def _comparison(
    score: float,
    candidate: Measured,
    baseline: Measured | None,
    config: EvaluateConfig,
    class_names: Sequence[str],
    baseline_problem: str,
) -> Iterator[_Finding]:
    """Compares with the baseline, as a whole and a class."""
    if baseline is None:
        yield _Finding(baseline_problem or "there is no earlier blessed model to compare with")
        return
    before = baseline.metrics["mean_iou"]
    assert before is not None  # The same images as the candidate's, which has a score.
    text = f"mean IoU {_moved(score - before)} from the baseline's {before:.4f}, allowed {_points(config.max_mean_iou_drop)}"
    yield _Finding(text, score - before >= -config.max_mean_iou_drop - _ROUNDING)
    # A class without a value is in neither truth nor mask: whoever leaves off finding it where it is not has not fallen.
    pairs = [(name, candidate.metrics[f"iou/{name}"], baseline.metrics[f"iou/{name}"]) for name in class_names]
    falls = [(theirs - ours, name) for name, ours, theirs in pairs if ours is not None and theirs is not None]
    bad = [(fall, name) for fall, name in falls if fall > config.max_iou_drop + _ROUNDING]
    for fall, name in bad:
        yield _Finding(f"{name} fell by {_points(fall)}, allowed {100 * config.max_iou_drop:.2f}", good=False)
    if falls and not bad:
        fall, name = max(falls, key=lambda one: one[0])
        worst = f" (most: {name} by {100 * fall:.2f})" if fall > 0 else ""
        yield _Finding(f"no class fell by more than {_points(config.max_iou_drop)}{worst}")


_ROUNDING = 1e-9
"""What is borne beyond a bound: 0.6 less 0.58 is a little more than 0.02."""


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"


def _moved(change: float) -> str:
    return f"fell by {_points(-change)}" if change < 0 else f"rose by {_points(change)}"
