"""Commands that look at a data set."""

import argparse
from typing import Any

import pipeline_config
from components.errors import VocsegError
from pipeline import cli_options


def add_commands(commands: Any) -> None:
    """Adds data and its subcommands."""
    data = commands.add_parser("data", help="check a data set, describe it, draw it")
    of_data = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = of_data.add_parser("check", help="read it all, and tell what was found; exits with 3 where it is not clean")
    _add_data_arguments(check)
    check.add_argument("--json", metavar="FILE", help="write the report as JSON (-: to standard output)")
    cli_options.finish(check, _data_check)

    init = of_data.add_parser("init", help="guess its description, and write it down as TOML")
    init.add_argument("data", metavar="DIR", help="the data folder")
    init.add_argument("--output", metavar="FILE", help="where the TOML goes (default: DIR/vocseg.toml)")
    cli_options.finish(init, _data_init)

    show = of_data.add_parser("show", help="draw pictures, masks and overlays with a legend")
    _add_data_arguments(show)
    show.add_argument("--output", metavar="FILE", default="contact_sheet.png", help="the PNG (default: %(default)s)")
    show.add_argument(
        "--split", choices=("train", "validation", "test"), help="draw only this one (default: all; with --augment: train)"
    )
    show.add_argument("--count", metavar="N", type=int, default=8, help="how many pairs (default: %(default)s)")
    show.add_argument("--seed", metavar="N", type=int, default=0, help="which ones (default: %(default)s)")
    show.add_argument("--augment", action="store_true", help="draw them as training varies them, below what they are")
    show.add_argument("--variants", metavar="N", type=int, help="with --augment: how many of each (default: 3)")
    show.add_argument(
        "--preset", help=f"with --augment: {', '.join(pipeline_config.PRESETS)} (default: {cli_options.DEFAULT_PRESET})"
    )
    show.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="with --augment: override a field")
    cli_options.finish(show, _data_show)


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DIR", help="the data folder; {SPAN} in its path stands for a number")
    parser.add_argument("--spec", metavar="SPEC", default="", help="its description: a TOML file or a built-in data set")
    parser.add_argument("--span", metavar="SPAN", default="newest", help="newest (default), last:N, A-B or A")


def _data_check(arguments: argparse.Namespace) -> int:
    from pipeline.data import check

    return check(arguments.data, arguments.spec, arguments.span, arguments.json)


def _data_init(arguments: argparse.Namespace) -> int:
    from pipeline.data import init

    init(arguments.data, arguments.output)
    return 0


def _data_show(arguments: argparse.Namespace) -> int:
    augmented, split = None, arguments.split
    if arguments.augment:
        split = split or "train"  # No other one is varied.
        preset = pipeline_config.preset(arguments.preset or cli_options.DEFAULT_PRESET)
        augmented = pipeline_config.override(preset, cli_options.parse_assignments(arguments.set))
    elif arguments.preset or arguments.set or arguments.variants is not None:
        raise VocsegError("--preset, --set and --variants say how pictures are varied: give --augment, too.")
    from pipeline.data import show

    choice = (split, arguments.count, arguments.seed)
    variants = 3 if arguments.variants is None else arguments.variants
    show(arguments.data, arguments.spec, arguments.span, arguments.output, *choice, augmented, variants)
    return 0
