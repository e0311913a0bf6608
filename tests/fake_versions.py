"""Folders with the files of a SavedModel, and what lies in a folder, found with other means than the code under test."""

import os
import pathlib
import random


def write_model(folder: pathlib.Path, seed: int = 0, files: int = 4, size_bytes: int = 1000) -> pathlib.Path:
    """Writes something with the files of a SavedModel."""
    content = random.Random(seed)
    names = ["saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
    names += [f"assets.extra/{number}/weights" for number in range(files - len(names))]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.randbytes(size_bytes))
    (folder / "assets").mkdir(exist_ok=True)  # TensorFlow writes it, empty as it is.
    return folder


def contents(folder: pathlib.Path) -> dict[str, bytes | None]:
    """Returns all that lies below a folder."""
    found: dict[str, bytes | None] = {}
    for parent, folders, files in os.walk(folder):
        found |= {os.path.relpath(os.path.join(parent, name), folder): None for name in folders}
        for name in files:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = pathlib.Path(path).read_bytes()
    return found
