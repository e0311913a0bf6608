"""The model that is being served: the highest version of a folder, taken up while requests go on."""

import contextlib
import dataclasses
import io
import os
import pathlib
import threading
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import PIL.Image

from components import versions
from components.errors import ModelError
from components.features import Color

Answer = tuple[np.ndarray | None, np.ndarray | None, str]
"""A picture's mask, uint8 [H, W], its scores, float32 [H, W] in [0, 1], and the error: "" or why there is no mask."""

_Files = frozenset[tuple[str, int, int]]


class Model(Protocol):
    """What is asked of a loaded model; `prediction.Model` is one."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Returns the names in the order of the ids."""

    @property
    def palette(self) -> tuple[Color, ...]:
        """Returns the colour of each class."""

    @property
    def signatures(self) -> frozenset[str]:
        """Returns the names of the signatures."""

    def answer(self, encoded: list[bytes]) -> list[tuple[bytes, str]]:
        """Returns PNG and error for each encoded picture."""

    @property
    def max_pixels(self) -> int:
        """Returns how large a picture may be."""

    def predict_each(self, encoded: list[bytes], scored: bool = False) -> Iterator[Answer]:
        """Yields mask, scores and error for each encoded picture."""


@dataclasses.dataclass(frozen=True)
class Served:
    """A model that is ready.

    Attributes:
        version: its number.
        folder: where it was loaded from.
        model: it.
    """

    version: int
    folder: pathlib.Path
    model: Model


class ServedModels:
    """Serves the highest version of a folder that loads, and follows what is pushed, pruned and rolled back.

    Whoever took `current` keeps that model until the request is done; then it is released.

    Args:
        folder: of a version, which then stays, or of versions.
        load: loads a version's folder.
        report: is told, once a version, that it does not load.
    """

    def __init__(
        self, folder: pathlib.Path, load: Callable[[pathlib.Path], Model], report: Callable[[str], None] = print
    ) -> None:
        """Loads the first model.

        Raises:
            ModelError: there is none, or none that loads.
        """
        self._folder, self._load, self._report = folder, load, report
        self._refused: dict[pathlib.Path, _Files] = {}
        self._fixed = (folder / "saved_model.pb").is_file()
        if self._fixed:
            self._current = self._warm(folder)
            return
        found = candidates(folder)
        if not found:
            raise ModelError(
                f"There is no model in {folder}: expected a SavedModel, or versions of one, folders with a number for a name. "
                "Give --model or --root, or make one: `vocseg run`."
            )
        first = self._newest(found)
        if first is None:
            raise ModelError(f"None of the {len(found)} version(s) in {folder} can be loaded; the reasons are above.")
        self._current = first

    @property
    def current(self) -> Served:
        """Returns the model for a request; to be taken once a request."""
        return self._current

    def poll(self) -> bool:
        """Looks for another version, loads and warms it up, and only then serves it; returns whether it did.

        Where all versions are gone, the last one is served on.
        """
        if self._fixed:
            return False
        found = candidates(self._folder)
        if not found or found[0] == self._current.folder:
            return False
        newest = self._newest(found)
        if newest is None or newest is self._current:
            return False
        self._current = newest
        return True

    @contextlib.contextmanager
    def following(self, interval_s: float = 1.0) -> Iterator[None]:
        """Polls in a thread of its own, while it lasts."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(interval_s):
                with contextlib.suppress(Exception):  # Of the report, mostly; the next look may find what is good.
                    self.poll()

        thread = threading.Thread(target=watch, name="versions", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(timeout=5)

    def _newest(self, found: list[pathlib.Path]) -> Served | None:
        """Returns the first that is served already or loads; one that did not load is tried again once its files change."""
        serving = getattr(self, "_current", None)
        for path in found:
            if serving and path == serving.folder:
                return serving
            files = _files(path)
            if self._refused.get(path) == files:
                continue
            try:
                return self._warm(path)
            except Exception as error:  # TensorFlow raises many kinds, and the watching must go on.
                self._refused[path] = files
                self._report(f"version {path.name} is passed over: {error}")
        return None

    def _warm(self, path: pathlib.Path) -> Served:
        """Loads a version and lets it answer each way once: the first answer takes longer than those after it."""
        model = self._load(path)
        picture = [_small_picture()]
        for error in (model.answer(picture)[0][1], next(iter(model.predict_each(picture, scored=True)))[2]):
            if error:
                raise ModelError(f"{path} does not answer a good picture: {error}")
        return Served(int(path.name) if path.name.isdecimal() else 1, path, model)


def candidates(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the versions in a folder, highest first, that hold a SavedModel."""
    try:
        found = versions.versions(folder)
    except OSError:
        return []
    return [path for path in reversed(found) if (path / "saved_model.pb").is_file()]


def newest_model(root: str) -> pathlib.Path:
    """Returns the newest version that any pipeline of a root has pushed.

    Raises:
        ModelError: there is none.
    """
    found = [path for folder in pathlib.Path(root, "models").glob("*") for path in candidates(folder)]
    if not found:
        raise ModelError(f"No model has been pushed in {root}. Give --model or --root, or make one: `vocseg run`.")
    return max(found, key=lambda path: int(path.name))


def _files(folder: pathlib.Path) -> _Files:
    """Returns name, size and time stamp of each file of a version."""
    found = set()
    for here, _, names in os.walk(folder):  # It passes over folders that are being removed.
        for path in (os.path.join(here, name) for name in names):
            with contextlib.suppress(OSError):
                state = os.stat(path)
                found.add((path, state.st_size, state.st_mtime_ns))
    return frozenset(found)


def _small_picture() -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()
