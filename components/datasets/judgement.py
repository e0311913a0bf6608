"""Whether a data set may be trained on, by what was found in it: one rule for a check and for a run."""

from components.datasets import leaks, report
from components.datasets.examples import check_quarantine
from components.errors import DataError


def judge(found: report.Report, max_quarantined_fraction: float) -> None:
    """Fails where the data must not be trained on.

    Args:
        found: in the data.
        max_quarantined_fraction: share of bad pairs that is borne, 0..1.

    Raises:
        DataError: too many bad pairs, a split of which nothing is left, or a picture in two splits.
    """
    check_quarantine(found.quarantined, found.listed, max_quarantined_fraction)
    for split, counted in found.splits.items():  # Nothing could be learned or measured on an empty split.
        if not counted.generated:
            shown = [str(record) for record in found.quarantined if record.split == split][:20]
            first = f"No usable pair is left of the {counted.listed} in the split {split}:"
            raise DataError("\n  ".join([first, *shown]) + "\nMend the files.")
    if void := report.void_splits(found):
        raise DataError(
            f"No pixel has a class in the split {' and '.join(void)}: its masks are void all over. "
            "`vocseg data check` shows what they hold; are mask.void_ids, mask.void_colors and mask.rest right?"
        )
    leaks.check_leaks(found.leaks)
