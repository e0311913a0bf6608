"""`vocseg data`: checks a data set, guesses its description, draws it."""

import json
import os
import pathlib
import shlex
import sys
from typing import TYPE_CHECKING

import rich.console
import rich.table
import rich.text

from components.errors import DataError, VocsegError
from pipeline import console
from pipeline.locations import check_writable, write_output
from pipeline.request import check_folder, check_span

if TYPE_CHECKING:
    from components.datasets.report import Report, SplitReport
    from pipeline_config import PipelineConfig

NOT_CLEAN = 3
"""Exit status of a check that found something; 1 is an error, 2 a wrong command line."""

_SHOWN = 50
"""Problems that the terminal gets to see; JSON has them all."""


def _check_source(data: str, span: str = "newest") -> None:
    from components.datasets import files, spans

    check_span(data, span)
    if not files.is_remote(data) and not spans.has_span(data):
        check_folder(data)


def check(data: str, named: str, span: str, json_path: str | None) -> int:
    """Reads a data set and prints what was found.

    Args:
        data: the data folder, or a pattern of spans.
        named: its description's name or file, or empty.
        span: which spans are meant.
        json_path: where the report goes as JSON ("-": to standard output, instead of the table), or None.

    Returns:
        0 if it is clean, 3 if a run would refuse a pair of it, or all.

    Raises:
        DataError: there is no such data set in the folder.
    """
    _check_source(data, span)
    if json_path not in (None, "-"):
        check_writable(str(json_path), "--json")
    with console.working("reading") as folder:
        import apache_beam as beam

        from components.datasets import builder as builders
        from components.datasets import report
        from components.datasets.generate import generate
        from pipeline.datasets import find_spec

        notes: list[str] = []
        spec = find_spec(named, data, span, notes.append)
        builder = builders.make_builder(spec, data, span, folder)
        pairs = builder.pairs_by_split(builders.make_download_manager(builder, folder))
        oddities = builder.describe_oddities()
        options = beam.options.pipeline_options.PipelineOptions(["--runner=FnApiRunner", "--direct_running_mode=in_memory"])
        found = generate(lambda: beam.Pipeline(options=options), spec, pairs, folder, lambda examples: None)
    refusal = _refusal(found)
    clean = not refusal
    text = json.dumps(
        report.to_dict(found) | {"clean": clean, "refusal": refusal, "notes": notes, "oddities": oddities}, indent=1
    )
    if json_path == "-":
        print(text)
    else:
        _show(found, notes, oddities, refusal)
        if json_path:
            write_output(json_path, f"{text}\n".encode(), "--json")
    return 0 if clean else NOT_CLEAN


def _refusal(found: "Report") -> str:
    """Returns why a run would refuse the data, as it is by default; empty: it would not."""
    from components.datasets.judgement import judge

    try:
        judge(found, max_quarantined_fraction=0.0)
    except DataError as error:
        return str(error)
    return ""


def _show(found: "Report", notes: list[str], oddities: list[str], refusal: str) -> None:
    width = None if sys.stdout.isatty() else 160
    out = rich.console.Console(highlight=False, emoji=False, width=width)
    for note in notes:
        out.print(note, markup=False)
    out.print(_split_table(found))
    for name, split in found.splits.items():
        if split.generated:
            out.print(_describe_split(name, split), markup=False, soft_wrap=True)
    out.print(_class_table(found))
    for title, lines in (_findings(found) | ({"Oddities (a warning)": oddities} if oddities else {})).items():
        out.print(f"{title} ({len(lines)}):", markup=False)
        for line in lines[:_SHOWN]:
            out.print(f"  {line}", markup=False, soft_wrap=True)
        if len(lines) > _SHOWN:
            out.print(f"  ... and {len(lines) - _SHOWN} more; --json FILE has them all", markup=False)
    out.print(f"{found.dataset}: {'not clean' if refusal else 'clean'}", style="bold")
    if refusal:
        out.print(f"A run would refuse it: {refusal.splitlines()[0]}", markup=False, soft_wrap=True)


def _split_table(found: "Report") -> rich.table.Table:
    table = rich.table.Table(title="pairs")
    for column in ("split", "listed", "usable", "bad", "dropped", "void"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for name, split in found.splits.items():
        counts = map(str, (split.listed, split.generated, split.quarantined, split.dropped))
        table.add_row(*map(rich.text.Text, (name, *counts, f"{split.void_fraction:.1%}")))
    return table


def _describe_split(name: str, split: "SplitReport") -> str:
    """Returns sizes and kinds of a split's files in a line."""
    sizes = ", ".join(f"{size} ({count})" for size, count in list(split.sizes.items())[:3])
    more = f" and {split.distinct_sizes - 3} other sizes" if split.distinct_sizes > 3 else ""
    kinds = [", ".join(f"{kind} ({n})" for kind, n in counted.items()) for counted in (split.image_kinds, split.mask_kinds)]
    return f"{name}: {sizes}{more}; pictures {kinds[0]}; masks {kinds[1]}"


def _class_table(found: "Report") -> rich.table.Table:
    """Returns a row a class: share of the pixels that are not void, and pictures, by split."""
    table = rich.table.Table(title="classes: share of pixels, and pictures")
    table.add_column("id", justify="right")
    table.add_column("class")
    for name in found.splits:
        table.add_column(name, justify="right")
        table.add_column("pictures", justify="right")
    for index, name in enumerate(found.classes):
        row = [str(index), name]
        for split in found.splits.values():
            pixels, images = split.class_pixels.get(name, 0), split.class_images.get(name, 0)
            row += [f"{pixels / max(1, sum(split.class_pixels.values())):.2%}", str(images)]
        table.add_row(*map(rich.text.Text, row))
    return table


def _findings(found: "Report") -> dict[str, list[str]]:
    """Returns what was found amiss, by title; titles without a finding are left out."""
    lacking = {
        name: ", ".join(one for one in found.classes if not split.class_images.get(one))
        for name, split in found.splits.items()
        if split.generated
    }
    findings = {
        "Pairs that cannot be used": [str(record) for record in found.quarantined if record.cause == "bad"],
        "Pictures in two splits, pixel by pixel the same": [str(leak) for leak in found.leaks],
        "Left out of train, since another split has them": [str(one) for one in found.quarantined if one.cause == "leak"],
        "Pictures in two splits that look alike (a warning)": [str(pair) for pair in found.near_duplicates],
        "Classes that no picture of a split has (a warning)": [f"{name}: {lacks}" for name, lacks in lacking.items() if lacks],
        "Pictures that are void all over (a warning)": [
            f"{name}: {split.void_images} of {split.generated}" for name, split in found.splits.items() if split.void_images
        ],
    }
    return {title: lines for title, lines in findings.items() if lines}


def init(data: str, output: str | None) -> None:
    """Guesses a data folder's description, writes it as TOML and shows it.

    Args:
        data: the data folder.
        output: the file, or None for `vocseg.toml` in the data folder.

    Raises:
        DataError: nothing fits, or two descriptions do.
        VocsegError: there is a file already, or it cannot be written.
    """
    _check_source(data)
    from components.datasets.files import is_remote
    from components.datasets.spec import SPEC_FILE, to_toml

    if is_remote(data) and not output:
        raise VocsegError(f"{data} is not on this machine: give --output FILE, and later --spec FILE.")
    path = pathlib.Path(output or os.path.join(data, SPEC_FILE))
    if path.exists():
        raise VocsegError(f"{path} exists. Give --output another path, or move it away.")
    with console.working("looking"):
        from components.datasets.guess import guess

        guessed = guess(data)
    text = to_toml(guessed.spec)
    notes = "".join(f"# {note}\n" for note in guessed.notes)
    write_output(str(path), f"{notes}\n{text}".encode(), "--output", "Give another path: --output FILE.")
    spec = f" --spec {shlex.quote(str(path))}" if output else ""
    print(f"{notes}\n{text}\nWritten to {path}. Correct it where it is wrong. To try it:")
    print(f"  vocseg data check {shlex.quote(data)}{spec}")


def show(
    data: str,
    named: str,
    span: str,
    output: str,
    split: str | None,
    count: int,
    seed: int,
    augmented: "PipelineConfig | None" = None,
    variants: int = 3,
) -> None:
    """Draws pictures, masks and overlays of a data set, as they are or as training varies them.

    Args:
        data: the data folder, or a pattern of spans.
        named: its description's name or file, or empty.
        span: which spans are meant.
        output: the PNG.
        split: of which pairs are drawn, or None for all.
        count: how many pairs.
        seed: of the choice, and of the variants.
        augmented: where given, each pair is drawn at this configuration's size, and then as it is varied in training.
        variants: how many of each pair.

    Raises:
        DataError: there is no such data set in the folder, or no pair of it can be read.
        VocsegError: the picture cannot be written, or the configuration varies nothing.
    """
    _check_source(data, span)
    check_writable(output, "--output")
    for option, number in (("--count", count), ("--variants", variants)):
        if number < 1:
            raise VocsegError(f"{option} must be at least 1; got {number}.")
    with console.working("drawing") as folder:
        if augmented:
            _check_varies(augmented)
        from components.augment import for_classes
        from components.datasets import builder as builders
        from components.datasets import contact_sheet, varied
        from components.datasets.images import encode_png
        from pipeline.datasets import find_spec

        notes: list[str] = []
        spec = find_spec(named, data, span, notes.append)
        builder = builders.make_builder(spec, data, span, folder)
        pairs = builder.pairs_by_split(builders.make_download_manager(builder, folder))
        if split and split not in pairs:
            raise DataError(f"The data set {spec.name} has no split {split}; it has {', '.join(pairs)}.")
        chosen = contact_sheet.choose({split: pairs[split]} if split else pairs, count, seed)
        vary: contact_sheet.Vary = iter
        if augmented:
            vary = varied.varier(augmented.transform, for_classes(augmented.augment, spec.classes), variants, seed)
        sheet, unreadable = contact_sheet.draw(chosen, spec, vary)
    if len(unreadable) == len(chosen):
        shown = "\n  ".join(unreadable)
        raise DataError(f"None of the pairs that were chosen can be read:\n  {shown}")
    for line in (*notes, *unreadable):
        print(line, file=sys.stderr)
    write_output(output, encode_png(sheet), "--output")
    print(f"{len(chosen) - len(unreadable)} pairs of {spec.name}: {output}")


def _check_varies(config: "PipelineConfig") -> None:
    """Refuses to draw variants that are all alike.

    Raises:
        VocsegError: nothing is varied; says what could be.
    """
    from components.augment import varies

    if not varies(config.augment):
        raise VocsegError(
            f"The preset {config.preset} varies nothing in training: there is nothing to draw with --augment. Give --preset "
            "another one, or say what is varied, for instance --set augment.flip=true --set augment.max_scale=1.5; "
            f"`vocseg config --preset {config.preset}` lists the fields."
        )
