"""`vocseg predict`: finds the model and the pictures, shows progress, writes the JSON lines, prints the table."""

import contextlib
import dataclasses
import json
import os
import pathlib
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import rich.console
import rich.progress
import rich.table
import rich.text

from components.errors import VocsegError
from components.served_models import newest_model
from pipeline.imports import uncollected
from pipeline.locations import check_writable
from pipeline.pictures import LIST, find_pictures
from pipeline.quiet import quiet_tensorflow

Write = Callable[[dict[str, Any]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """What `vocseg predict` does beyond one mask and one overlay a picture.

    Attributes:
        json: file of a JSON line a picture, "-" for the standard output, None for none.
        min_area_px: of a region that counts, None for a share of the picture.
        tta: look at each picture at several scales and mirrored, too.
        tile: look at each picture at its own resolution, in tiles.
    """

    json: str | None = None
    min_area_px: int | None = None
    tta: bool = False
    tile: bool = False


def predict(folder: pathlib.Path | None, names: Sequence[str], out: pathlib.Path, root: str, options: Options) -> int:
    """Predicts, and prints a table of pixels a label.

    Args:
        folder: of the model, or None for the newest pushed.
        names: of the pictures, as `find_pictures` takes them.
        out: where masks and overlays go.
        root: where pushed models are looked for.
        options: the rest.

    Returns:
        0, or 1 where a picture could not be read.

    Raises:
        VocsegError: no model, no pictures, or a path that cannot be used.
    """
    folder = folder or newest_model(root)
    places = find_pictures(names, sys.stdin.buffer if LIST in names else (), out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VocsegError(f"--out: the folder {out} cannot be made: {error.strerror}. Give another one.") from error
    if options.json not in (None, "-"):
        check_writable(options.json, "--json")
    quiet_tensorflow()
    with uncollected():
        from components.predicted_files import output_paths, predict_files, to_record
        from components.prediction import Method, Model

    model = Model(folder)
    outputs = output_paths(places, out, places)
    used = (path for image, pair in outputs.items() for path in (image, *pair))
    if options.json and pathlib.Path(options.json).resolve() in (path.resolve() for path in used):
        raise VocsegError(f"--json: {options.json} is a picture of this run. Give another path.")
    pixels: Counter[str] = Counter()
    bad = 0
    with _json_lines(options.json) as write, _progress(len(outputs)) as advance:
        method = Method(tta=options.tta, tile=options.tile)
        scored = options.json is not None
        for prediction in predict_files(model, outputs, method=method, scored=scored, min_area_px=options.min_area_px):
            advance()
            pixels.update(prediction.pixels)
            write(to_record(prediction, model.class_names))
            if prediction.error:
                bad += 1
                print(f"{prediction.image}: {prediction.error}", file=sys.stderr)
    # The standard output has nothing but JSON if it has any.
    stream = sys.stderr if options.json == "-" else sys.stdout
    console = rich.console.Console(file=stream, highlight=False, soft_wrap=True, emoji=False)
    console.print(_table(pixels, model.class_names, len(outputs) - bad))
    console.print(f"model {folder}\nmasks and overlays in {out}", markup=False)
    if bad:
        print(f"error: {bad} of {len(outputs)} pictures could not be read; they are named above.", file=sys.stderr)
    return 1 if bad else 0


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """Shows on a terminal how many pictures are done, and the time to go; yields what counts one."""
    shown = rich.console.Console(file=sys.stderr)
    columns = (
        "{task.description}",
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeRemainingColumn(),
    )
    # The standard output stays apart: JSON lines go there.
    with rich.progress.Progress(
        *columns, console=shown, transient=True, disable=not shown.is_terminal, redirect_stdout=False
    ) as bar:
        task = bar.add_task("predict", total=total)
        yield lambda: bar.advance(task)


@contextlib.contextmanager
def _json_lines(path: str | None) -> Iterator[Write]:
    """Yields what writes a line: to the standard output at once, or to a file that is there, whole, only at the end.

    Raises:
        VocsegError: the file cannot be written.
    """
    if path is None:
        yield lambda record: None
        return
    if path == "-":
        yield lambda record: print(json.dumps(record), flush=True)
        return
    partial = pathlib.Path(path).with_name(f".{pathlib.Path(path).name}.{uuid.uuid4().hex[:8]}")
    with _naming(path):
        file = partial.open("w")

    def write(record: dict[str, Any]) -> None:
        with _naming(path):
            print(json.dumps(record), file=file)

    try:
        yield write
        with _naming(path):
            file.close()
            os.replace(partial, path)
    finally:
        with contextlib.suppress(OSError):
            file.close()
        partial.unlink(missing_ok=True)  # After an error or an interrupt.


@contextlib.contextmanager
def _naming(path: str) -> Iterator[None]:
    """Makes of an error of writing the JSON file one that names it."""
    try:
        yield
    except OSError as error:
        raise VocsegError(f"--json: {path} cannot be written: {error.strerror}. Give another path.") from error


def _table(pixels: Counter[str], class_names: Sequence[str], pictures: int) -> rich.table.Table:
    """Returns pixels and their share by label, of those that occur."""
    table = rich.table.Table(title=f"{pictures} pictures")
    for column in ("label", "pixels", "share"):
        table.add_column(column, justify="left" if column == "label" else "right")
    for name in class_names:
        if pixels[name]:
            table.add_row(rich.text.Text(name), f"{pixels[name]:,}", f"{pixels[name] / pixels.total():.1%}")
    return table
