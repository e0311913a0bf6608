"""An evaluation of three classes, made by hand."""

from components.evaluation import OVERALL, Evaluation, ImageScore, Measured, Slice

NAMES = ("background", "cat", "<script>alert(1)</script>")
"""The last as whoever makes the data may call a class."""


def make_measured(iou: tuple[float | None, ...], interval: tuple[float, float] | None = None, images: int = 4) -> Measured:
    """Returns what a model with these IoU scores by; accuracy is 0.1 above, Dice as it follows, boundary IoU half."""
    present = [value for value in iou if value is not None]
    mean = sum(present) / len(present) if present else None
    metrics: dict[str, float | None] = {
        "mean_iou": mean,
        "pixel_accuracy": 0.9,
        "mean_accuracy": 0.8,
        "mean_dice": 0.7,
        "mean_boundary_iou": 0.6,
        "example_count": images,
    }
    for name, value in zip(NAMES, iou, strict=True):
        none = value is None
        metrics[f"iou/{name}"] = value
        metrics[f"accuracy/{name}"] = None if none else value + 0.1
        metrics[f"dice/{name}"] = None if none else 2 * value / (1 + value)
        metrics[f"boundary_iou/{name}"] = None if none else value / 2
    return Measured(metrics=metrics, confusion_matrix=[[90, 10, 0], [3, 1, 0], [0, 0, 0]], interval=interval)


def make_evaluation(baseline: bool = True, blessed: bool = False) -> Evaluation:
    """Returns an evaluation in which the cat has fallen and the third class does not occur in the candidate."""
    before = make_measured((0.7, 0.6, 0.2), (0.4, 0.6)) if baseline else None
    floor, fall = "mean IoU 0.5500 reaches the floor", "IoU of cat falls by 30.00 points"
    return Evaluation(
        split="test",
        class_names=NAMES,
        overall=Slice(group=OVERALL, value="", candidate=make_measured((0.8, 0.3, None), (0.45, 0.65)), baseline=before),
        change_interval=(-0.02, 0.12) if baseline else None,
        slices=(
            Slice(group="contains", value=NAMES[2], candidate=make_measured((None, None, None), images=0), baseline=None),
            Slice(group="size", value="to 0.1 megapixels", candidate=make_measured((0.5, 0.1, None)), baseline=before),
        ),
        images=(
            ImageScore(filename="<b>a</b>.jpg", mean_iou=0.1, baseline_mean_iou=0.3, mask_sha256="0" * 64),
            ImageScore(filename="b.jpg", mean_iou=None, baseline_mean_iou=None, mask_sha256="0" * 64),
        ),
        blessed=blessed,
        reasons=(floor,) if blessed else (floor, fall),
        refusals=() if blessed else (fall,),
    )
