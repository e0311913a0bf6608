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
    good = score >= config.min_mean_iou
    reached = "reaches" if good else "is below"
    yield _Finding(f"mean IoU {score:.4f} {reached} the floor of {config.min_mean_iou:.4f}", good)
    if config.beat_constant:
        commonest, constant = iou.constant_mean_iou(np.array(candidate.confusion_matrix))
        if not score > constant:
            text = f"it is no better than {class_names[commonest]} everywhere, whose mean IoU is {constant:.4f}"
            yield _Finding(text, good=False)
    for name, floor in config.class_floors:
        value = candidate.metrics[f"iou/{name}"]
        if value is None:
            yield _Finding(f"{name} occurs nowhere, so that its floor of {floor:.4f} cannot be checked", good=False)
        else:
            good = value >= floor
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
    if before is None:
        return  # Then the candidate has none, either.
    change, allowed = score - before, f"allowed to fall by {100 * config.max_mean_iou_drop:.2f}"
    text = f"{100 * change:+.2f} points against the baseline's {before:.4f} ({allowed})"
    yield _Finding(text, change >= -config.max_mean_iou_drop)
    for name in class_names:
        ours, theirs = candidate.metrics[f"iou/{name}"], baseline.metrics[f"iou/{name}"]
        # A class without a value is in neither truth nor mask: whoever leaves off finding it where it is not has not fallen.
        if ours is not None and theirs is not None and theirs - ours > config.max_iou_drop:
            text = f"{name} fell by {100 * (theirs - ours):.2f} points, allowed {100 * config.max_iou_drop:.2f}"
            yield _Finding(text, good=False)
