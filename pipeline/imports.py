"""Imports that take seconds, made shorter."""

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Pauses the garbage collector while TensorFlow is imported, with all that comes along; does nothing where it is there.

    Nearly all of that stays, and the collector would look through it again and again, during the imports and after them: of the
    18 s of a core that a run with nothing to do took, 2.4 s; now 0.6 s. So it is left aside for good, too. Not a second time:
    by then there may be a model which is no longer used.
    """
    if "tensorflow" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
