"""`vocseg run --runner dataflow --dry-run`: the options, jobs and stages of a run, in words."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline import cloud, console
from pipeline.locations import check_writable, locate, write_output
from pipeline.run_graph import no_arguments
from pipeline_config import PipelineConfig

if TYPE_CHECKING:
    from pipeline.dataflow_plan import Job

_RUN_NAME = "dry-run"


def dry_run(config: PipelineConfig, root: str, data: str | None, beam: Sequence[str], summary_path: str | None) -> None:
    """Prints what a run would send to Dataflow; needs no credentials, sends nothing, and writes nothing but a summary.

    Args:
        config: the run.
        root: where outputs would go.
        data: the data folder, or None; it is not read.
        beam: other options of Beam's, each NAME=VALUE or a switch's NAME.
        summary_path: where the same goes as JSON, or None.

    Raises:
        VocsegError: a setting is missing or wrong.
    """
    cloud.check(config, root, data)
    if summary_path:
        check_writable(summary_path, "--summary")
    locations = locate(config, root, data)
    with console.output_to(pathlib.Path(os.devnull)), no_arguments():
        from pipeline import beam_options, dataflow_plan, targets

        name = targets.job_name(locations.pipeline_name, _RUN_NAME)
        own = targets.dataflow_args(config.cloud, locations.root, name)
        beam_args = beam_options.merge(own, beam_options.parse(beam), fixed=True)
        dataflow_plan.check_options(beam_args)
    print("Options of each job:\n" + "\n".join(f"  {text}" for text in beam_args))
    print(
        "The graphs are being recorded from a run on this machine over the embedded data, which takes about a minute.",
        flush=True,
    )
    with console.output_to(pathlib.Path(os.devnull)), no_arguments():
        jobs = dataflow_plan.plan(beam_args)
    print(describe(jobs))
    if summary_path:
        content = {"pipeline": locations.pipeline_name, "options": beam_args, "jobs": [job.to_dict() for job in jobs]}
        write_output(summary_path, (json.dumps(content, indent=1) + "\n").encode(), "--summary")


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
        "are those of the run. The graphs are those of the embedded data, without a baseline; their paths are on this machine."
    )
    return "\n".join([*table, "", *stages, "", said])
