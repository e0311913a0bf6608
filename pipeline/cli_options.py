"""Options that several commands share, and what they say of a run's configuration."""

import argparse
from collections.abc import Callable, Sequence

import pipeline_config
from pipeline.locations import DEFAULT_LOCAL

DEFAULT_ROOT = "output"
DEFAULT_PRESET = "voc2007"


def positive(text: str) -> int:
    """Returns a whole number of 1 or more; argparse makes the error of what is none."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more; got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """Returns a duration of 0 or more; argparse makes the error of what is none."""
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, 0 or more; got {text!r}")
    return value


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds where outputs lie."""
    parser.add_argument("--root", metavar="DIR", default=DEFAULT_ROOT, help="where outputs lie (default: %(default)s)")


def add_local(parser: argparse.ArgumentParser) -> None:
    """Adds where the records of a root in a store lie."""
    parser.add_argument(
        "--local",
        metavar="DIR",
        default=DEFAULT_LOCAL,
        help="where metadata, locks and logs lie if the root is in a store, as gs://... (default: %(default)s)",
    )


def add_beam(parser: argparse.ArgumentParser) -> None:
    """Adds other options of Beam's."""
    parser.add_argument(
        "--beam", metavar="NAME=VALUE", action="append", default=[], help="another option of Beam's; may be repeated"
    )


def finish(parser: argparse.ArgumentParser, function: Callable[[argparse.Namespace], int]) -> None:
    """Adds what every command has, and what runs it."""
    parser.add_argument("--debug", action="store_true", help="print a traceback with an error")
    parser.set_defaults(function=function)


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what says a run's configuration."""
    add_preset_arguments(parser)
    parser.add_argument("--epochs", metavar="N", help="short for --set train.epochs=N")
    parser.add_argument("--seed", metavar="N", help="short for --set train.seed=N")


def add_preset_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the preset and what is changed of it."""
    parser.add_argument("--preset", default=DEFAULT_PRESET, help=f"{', '.join(pipeline_config.PRESETS)} (default: %(default)s)")
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="override a field; may be repeated")


def effective_config(arguments: argparse.Namespace) -> pipeline_config.PipelineConfig:
    """Returns the preset with the overrides of the command line.

    Raises:
        ConfigError: a preset, field or value that cannot be.
    """
    short = {
        "train.epochs": arguments.epochs,
        "train.seed": arguments.seed,
        "data.spec": getattr(arguments, "spec", None),
        "data.span": getattr(arguments, "span", None),
        "cloud.project": getattr(arguments, "project", None),
        "cloud.region": getattr(arguments, "region", None),
        "cloud.service_account": getattr(arguments, "service_account", None),
        "train.warm_start": "true" if getattr(arguments, "warm_start", False) else None,
    }
    assignments = {name: value for name, value in short.items() if value is not None}
    return pipeline_config.override(pipeline_config.preset(arguments.preset), assignments | parse_assignments(arguments.set))


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Returns what --set says, by field.

    Raises:
        ConfigError: it is no assignment.
    """
    assignments = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator:
            raise pipeline_config.ConfigError(f"--set takes FIELD=VALUE, for instance train.batch_size=8; got {text!r}.")
        assignments[name.strip()] = value.strip()
    return assignments


def refuse_store(arguments: argparse.Namespace, command: str) -> None:
    """Fails where a command that needs pushed models on this machine gets a root in a store."""
    from pipeline.locations import refuse_store

    copy = f"Copy its models here, as by `gcloud storage cp -r {arguments.root}/models DIR`, and give --root DIR."
    refuse_store(arguments.root, f"vocseg {command}", copy)
