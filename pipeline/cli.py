"""The command line. Heavy imports stand inside the commands' functions, so that `--help` answers at once."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence

import pipeline_config
from components.errors import VocsegError
from pipeline import cli_bench, cli_data, cli_models, cli_runs, cli_vertex

_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line.

    Args:
        argv: the arguments, by default the process's.

    Returns:
        The exit status: 0 if all went well, 1 after an error, 2 for a wrong command line, 130 after an interrupt.
    """
    arguments = _parser().parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    try:
        status = arguments.function(arguments)
        sys.stdout.flush()
        return status
    except (VocsegError, pipeline_config.ConfigError) as error:
        return _fail(str(error), arguments.debug)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # The reader of our output has gone, as in `vocseg runs | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        from pipeline.console import is_interrupt, shorten

        if is_interrupt(error):
            return _interrupted()

        from pipeline import retries

        if retries.is_transient(error):
            hint = (
                "The disk, the network or a server fails there: see to it, and run the same command again. A picture or mask "
                "that a disk has lost is to be restored; or take it out of the lists."
            )
            return _fail(f"{retries.explain(error)}\n{hint}", arguments.debug)
        unexpected = "This is not an error that vocseg expects. The run's log, or --debug, tells more."
        return _fail(f"{shorten(error)}\n{unexpected}", arguments.debug)


def _interrupted() -> int:
    print("interrupted; run the same command again to go on", file=sys.stderr)
    return _INTERRUPTED


def _fail(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"error: {message}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vocseg", description="From VOC-style masks to a segmentation model that has earned its place."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for subject in (cli_runs, cli_vertex, cli_data, cli_models, cli_bench):
        subject.add_commands(commands)
    return parser
