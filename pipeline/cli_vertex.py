"""Commands that compile the pipeline for Vertex AI, run it there, and let it run by a schedule."""

import argparse
from typing import Any

import pipeline_config
from pipeline import cli_options
from pipeline.quiet import quiet_tfx


def add_commands(commands: Any) -> None:
    """Adds what compiles the pipeline for Vertex AI, runs it there, and lets it run by a schedule."""
    compile_ = commands.add_parser("compile", help="write the pipeline's specification for Vertex AI; needs no credentials")
    compile_.add_argument("--target", choices=("vertex",), required=True, help="what is to run it")
    compile_.add_argument("--output", metavar="FILE", required=True, help="the JSON")
    submit = commands.add_parser("submit", help="compile the pipeline and run it on Vertex AI")
    schedule = commands.add_parser("schedule", help="compile the pipeline and let Vertex AI run it again and again")
    schedule.add_argument("--cron", metavar="CRON", required=True, help="when, as '0 3 * * 1' or 'TZ=Europe/Berlin 0 3 * * 1'")
    schedule.add_argument("--replace", action="store_true", help="delete earlier schedules of the same pipeline")
    for parser, function in ((compile_, _compile), (submit, _submit), (schedule, _schedule)):
        cli_options.add_config_arguments(parser)
        parser.add_argument("--project", metavar="ID", help="short for --set cloud.project=ID")
        parser.add_argument("--region", metavar="REGION", help="short for --set cloud.region=REGION")
        parser.add_argument("--service-account", metavar="EMAIL", help="short for --set cloud.service_account=EMAIL")
        parser.add_argument(
            "--data", metavar="DIR", help="gs://...; {SPAN} in its path stands for a number (default: official)"
        )
        parser.add_argument("--spec", metavar="SPEC", help="short for --set data.spec=SPEC: a TOML file or a built-in data set")
        parser.add_argument("--span", metavar="SPAN", help="short for --set data.span=SPAN: newest (default), last:N, A-B or A")
        parser.add_argument("--root", metavar="DIR", required=True, help="where outputs lie: gs://BUCKET/PATH")
        cli_options.add_beam(parser)
        cli_options.finish(parser, function)


def _cloud_config(arguments: argparse.Namespace, scheduled: bool = False) -> pipeline_config.PipelineConfig:
    """Returns the configuration, checked before TFX is imported, which takes seconds.

    Raises:
        CloudError: settings are missing or cannot be.
    """
    from pipeline import cloud

    config = cli_options.effective_config(arguments)
    cloud.check_vertex(config, arguments.root, arguments.data, scheduled)
    quiet_tfx()
    return config


def _compile(arguments: argparse.Namespace) -> int:
    config = _cloud_config(arguments)
    from pipeline.locations import check_writable

    check_writable(arguments.output, "--output")
    from pipeline.vertex import compile_to

    compile_to(config, arguments.root, arguments.data, arguments.output, arguments.beam)
    return 0


def _submit(arguments: argparse.Namespace) -> int:
    config = _cloud_config(arguments)
    from pipeline.vertex_jobs import submit

    submit(config, arguments.root, arguments.data, arguments.beam)
    return 0


def _schedule(arguments: argparse.Namespace) -> int:
    config = _cloud_config(arguments, scheduled=True)
    from pipeline.cron import check_cron

    check_cron(arguments.cron)
    from pipeline.vertex_jobs import schedule

    schedule(config, arguments.root, arguments.data, arguments.cron, arguments.replace, arguments.beam)
    return 0
