"""Beam's options: which there are, and those that a user adds. Beam itself passes over a misspelt one in silence."""

import argparse
import contextlib
import difflib
import functools
import io
from collections.abc import Sequence

from apache_beam.options import pipeline_options

from components.errors import VocsegError


def parse(texts: Sequence[str]) -> tuple[str, ...]:
    """Returns options as Beam takes them, from what `--beam` says.

    Args:
        texts: each NAME=VALUE, or a switch's NAME.

    Raises:
        VocsegError: Beam has no such option (the message offers the nearest), or the option takes no such value.
    """
    return tuple(_parse(text) for text in texts)


def _parse(text: str) -> str:
    name, separator, _ = text.partition("=")
    action = _known().get(name)
    if action is None:
        near = difflib.get_close_matches(name.replace("-", "_"), list(_known()), n=3, cutoff=0.6)
        hint = f" Did you mean {' or '.join(near)}?" if near else " Give it as NAME=VALUE, without dashes before the name."
        raise VocsegError(f"--beam: Beam has no option {name!r}.{hint}")
    if name == "runner":
        raise VocsegError("--beam runner=... is what --runner says: give --runner local, dataflow or portable.")
    is_switch = action.nargs == 0
    if is_switch == bool(separator):
        how = f"a switch: give --beam {name}" if is_switch else f"no switch: give --beam {name}=VALUE"
        raise VocsegError(f"--beam: {name} is {how}; got {text!r}.")
    _check_value(action, text)
    return f"--{text}"


def _check_value(action: argparse.Action, text: str) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            _parser().parse_args([f"--{text}"])
    except (SystemExit, ValueError) as error:
        takes = f"one of {', '.join(map(str, action.choices))}" if action.choices else "another kind of value"
        raise VocsegError(f"--beam: {text.partition('=')[0]} takes {takes}; got {text!r}.") from error


def merge(own: Sequence[str], added: Sequence[str], fixed: bool) -> tuple[str, ...]:
    """Returns the options of a target with those that a user adds; an option that may be repeated keeps both.

    Args:
        own: of the target.
        added: of the user, from `parse`.
        fixed: the target's follow from the configuration, which alone may change them.

    Raises:
        VocsegError: a fixed one is said again.
    """
    said = {_action(text).dest for text in added if not _is_list(text)}
    again = [text for text in own if _action(text).dest in said]
    if fixed and again:
        raise VocsegError(f"--beam: the configuration says {', '.join(again)} already. Set its fields (cloud.*) instead.")
    return (*(text for text in own if text not in again), *added)


def _action(text: str) -> argparse.Action:
    return _known()[text.removeprefix("--").partition("=")[0]]


def _is_list(text: str) -> bool:
    return not isinstance(_action(text), argparse._StoreAction | argparse._StoreConstAction)


@functools.cache
def _known() -> dict[str, argparse.Action]:
    """Returns every option that Beam defines, by name, for whatever runner."""
    return {
        text.removeprefix("--"): action
        for action in _parser()._actions
        for text in action.option_strings
        if text.startswith("--") and action.dest != "help"
    }


@functools.cache
def _parser() -> argparse.ArgumentParser:
    """Returns a parser of Beam's options, without those that other packages and tests register."""
    parser = pipeline_options._BeamArgumentParser(allow_abbrev=False)
    for kind in vars(pipeline_options).values():
        if isinstance(kind, type) and issubclass(kind, pipeline_options.PipelineOptions):
            kind._add_argparse_args(parser)  # type: ignore[attr-defined]  # Of Any, for mypy.
    return parser
