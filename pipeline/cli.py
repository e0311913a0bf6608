"""The command line: one function a subcommand. Heavy imports stand inside them, so that `--help` answers at once."""

import argparse
import os
import pathlib
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pipeline_config
from components.errors import VocsegError
from pipeline.quiet import quiet_tfx

if TYPE_CHECKING:
    from pipeline.request import Request

DEFAULT_ROOT = "output"
_DEFAULT_PRESET = "voc2007"


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
            hint = "The disk, the network or a server fails there: see to it, and run the same command again."
            return _fail(f"{retries.explain(error)}\n{hint}", arguments.debug)
        unexpected = "This is not an error that vocseg expects. The run's log, or --debug, tells more."
        return _fail(f"{shorten(error)}\n{unexpected}", arguments.debug)


def _interrupted() -> int:
    print("interrupted; run the same command again to go on", file=sys.stderr)
    return 130


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

    run = commands.add_parser("run", help="run the pipeline: data to a blessed, pushed model")
    _add_run_arguments(run)
    _finish(run, _run)

    _add_vertex_commands(commands)
    retrain = commands.add_parser(
        "retrain",
        help="run it from a timer: exit codes, and one line of JSON",
        description="Runs the pipeline if data, code or configuration changed, and pushes only a better model.",
        epilog="Exits with 0: nothing to do, or pushed; 3: trained, and not pushed; 4: another run is under way; 1: an error; "
        "2: a wrong command line; 130: interrupted. The last line on the standard output is JSON; all else goes to the error.",
    )
    _add_run_arguments(retrain)
    retrain.add_argument("--warm-start", action="store_true", help="short for --set train.warm_start=true")
    retrain.add_argument("--keep", metavar="N", type=_positive, default=0, help="then prune, as `vocseg prune --keep N` does")
    retrain.add_argument(
        "--wait", metavar="SECONDS", type=_seconds, default=0, help="for another run to end (default: %(default)s)"
    )
    _finish(retrain, _retrain)

    prune = commands.add_parser("prune", help="remove artifacts and runs that nothing needs any more")
    prune.add_argument("--keep", metavar="N", type=_positive, required=True, help="how many runs of each pipeline stay")
    prune.add_argument("--pipeline", metavar="NAME", help="only this one (default: all)")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be freed")
    _add_root(prune)
    _finish(prune, _prune)

    config = commands.add_parser("config", help="print the whole effective configuration")
    _add_config_arguments(config)
    _finish(config, _config)

    runs = commands.add_parser("runs", help="list earlier runs")
    _add_root(runs)
    _add_local(runs)
    _finish(runs, _runs)

    report = commands.add_parser("report", help="write one HTML file about a run: verdict, scores, pictures, lineage")
    report.add_argument("run", metavar="RUN", nargs="?", help="its name (default: the newest that has an evaluation)")
    report.add_argument("--output", metavar="FILE", help="the HTML (default: report.html in the run's folder)")
    _add_root(report)
    _add_local(report)
    _finish(report, _report)

    data = commands.add_parser("data", help="check a data set, describe it, draw it")
    of_data = data.add_subparsers(title="commands", required=True, metavar="COMMAND")
    check = of_data.add_parser("check", help="read it all, and tell what was found; exits with 3 where it is not clean")
    _add_data_arguments(check)
    check.add_argument("--json", metavar="FILE", help="write the report as JSON (-: to standard output)")
    _finish(check, _data_check)

    init = of_data.add_parser("init", help="guess its description, and write it down as TOML")
    init.add_argument("data", metavar="DIR", help="the data folder")
    init.add_argument("--output", metavar="FILE", help="where the TOML goes (default: DIR/vocseg.toml)")
    _finish(init, _data_init)

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
    show.add_argument("--preset", help=f"with --augment: {', '.join(pipeline_config.PRESETS)} (default: {_DEFAULT_PRESET})")
    show.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="with --augment: override a field")
    _finish(show, _data_show)

    model = commands.add_parser("model", help="print an architecture as a table, draw it")
    model.add_argument("name", metavar="NAME", help=", ".join(pipeline_config.MODELS))
    model.add_argument("--summary", action="store_true", help="print the table of its layers (default, without --plot)")
    model.add_argument("--plot", metavar="FILE", help="draw its graph as a PNG")
    model.add_argument("--classes", metavar="N", type=int, default=21, help="of the logits (default: %(default)s)")
    _add_preset_arguments(model)
    _finish(model, _model)

    models = commands.add_parser("models", help="list the pushed versions; go back to an earlier one, remove old ones")
    _add_models_arguments(models)

    predict = commands.add_parser("predict", help="masks, overlays and boxes for pictures")
    predict.add_argument(
        "images",
        nargs="+",
        metavar="IMAGE",
        help="files, folders, quoted patterns, or - for paths, one a line, on standard input",
    )
    predict.add_argument("--model", metavar="DIR", type=pathlib.Path, help="a pushed version (default: the newest)")
    predict.add_argument("--out", metavar="DIR", type=pathlib.Path, required=True, help="folder for masks and overlays")
    predict.add_argument("--json", metavar="FILE", help="write a JSON line a picture, with boxes (-: to standard output)")
    predict.add_argument(
        "--min-area", metavar="PIXELS", type=int, help="of a region with a box (default: 0.05%% of the picture)"
    )
    predict.add_argument("--tta", action="store_true", help="look at three scales and mirrored, too: slower, often better")
    predict.add_argument("--tile", action="store_true", help="look at the own resolution in tiles: for very large pictures")
    _add_root(predict)
    _finish(predict, _predict)

    serve = commands.add_parser("serve", help="a page to drop pictures on, and TensorFlow Serving's REST API")
    serve.add_argument("--model", metavar="DIR", type=pathlib.Path, help="a version, or a folder of versions (default: pushed)")
    _add_root(serve)
    serve.add_argument("--pipeline", metavar="NAME", help="whose pushed models (default: that of the newest)")
    serve.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="to listen on (default: %(default)s)")
    serve.add_argument("--port", metavar="N", type=int, default=8501, help="0: any that is free (default: %(default)s)")
    serve.add_argument("--name", metavar="NAME", help="of the model in addresses (default: its folder's)")
    _finish(serve, _serve)
    return parser


def _add_run_arguments(run: argparse.ArgumentParser) -> None:
    _add_config_arguments(run)
    run.add_argument("--data", metavar="DIR", help="the data folder; {SPAN} in its path stands for a number")
    run.add_argument("--spec", metavar="SPEC", help="short for --set data.spec=SPEC: a TOML file or a built-in data set")
    run.add_argument("--span", metavar="SPAN", help="short for --set data.span=SPAN: newest (default), last:N, A-B or A")
    run.add_argument("--verify", action="store_true", help="read all data again instead of trusting size and time stamp")
    run.add_argument("--summary", metavar="FILE", help="write what happened as JSON")
    run.add_argument("--metadata", metavar="ADDRESS", default="", help="a shared store: mysql://USER@HOST:PORT/DATABASE")
    _add_runner_arguments(run)
    _add_root(run)
    _add_local(run)


def _positive(text: str) -> int:
    """Returns a whole number of 1 or more; argparse makes the error of what is none."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of 1 or more; got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    """Returns a duration of 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds, 0 or more; got {text!r}")
    return value


def _add_vertex_commands(commands: Any) -> None:
    """Adds what compiles the pipeline for Vertex AI, runs it there, and lets it run by a schedule."""
    compile_ = commands.add_parser("compile", help="write the pipeline's specification for Vertex AI; needs no credentials")
    compile_.add_argument("--target", choices=("vertex",), required=True, help="what is to run it")
    compile_.add_argument("--output", metavar="FILE", required=True, help="the JSON")
    submit = commands.add_parser("submit", help="compile the pipeline and run it on Vertex AI")
    schedule = commands.add_parser("schedule", help="compile the pipeline and let Vertex AI run it again and again")
    schedule.add_argument("--cron", metavar="CRON", required=True, help="when, as '0 3 * * 1' or 'TZ=Europe/Berlin 0 3 * * 1'")
    schedule.add_argument("--replace", action="store_true", help="delete earlier schedules of the same pipeline")
    for parser, function in ((compile_, _compile), (submit, _submit), (schedule, _schedule)):
        _add_config_arguments(parser)
        parser.add_argument("--project", metavar="ID", help="short for --set cloud.project=ID")
        parser.add_argument("--region", metavar="REGION", help="short for --set cloud.region=REGION")
        parser.add_argument("--service-account", metavar="EMAIL", help="short for --set cloud.service_account=EMAIL")
        parser.add_argument(
            "--data", metavar="DIR", help="gs://...; {SPAN} in its path stands for a number (default: official)"
        )
        parser.add_argument("--spec", metavar="SPEC", help="short for --set data.spec=SPEC: a TOML file or a built-in data set")
        parser.add_argument("--span", metavar="SPAN", help="short for --set data.span=SPAN: newest (default), last:N, A-B or A")
        parser.add_argument("--root", metavar="DIR", required=True, help="where outputs lie: gs://BUCKET/PATH")
        _finish(parser, function)


def _add_runner_arguments(run: argparse.ArgumentParser) -> None:
    """Adds the options that say where Beam's work is done."""
    run.add_argument(
        "--runner",
        choices=("local", "dataflow", "portable"),
        default="local",
        help="where Beam's work is done: here (default), on Google's Dataflow, or by a job server (of Flink, of Spark)",
    )
    run.add_argument("--project", metavar="ID", help="short for --set cloud.project=ID")
    run.add_argument("--region", metavar="REGION", help="short for --set cloud.region=REGION")
    run.add_argument(
        "--beam", metavar="NAME=VALUE", action="append", default=[], help="another option of Beam's; may be repeated"
    )
    run.add_argument(
        "--dry-run", action="store_true", help="with dataflow: only show what would be submitted; needs no credentials"
    )


def _add_models_arguments(models: argparse.ArgumentParser) -> None:
    """Adds the options of `vocseg models` and its subcommands, which do not overrule those that stand before them."""
    _add_root(models)
    models.add_argument("--pipeline", metavar="NAME", help="only this one (default: all)")
    models.add_argument("--json", metavar="FILE", help="write the list as JSON (-: to standard output)")
    _finish(models, _models)
    of_models = models.add_subparsers(title="commands", metavar="COMMAND")
    rollback = of_models.add_parser("rollback", help="push an earlier version again, so that it is the current one")
    rollback.add_argument(
        "version", metavar="VERSION", nargs="?", help="its number (default: the newest with other files, before the current)"
    )
    prune = of_models.add_parser("prune", help="remove all but the newest versions of each pipeline")
    prune.add_argument("--keep", metavar="N", type=int, required=True, help="how many stay, at least 1")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    for parser, function in ((rollback, _models_rollback), (prune, _models_prune)):
        parser.add_argument("--root", metavar="DIR", default=argparse.SUPPRESS, help="as of `vocseg models`")
        parser.add_argument("--pipeline", metavar="NAME", default=argparse.SUPPRESS, help="as of `vocseg models`")
        parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="print a traceback with an error")
        parser.set_defaults(function=function)


def _add_data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DIR", help="the data folder; {SPAN} in its path stands for a number")
    parser.add_argument("--spec", metavar="SPEC", default="", help="its description: a TOML file or a built-in data set")
    parser.add_argument("--span", metavar="SPAN", default="newest", help="newest (default), last:N, A-B or A")


def _add_root(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", metavar="DIR", default=DEFAULT_ROOT, help="where outputs lie (default: %(default)s)")


def _add_local(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--local",
        metavar="DIR",
        default=DEFAULT_ROOT,
        help="where metadata, locks and logs lie if the root is in a store, as gs://... (default: %(default)s)",
    )


def _finish(parser: argparse.ArgumentParser, function: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--debug", action="store_true", help="print a traceback with an error")
    parser.set_defaults(function=function)


def _add_config_arguments(parser: argparse.ArgumentParser) -> None:
    _add_preset_arguments(parser)
    parser.add_argument("--epochs", metavar="N", help="short for --set train.epochs=N")
    parser.add_argument("--seed", metavar="N", help="short for --set train.seed=N")


def _add_preset_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--preset", default=_DEFAULT_PRESET, help=f"{', '.join(pipeline_config.PRESETS)} (default: %(default)s)"
    )
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], help="override a field; may be repeated")


def _effective_config(arguments: argparse.Namespace) -> pipeline_config.PipelineConfig:
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
    return pipeline_config.override(pipeline_config.preset(arguments.preset), assignments | _assignments(arguments.set))


def _assignments(texts: Sequence[str]) -> dict[str, str]:
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


def _run(arguments: argparse.Namespace) -> int:
    config = _effective_config(arguments)
    if arguments.dry_run:
        return _dry_run(config, arguments)
    from pipeline.run import run

    run(config, _request(arguments))
    return 0


def _request(arguments: argparse.Namespace, wait_s: float = 0) -> "Request":
    from pipeline.request import Request

    return Request(
        root=arguments.root,
        data=arguments.data,
        summary=arguments.summary,
        verify=arguments.verify,
        local=arguments.local,
        metadata=arguments.metadata,
        runner=arguments.runner,
        beam=tuple(arguments.beam),
        wait_s=wait_s,
    )


def _dry_run(config: pipeline_config.PipelineConfig, arguments: argparse.Namespace) -> int:
    if arguments.runner != "dataflow":
        raise VocsegError("--dry-run shows what Dataflow would be sent: give --runner dataflow, too.")
    from pipeline.dry_run import dry_run

    dry_run(config, arguments.root, arguments.data, arguments.beam, arguments.summary)
    return 0


def _cloud_config(arguments: argparse.Namespace) -> pipeline_config.PipelineConfig:
    """Returns the configuration, checked before TFX is imported, which takes seconds.

    Raises:
        CloudError: settings are missing or cannot be.
    """
    from pipeline import cloud

    config = _effective_config(arguments)
    cloud.check(config, arguments.root, arguments.data, cloud.embedded_problems(config, arguments.data))
    quiet_tfx()
    return config


def _compile(arguments: argparse.Namespace) -> int:
    config = _cloud_config(arguments)
    from pipeline.locations import check_writable

    check_writable(arguments.output, "--output")
    from pipeline.vertex import compile_to

    compile_to(config, arguments.root, arguments.data, arguments.output)
    return 0


def _submit(arguments: argparse.Namespace) -> int:
    config = _cloud_config(arguments)
    from pipeline.vertex_jobs import submit

    submit(config, arguments.root, arguments.data)
    return 0


def _schedule(arguments: argparse.Namespace) -> int:
    config = _cloud_config(arguments)
    from pipeline.cron import check_cron

    check_cron(arguments.cron)
    from pipeline.vertex_jobs import schedule

    schedule(config, arguments.root, arguments.data, arguments.cron, arguments.replace)
    return 0


def _retrain(arguments: argparse.Namespace) -> int:
    from pipeline.retrain import Options, retrain

    options = Options(request=_request(arguments, arguments.wait), keep=arguments.keep, debug=arguments.debug)
    return retrain(lambda: _effective_config(arguments), options)


def _prune(arguments: argparse.Namespace) -> int:
    from pipeline.prune import show

    show(arguments.root, arguments.keep, arguments.pipeline, arguments.dry_run)
    return 0


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
        preset = pipeline_config.preset(arguments.preset or _DEFAULT_PRESET)
        augmented = pipeline_config.override(preset, _assignments(arguments.set))
    elif arguments.preset or arguments.set or arguments.variants is not None:
        raise VocsegError("--preset, --set and --variants say how pictures are varied: give --augment, too.")
    from pipeline.data import show

    choice = (split, arguments.count, arguments.seed)
    variants = 3 if arguments.variants is None else arguments.variants
    show(arguments.data, arguments.spec, arguments.span, arguments.output, *choice, augmented, variants)
    return 0


def _config(arguments: argparse.Namespace) -> int:
    for name, value in pipeline_config.fields(_effective_config(arguments)).items():
        print(f"{name} = {value}")
    return 0


def _model(arguments: argparse.Namespace) -> int:
    preset = pipeline_config.preset(arguments.preset)
    assignments = _assignments(arguments.set)
    other = assignments.setdefault("model.name", arguments.name)
    if other != arguments.name:
        raise VocsegError(f"Two models are asked for: {arguments.name}, and --set model.name={other}. Leave that out.")
    # By themselves: a size that does not fit the architecture is rounded.
    stages = pipeline_config.override_stages(preset, assignments)
    if idle := stages.keys() - {"model", "transform"}:
        raise VocsegError(f"A model does not depend on {', '.join(sorted(idle))}: --set takes model.* and transform.* here.")
    from pipeline.model import describe

    summary = arguments.summary or not arguments.plot
    describe(stages["model"], stages.get("transform", preset.transform), arguments.classes, summary, arguments.plot)
    return 0


def _models(arguments: argparse.Namespace) -> int:
    _refuse_store(arguments, "models")
    from pipeline import models

    models.show(arguments.root, arguments.pipeline, arguments.json)
    return 0


def _models_rollback(arguments: argparse.Namespace) -> int:
    _refuse_store(arguments, "models")
    _refuse_json(arguments)
    from pipeline import models

    models.rollback(arguments.root, arguments.pipeline, arguments.version)
    return 0


def _models_prune(arguments: argparse.Namespace) -> int:
    _refuse_store(arguments, "models")
    _refuse_json(arguments)
    from pipeline import models

    models.prune(arguments.root, arguments.pipeline, arguments.keep, arguments.dry_run)
    return 0


def _refuse_json(arguments: argparse.Namespace) -> None:
    if arguments.json is not None:
        raise VocsegError("--json belongs to the list: give `vocseg models --json FILE` by itself.")


def _runs(arguments: argparse.Namespace) -> int:
    import rich.console

    from pipeline import console, runs
    from pipeline.locations import local_folder

    found = runs.read_all(os.path.join(local_folder(arguments.root, arguments.local), "runs"))
    if not found:
        print(f"There are no runs in {arguments.root}. `vocseg run` makes one; --root says where.")
        return 0
    width = None if sys.stdout.isatty() else 10_000  # A table is no wider than it need be; a file has no edge to cut it at.
    rich.console.Console(width=width, emoji=False).print(console.runs_table(found))
    return 0


def _report(arguments: argparse.Namespace) -> int:
    from pipeline.locations import local_folder
    from pipeline.report import report

    report(arguments.run, local_folder(arguments.root, arguments.local), arguments.output)
    return 0


def _predict(arguments: argparse.Namespace) -> int:
    if arguments.min_area is not None and arguments.min_area < 0:
        raise VocsegError(f"--min-area takes a number of pixels, 0 or more; got {arguments.min_area}.")
    from pipeline.predict import Options, predict

    if arguments.model is None:
        _refuse_store(arguments, "predict")
    options = Options(json=arguments.json, min_area_px=arguments.min_area, tta=arguments.tta, tile=arguments.tile)
    return predict(arguments.model, arguments.images, arguments.out, arguments.root, options)


def _refuse_store(arguments: argparse.Namespace, command: str) -> None:
    """Fails where a command that needs pushed models on this machine gets a root in a store."""
    from pipeline.locations import refuse_store

    copy = f"Copy its models here, as by `gcloud storage cp -r {arguments.root}/models DIR`, and give --root DIR."
    refuse_store(arguments.root, f"vocseg {command}", copy)


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.model is None:
        _refuse_store(arguments, "serve")
    from pipeline.serve import serve

    chosen = (arguments.model, arguments.root, arguments.pipeline)
    return serve(*chosen, arguments.host, arguments.port, arguments.name)
