"""How far a long step is. Components report; whoever runs them decides what to show (on a worker: a line in its log)."""

import dataclasses
import logging

LOGGER = logging.getLogger("vocseg.progress")


@dataclasses.dataclass(frozen=True)
class Progress:
    """A state of a step.

    Attributes:
        done: units done so far.
        total: units in all, or 0 where that is not known.
        unit: what is counted, in the plural.
        detail: what else is worth saying, for instance a metric.
        before: units of `done` that an earlier run had done: they took this one no time.
    """

    done: int
    total: int
    unit: str
    detail: str = ""
    before: int = 0

    def __str__(self) -> str:
        """Returns, for instance, `3/12 epochs, loss 0.52`."""
        count = f"{self.done}/{self.total}" if self.total else f"{self.done}"
        return f"{count} {self.unit}" + (f", {self.detail}" if self.detail else "")


def report(done: int, total: int, unit: str, detail: str = "", at_once: bool = False, before: int = 0) -> None:
    """Says how far the running step is. Cheap, but call it a few times a second at most.

    Args:
        done: as in `Progress`.
        total: as in `Progress`.
        unit: as in `Progress`.
        detail: as in `Progress`.
        at_once: a user should see it now, also where lines of progress are held back.
        before: as in `Progress`.
    """
    progress = Progress(done, total, unit, detail, before)
    LOGGER.log(logging.WARNING if at_once else logging.INFO, "%s", progress, extra={"progress": progress})
