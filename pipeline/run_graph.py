"""The graph of a run, made and walked, with the root's lock held."""

import contextlib
import functools
import logging
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from components.code_digest import code_digest
from components.datasets import fake_voc, files
from components.errors import VocsegError
from pipeline import console, full_disk, metadata_server, runs
from pipeline.imports import uncollected
from pipeline.locations import Locations
from pipeline.request import Request
from pipeline_config import PipelineConfig

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2

    from components.datasets.spec import DatasetSpec
    from pipeline.profile import Profile
    from pipeline.runners import Step

_Result = TypeVar("_Result")


@contextlib.contextmanager
def no_arguments() -> Iterator[None]:
    """Hides our command line: TFX parses `sys.argv` with absl, whose flags are not ours."""
    before = sys.argv
    sys.argv = before[:1]
    try:
        yield
    finally:
        sys.argv = before


def beam_args_of(request: Request, config: PipelineConfig) -> tuple[str, ...]:
    """Returns the added options as Beam takes them, before anything is written; a plain run is not delayed by an import.

    Raises:
        VocsegError: Beam has no such option, or it does not go with the runner.
    """
    if request.runner == "local" and not request.beam:
        return ()
    with console.output_to(pathlib.Path(os.devnull)):  # Beam and TensorFlow talk when they are imported.
        with uncollected():
            from pipeline import beam_options, targets

        beam_args = beam_options.parse(request.beam)
        targets.check_beam_args(request.runner, config, beam_args)
    return beam_args


def run_graph(
    config: PipelineConfig,
    locations: Locations,
    summary: runs.Summary,
    view: console.RunView,
    runner: str = "local",
    beam_args: Sequence[str] = (),
    profile: "Profile | None" = None,
) -> "dict[str, Step]":
    """Runs the steps, and notes each in the summary as it ends.

    Args:
        config: the run.
        locations: where it reads and writes.
        summary: gets a row a step.
        view: is shown what happens.
        runner: where Beam's work is done.
        beam_args: other options of Beam's.
        profile: notes where the time goes; None: nobody wants to know.

    Returns:
        The steps by name.

    Raises:
        Exception: whatever a component raised.
    """
    view.start("importing TensorFlow and TFX")
    with uncollected():  # Takes seconds, and prints: not before the output is redirected.
        from tfx.orchestration.portable.beam_executor_operator import BeamExecutorOperator

        from components import training_state
        from pipeline import graph, root_mark, runners, targets

    tries: dict[str, int] = {}

    def tell_retry(name: str, error: BaseException, delay_s: float, number: int) -> None:
        tries[name] = number
        _tell_retry(view, name, error, delay_s, number)

    def note(step: "Step") -> None:
        cost = {"seconds": round(step.seconds, 2), "peak_memory_bytes": runs.take_peak_memory_bytes()}
        if step.name in tries:
            cost["tries"] = tries[step.name]
        summary.steps.append({"name": step.name, "status": step.status, **cost})
        if step.name == "Trainer" and step.status != "failed":  # Its artifacts are published.
            training_state.remove_finished(locations.unfinished)
        view.end(step.status, step.seconds)

    with view.listening(), no_arguments():
        if files.is_remote(locations.root):
            _check_store(locations.root, summary.run, view)
        if not locations.metadata_server:
            full_disk.require_room(locations.here)
        target = targets.of_runner(runner, config, locations, summary.run, beam_args)  # A server that refuses us says so first.
        again(functools.partial(root_mark.claim, locations, target.metadata), "metadata", summary.run, view)
        locations, spec = again(functools.partial(_find_data, config, locations, view), "data", summary.run, view)
        again(functools.partial(_end_orphans, locations, target.metadata), "metadata", summary.run, view)
        pipeline = graph.create_pipeline(config, locations, spec, target)
        with profile.watching() if profile else contextlib.nullcontext(BeamExecutorOperator) as beam_operator:
            steps = runners.run_local(pipeline, summary.metadata_run, view.start, note, beam_operator, tell_retry)
    return {step.name: step for step in steps}


def _find_data(config: PipelineConfig, locations: Locations, view: console.RunView) -> "tuple[Locations, DatasetSpec]":
    """Returns the locations with the data's folder, and what is there; writes embedded data."""
    from pipeline import datasets

    if config.data.embedded and not locations.data:
        locations = locations.with_data(_write_embedded(locations.work_dir))
        named = config.data.official
    else:
        named = config.data.spec or ("" if locations.data else config.data.official)

    def tell(text: str) -> None:
        view.console.print(text, markup=False)

    return locations, datasets.find_spec(named, locations.data, config.data.span, tell, locations.description)


def again(call: Callable[[], _Result], name: str, run: str, view: console.RunView) -> _Result:
    """Returns what a call returns that is no step; tries again as for one.

    Args:
        call: may be made several times.
        name: what is shown of it.
        run: the run's name.
        view: is shown that it is tried again.

    Raises:
        Exception: that of the last try.
    """
    from pipeline import retries

    return retries.call(lambda number: call(), f"{run}.{name}", functools.partial(_tell_retry, view, name))


def _check_store(root: str, run: str, view: console.RunView) -> None:
    """Fails over a store that would fail later.

    Raises:
        VocsegError: nothing can be written there.
    """
    from components import stores

    try:
        again(functools.partial(stores.try_writing, root), "store", run, view)
    except OSError as error:
        raise VocsegError(
            f"--root: nothing can be written to {root}: {error.strerror or error}. "
            "Check the address, the bucket, the rights and the network."
        ) from error


def _write_embedded(work_dir: str) -> str:
    """Writes the embedded data where all who run steps can read it, once; returns its folder."""
    folder = f"{work_dir}/embedded-{code_digest(fake_voc.__name__)[:8]}"
    if not files.is_remote(folder):
        fake_voc.write_fake_voc(folder)
        return folder
    from components import stores

    if not stores.is_complete(folder):
        with tempfile.TemporaryDirectory(prefix="vocseg-embedded-") as scratch:
            fake_voc.write_fake_voc(scratch)
            stores.upload(scratch, folder)
    return folder


def _end_orphans(locations: Locations, connection: "metadata_store_pb2.ConnectionConfig") -> None:
    """Ends in the metadata what killed runs of this root left open."""
    from pipeline import orphans

    is_ours = functools.partial(metadata_server.is_run_of, address=locations.metadata_server, folder=locations.here)
    for orphan in orphans.end_orphans(connection, locations.artifacts_of, is_ours):
        logging.getLogger(__name__).info("%s of the run %s never ended; its outputs are removed", orphan.component, orphan.run)


def _tell_retry(view: console.RunView, name: str, error: BaseException, delay_s: float, number: int) -> None:
    """Says that a step is tried again, and why."""
    from pipeline import retries

    logging.getLogger(__name__).warning("%s is tried again in %.1f s", name, delay_s, exc_info=error)
    told = f"{name}: {retries.explain(error)}, trying again in {delay_s:.0f} s ({number} of {retries.TRIES})"
    view.console.print(told, markup=False)
