"""`vocseg run --runner dataflow --dry-run`: the options, jobs and stages of a run, in words."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import console
from pipeline.locations import check_writable, write_output
from pipeline.request import Request, check, locations_of
from pipeline.run_graph import beam_args_of, no_arguments
from pipeline_config import PipelineConfig

if TYPE_CHECKING:
    from pipeline.dataflow_plan import Job

_RUN_NAME = "dry-run"


def dry_run(config: PipelineConfig, request: Request) -> None:
    """Prints what a run would send to Dataflow; needs no credentials, sends nothing, and writes nothing but a summary.

    Args:
        config: the run.
        request: the same as of the run; its data is not read.

    Raises:
        VocsegError: a setting is missing or wrong, as the run would say.
    """
    check(request, config)
    if request.summary:
        check_writable(request.summary, "--summary")
    added = beam_args_of(request, config)
    locations = locations_of(request, config)
    with console.output_to(pathlib.Path(os.devnull)), no_arguments():
        from pipeline import beam_options, dataflow_plan, targets

        beam_args = targets.dataflow_options(config, locations, _RUN_NAME, added)
        beam_options.check_dataflow(beam_args)
    shown = [beam_options.mask(text) for text in beam_args]
    print("Options of each job:\n" + "\n".join(f"  {text}" for text in shown))
    print(
        "The graphs are being recorded from a run on this machine over the embedded data, which takes a minute or more.",
        flush=True,
    )
    with console.output_to(pathlib.Path(os.devnull)), no_arguments():
        jobs = dataflow_plan.plan(beam_args, config)
    print(describe(jobs))
    if request.summary:
        content = {"pipeline": locations.pipeline_name, "options": shown, "jobs": [job.to_dict() for job in jobs]}
        write_output(request.summary, (json.dumps(content, indent=1) + "\n").encode(), "--summary")


def describe(jobs: "Sequence[Job]") -> str:
    """Returns jobs, their containers and workers as a table, and below it the stages of each."""
    rows = [("step", "stages", "transforms", "machine", "disk", "workers", "container")]
    for job in jobs:
        pool = job.workers
        most = f"to {pool['autoscalingSettings']['maxNumWorkers']}"
        sizes = (str(len(job.stages)), str(job.primitives), pool["machineType"], f"{pool['diskSizeGb']} GB", most)
        rows.append((job.step, *sizes, " ".join(job.images)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    stages = [f"{job.step}:\n" + "\n".join(f"  {stage}" for stage in job.stages) for job in jobs]
    said = (
        "Nothing was submitted. Stages are the outermost transforms; Dataflow fuses them as it likes. Options and containers "
        "are those of the run. The graphs are those of its configuration (transform, evaluate, data) over the embedded data, "
        "without a baseline; their paths are on this machine."
    )
    return "\n".join([*table, "", *stages, "", said])
