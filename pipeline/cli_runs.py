"""Commands that run the pipeline here, and that look after its runs."""

import argparse
import os
import sys
from typing import Any

import pipeline_config
from components.datasets.files import is_remote
from components.errors import VocsegError
from pipeline import cli_options
from pipeline.locations import local_folder
from pipeline.request import RUNNERS, Request


def add_commands(commands: Any) -> None:
    """Adds run, retrain, prune, config, runs and report."""
    run = commands.add_parser("run", help="run the pipeline: data to a blessed, pushed model")
    _add_run_arguments(run)
    run.add_argument(
        "--dry-run", action="store_true", help="with dataflow: only show what would be submitted; needs no credentials"
    )
    cli_options.finish(run, _run)

    retrain = commands.add_parser(
        "retrain",
        help="run it from a timer: exit codes, and one line of JSON",
        description="Runs the pipeline if data, code or configuration changed, and pushes a model that the gate lets pass.",
        epilog="Exits with 0: nothing to do, or pushed; 3: trained, and not pushed; 4: another run is under way; 1: an error; "
        "2: a wrong command line; 130: interrupted. The last line on the standard output is JSON; all else goes to the error.",
    )
    _add_run_arguments(retrain)
    retrain.add_argument("--warm-start", action="store_true", help="short for --set train.warm_start=true")
    retrain.add_argument(
        "--keep", metavar="N", type=cli_options.positive, default=0, help="then prune, as `vocseg prune --keep N` does"
    )
    retrain.add_argument(
        "--wait", metavar="SECONDS", type=cli_options.seconds, default=0, help="for another run to end (default: %(default)s)"
    )
    cli_options.finish(retrain, _retrain)

    prune = commands.add_parser("prune", help="remove artifacts and runs that nothing needs any more")
    prune.add_argument(
        "--keep", metavar="N", type=cli_options.positive, required=True, help="how many runs of each pipeline stay"
    )
    prune.add_argument("--pipeline", metavar="NAME", help="only this one, and no unfinished trainings (default: all)")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be freed")
    cli_options.add_root(prune)
    cli_options.finish(prune, _prune)

    config = commands.add_parser("config", help="print the whole effective configuration")
    cli_options.add_config_arguments(config)
    cli_options.finish(config, _config)

    runs = commands.add_parser("runs", help="list earlier runs")
    cli_options.add_root(runs)
    cli_options.add_local(runs)
    cli_options.finish(runs, _runs)

    report = commands.add_parser("report", help="write one HTML file about a run: verdict, scores, pictures, lineage")
    report.add_argument("run", metavar="RUN", nargs="?", help="its name (default: the newest that has an evaluation)")
    report.add_argument("--output", metavar="FILE", help="the HTML (default: report.html in the run's folder)")
    cli_options.add_root(report)
    cli_options.add_local(report)
    cli_options.finish(report, _report)


def _add_run_arguments(run: argparse.ArgumentParser) -> None:
    cli_options.add_config_arguments(run)
    run.add_argument("--data", metavar="DIR", help="the data folder; {SPAN} in its path stands for a number")
    run.add_argument("--spec", metavar="SPEC", help="short for --set data.spec=SPEC: a TOML file or a built-in data set")
    run.add_argument("--span", metavar="SPAN", help="short for --set data.span=SPAN: newest (default), last:N, A-B or A")
    run.add_argument("--verify", action="store_true", help="read all data again instead of trusting size and time stamp")
    run.add_argument("--summary", metavar="FILE", help="write what happened as JSON")
    run.add_argument(
        "--profile", action="store_true", help="show where the time went: components, Beam's stages, waiting for pictures"
    )
    run.add_argument("--metadata", metavar="ADDRESS", default="", help="a shared store: mysql://USER@HOST:PORT/DATABASE")
    _add_runner_arguments(run)
    cli_options.add_root(run)
    cli_options.add_local(run)


def _add_runner_arguments(run: argparse.ArgumentParser) -> None:
    """Adds the options that say where Beam's work is done."""
    run.add_argument(
        "--runner",
        choices=RUNNERS,
        default=RUNNERS[0],
        help="where Beam's work is done: here (default), on Google's Dataflow, or by a job server (of Flink, of Spark)",
    )
    run.add_argument("--project", metavar="ID", help="short for --set cloud.project=ID")
    run.add_argument("--region", metavar="REGION", help="short for --set cloud.region=REGION")
    cli_options.add_beam(run)


def _run(arguments: argparse.Namespace) -> int:
    config = cli_options.effective_config(arguments)
    if arguments.dry_run:
        return _dry_run(config, arguments)
    from pipeline.run import run

    run(config, _request(arguments))
    return 0


def _request(arguments: argparse.Namespace, wait_s: float = 0) -> Request:
    return Request(
        root=arguments.root,
        data=arguments.data,
        summary=arguments.summary,
        verify=arguments.verify,
        local=arguments.local,
        metadata=arguments.metadata,
        runner=arguments.runner,
        beam=tuple(arguments.beam),
        profile=arguments.profile,
        wait_s=wait_s,
    )


def _dry_run(config: pipeline_config.PipelineConfig, arguments: argparse.Namespace) -> int:
    if arguments.runner != "dataflow":
        raise VocsegError("--dry-run shows what Dataflow would be sent: give --runner dataflow, too.")
    from pipeline.dry_run import dry_run

    dry_run(config, _request(arguments))
    return 0


def _retrain(arguments: argparse.Namespace) -> int:
    from pipeline.retrain import Options, retrain

    options = Options(request=_request(arguments, arguments.wait), keep=arguments.keep, debug=arguments.debug)
    return retrain(lambda: cli_options.effective_config(arguments), options)


def _prune(arguments: argparse.Namespace) -> int:
    from pipeline.prune import show

    show(arguments.root, arguments.keep, arguments.pipeline, arguments.dry_run)
    return 0


def _config(arguments: argparse.Namespace) -> int:
    for name, value in pipeline_config.fields(cli_options.effective_config(arguments)).items():
        print(f"{name} = {value}")
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    import rich.console

    from pipeline import console, runs

    found = runs.read_all(os.path.join(_records(arguments), "runs"))
    if not found:
        print(f"There are no runs in {arguments.root}. `vocseg run` makes one; --root says where.")
        return 0
    width = None if sys.stdout.isatty() else 10_000  # A table is no wider than it need be; a file has no edge to cut it at.
    rich.console.Console(width=width, emoji=False).print(console.runs_table(found))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from pipeline.report import report

    report(arguments.run, _records(arguments), arguments.output)
    return 0


def _records(arguments: argparse.Namespace) -> str:
    """Returns the folder with the records of a root's runs; says which it is where it is not the root."""
    folder = local_folder(arguments.root, arguments.local)
    if is_remote(arguments.root):
        print(f"The runs of {arguments.root} are recorded on this machine, in {folder} (--local says below which folder).")
    return folder
