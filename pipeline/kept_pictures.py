"""The pictures of a report, kept in the run's folder for a later run that has the same: to draw them takes the model."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from components.code_digest import code_digest
from pipeline import report_pictures
from pipeline.locations import write_file
from pipeline.report_pictures import Drawn, Gallery

if TYPE_CHECKING:
    from components.evaluation import ImageScore


def find_or_draw(
    chosen: Mapping[str, "Sequence[ImageScore]"], places: Sequence[str], folder: str, draw: Callable[[], Gallery]
) -> Gallery:
    """Returns what a run of this root has kept, or else draws and keeps it.

    Args:
        chosen: the pictures, with the digests of their predictions.
        places: of the artifacts that they are drawn from.
        folder: the run's.
        draw: does it.
    """
    name = f"pictures-{_key(chosen, places)}.json"
    for path in pathlib.Path(folder).parent.glob(f"*/{name}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # A damaged one is drawn anew.
            return _from_dict(json.loads(path.read_text()))
    gallery = draw()
    if _is_whole(gallery, chosen):
        with contextlib.suppress(OSError):  # Of somebody else's run, which may only be read.
            write_file(f"{folder}/{name}", json.dumps(dataclasses.asdict(gallery)).encode())
    return gallery


def _is_whole(gallery: Gallery, chosen: Mapping[str, "Sequence[ImageScore]"]) -> bool:
    """Tells whether all were drawn, and as they were evaluated: what is missing or other here may not be elsewhere."""
    drawn = [one for group in gallery.groups.values() for one in group]
    return len(drawn) == sum(map(len, chosen.values())) and not any(one.note and one.prediction for one in drawn)


def _key(chosen: Mapping[str, "Sequence[ImageScore]"], places: Sequence[str]) -> str:
    """Returns a digest of all that decides the pictures, the code among it."""
    scores = {group: [dataclasses.asdict(score) for score in scores] for group, scores in chosen.items()}
    facts = [scores, list(places), code_digest(report_pictures.__name__)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _from_dict(values: dict[str, Any]) -> Gallery:
    groups = {group: tuple(_drawn(one) for one in drawn) for group, drawn in values["groups"].items()}
    return Gallery(groups, tuple(tuple(color) for color in values["palette"]))


def _drawn(values: dict[str, Any]) -> Drawn:
    from components.evaluation import ImageScore

    whole = {"score": ImageScore(**values["score"]), "size": tuple(values["size"]), "classes": tuple(values["classes"])}
    return Drawn(**{**values, **whole})
