"""Runs benchmarks: `vocseg bench [NAME ...] --data DIR`, or `python -m benchmarks` with the same arguments.

Nothing heavy is imported before a benchmark runs, so that `--help` answers at once.
"""

import argparse
import importlib
import json
import os
import pathlib
import shutil
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from components.errors import VocsegError
from pipeline import quiet
from pipeline.console import is_interrupt
from pipeline.locations import check_writable

NAMES = {
    "cold_start": "load and first answer of an exported model in a fresh process, beside its second answer",
    "epoch": "an epoch of the Trainer's loop, beside bare Keras on arrays in memory",
    "evaluation": "the Evaluator at the pictures' own size, beside a bare loop: model, resize, argmax, bincount",
    "generation": "a folder to TFRecord, beside the files' bytes copied plus one decode",
    "inputs": "transformed records to batches, from disk and from the cache, beside uncompressed raw records",
    "memory": "peak memory of a whole run on 632 and on 6,320 pictures",
    "metric": "two encoded masks to a confusion matrix, beside TFMA's SemanticSegmentation metrics",
    "prediction": "`vocseg predict` once running, beside the bare network on a ready batch",
    "pytorch": "an epoch of the Trainer's loop, beside the same networks in PyTorch (--torch)",
    "transform": "the Transform component, beside a bare tf.data loop: decode, resize, write",
    "unchanged": "a run in which nothing changed, and `vocseg --help`",
    "whole": "a cold run of three epochs, beside one script of its bare parts",
    "workers": "a folder to TFRecord on 6,320 pictures with two Beam workers, beside one",
}
"""The benchmarks, each a module here with `run(data, turns)`, and what they compare."""

TORCH = "TORCH_PYTHON"
"""The environment variable that says which Python has PyTorch, where `--torch` does not."""

_SHARED = "$VOCSEG_SHARED_DATA/voc2007"
_STATUSES = "Exits with 0, also where an aim is missed; 1: a benchmark failed; 2: a wrong command line; 130: interrupted."


def main(argv: Sequence[str] | None = None) -> int:
    """Prints the table, and writes it as JSON with the machine's description.

    Returns:
        0, also where an aim is missed; 1 if a benchmark failed, 130 after an interrupt. A wrong command line exits with 2.
    """
    parser = _parser()
    arguments = parser.parse_args(argv)
    _check(arguments, parser)
    quiet.quiet_tfx()
    if python := shutil.which(arguments.torch or ""):
        os.environ[TORCH] = os.path.abspath(python)
    rows: list[Any] = []
    found: list[dict[str, Any]] = []
    failed: dict[str, str] = {}
    for name in arguments.names or NAMES:
        load = round(os.getloadavg()[0], 2)
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            new = importlib.import_module(f"benchmarks.{name}").run(arguments.data, arguments.turns)
            rows += new
            found += [{"benchmark": name, "load_before": load, **_to_dict(row)} for row in new]
        except (Exception, KeyboardInterrupt) as error:  # The others are worth having.
            failed[name] = "interrupted" if is_interrupt(error) else _tell(name, error, arguments.debug)
            if failed[name] == "interrupted":
                print(failed[name], file=sys.stderr)
                break
        finally:
            _write(found, failed, arguments.output)
    if rows:
        from benchmarks.harness import to_markdown

        print(to_markdown(rows), flush=True)
    return 130 if "interrupted" in failed.values() else int(bool(failed))


def _shared() -> pathlib.Path | None:
    """Returns where the tests have the real data, if they have."""
    folder = os.environ.get("VOCSEG_SHARED_DATA")
    return pathlib.Path(folder, "voc2007") if folder else None


def _parser() -> argparse.ArgumentParser:
    lines = [f"  {name:<12} {text}" for name, text in NAMES.items()]
    parser = argparse.ArgumentParser(
        prog="vocseg bench",
        description="Runs each NAME in turn with its reference, after a warm-up; prints rates and their ratio.",
        epilog="\n".join(["names:", *lines, "", _STATUSES]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="one of those below (default: all)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=pathlib.Path,
        default=_shared(),
        help=f"a folder that holds VOCdevkit/VOC2007 (default: {_SHARED})",
    )
    parser.add_argument(
        "--turns", metavar="N", type=int, default=5, help="how often each way runs after the warm-up (default: %(default)s)"
    )
    parser.add_argument("--output", metavar="FILE", type=pathlib.Path, help="write the result as JSON")
    parser.add_argument(
        "--torch", metavar="PYTHON", default=os.environ.get(TORCH), help=f"an interpreter that has PyTorch (default: ${TORCH})"
    )
    parser.add_argument("--debug", action="store_true", help="print a traceback with an error")
    return parser


def _check(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Exits with 2 over what would fail later, or after hours."""
    if unknown := [name for name in arguments.names if name not in NAMES]:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if arguments.data is None:
        parser.error("give --data DIR, a folder that holds VOCdevkit/VOC2007 (pictures, masks and lists); none is looked for")
    if not (arguments.data / "VOCdevkit" / "VOC2007").is_dir():
        parser.error(f"--data: there is no VOCdevkit/VOC2007 in {arguments.data}; give the folder that holds it")
    if "pytorch" in arguments.names and not arguments.torch:
        parser.error(f"pytorch needs --torch PYTHON, or {TORCH}: an interpreter that has PyTorch, which is not installed here")
    if "pytorch" in (arguments.names or NAMES) and arguments.torch and not shutil.which(arguments.torch):
        parser.error(f"--torch: expected an interpreter of Python; {arguments.torch} cannot be executed")
    if arguments.turns < 1:
        parser.error(f"--turns: expected 1 or more; got {arguments.turns}")
    if arguments.output:
        try:
            check_writable(str(arguments.output), "--output")
        except VocsegError as error:
            parser.error(str(error))


def _tell(name: str, error: Exception, debug: bool) -> str:
    """Says that a benchmark failed; returns why, without the pages that TensorFlow's errors run to."""
    from pipeline.console import shorten

    if debug:
        traceback.print_exception(error)
    reason = shorten(error)
    print(f"error: {name} failed: {reason}" + ("" if debug else "\n--debug tells more."), file=sys.stderr)
    return reason


def _to_dict(row: Any) -> dict[str, Any]:
    from benchmarks.harness import to_dict

    return to_dict(row)


def _write(found: Sequence[dict[str, Any]], failed: dict[str, str], output: pathlib.Path | None) -> None:
    """Writes what has been measured so far: the rest may take hours."""
    from benchmarks.harness import describe_machine

    if output:
        result = {"machine": describe_machine(), "rows": found, "failed": failed}
        output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Folders and processes are to be cleaned up.
    sys.exit(main())
