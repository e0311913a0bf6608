"""`vocseg predict`: finds the model, shows progress, prints the table."""

import os
import pathlib
import sys
import warnings
from collections import Counter
from collections.abc import Sequence

import rich.console
import rich.progress
import rich.table
import rich.text

from components.errors import ModelError, VocsegError


def newest_model(root: str) -> pathlib.Path:
    """Returns the newest version that any pipeline of a root has pushed.

    Raises:
        ModelError: there is none.
    """
    models = [path.parent for path in pathlib.Path(root, "models").glob("*/*/saved_model.pb")]
    found = [path for path in models if path.name.isdecimal()]
    if not found:
        raise ModelError(f"No model has been pushed in {root}. Give --model or --root, or make one: `vocseg run`.")
    return max(found, key=lambda path: int(path.name))


def predict(folder: pathlib.Path | None, images: Sequence[pathlib.Path], out: pathlib.Path, root: str) -> int:
    """Predicts, and prints a table of pixels a label.

    Args:
        folder: of the model, or None for the newest pushed.
        images: the pictures.
        out: where masks and overlays go.
        root: where pushed models are looked for.

    Returns:
        0, or 1 where a picture could not be read.

    Raises:
        VocsegError: no model, no pictures, or a path that cannot be used.
    """
    folder = folder or newest_model(root)
    images = list(dict.fromkeys(images))  # A picture that is named twice is done once.
    missing = [path for path in images if not path.is_file()]
    if missing:
        raise VocsegError(f"There is no file {missing[0]}" + (f", nor {len(missing) - 1} others." if missing[1:] else "."))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VocsegError(f"--out: the folder {out} cannot be made: {error.strerror}. Give another one.") from error
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow's own complaint of each bad picture: ours says more.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"google\..*")  # Of Python's age; TensorFlow's import.
    from components.prediction import Model, predict_files

    model = Model(folder)
    console = rich.console.Console(highlight=False, soft_wrap=True, emoji=False)
    pixels: Counter[str] = Counter()
    bad = 0
    shown = rich.console.Console(file=sys.stderr)
    with rich.progress.Progress(console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task("predict", total=len(images))
        for prediction in predict_files(model, images, out):
            bar.advance(task)
            pixels.update(prediction.pixels)
            if prediction.error:
                bad += 1
                print(f"{prediction.image}: {prediction.error}", file=sys.stderr)
    table = rich.table.Table(title=f"{len(images) - bad} pictures")
    for column in ("label", "pixels", "share"):
        table.add_column(column, justify="left" if column == "label" else "right")
    for name in model.class_names:
        if pixels[name]:
            table.add_row(rich.text.Text(name), f"{pixels[name]:,}", f"{pixels[name] / pixels.total():.1%}")
    console.print(table)
    console.print(f"model {folder}\nmasks and overlays in {out}", markup=False)
    if bad:
        print(f"error: {bad} of {len(images)} pictures could not be read; they are named above.", file=sys.stderr)
    return 1 if bad else 0
