"""Commands about models: architectures, pushed versions, and what these see in pictures."""

import argparse
import pathlib
from typing import Any

import pipeline_config
from components.errors import VocsegError
from pipeline import cli_options


def add_commands(commands: Any) -> None:
    """Adds model, models, predict and serve."""
    model = commands.add_parser("model", help="print an architecture as a table, draw it")
    model.add_argument("name", metavar="NAME", help=", ".join(pipeline_config.MODELS))
    model.add_argument("--summary", action="store_true", help="print the table of its layers (default, without --plot)")
    model.add_argument("--plot", metavar="FILE", help="draw its graph as a PNG")
    model.add_argument("--classes", metavar="N", type=int, default=21, help="of the logits (default: %(default)s)")
    cli_options.add_preset_arguments(model)
    cli_options.finish(model, _model)

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
    cli_options.add_root(predict)
    cli_options.finish(predict, _predict)

    serve = commands.add_parser("serve", help="a page to drop pictures on, and TensorFlow Serving's REST API")
    serve.add_argument("--model", metavar="DIR", type=pathlib.Path, help="a version, or a folder of versions (default: pushed)")
    cli_options.add_root(serve)
    serve.add_argument("--pipeline", metavar="NAME", help="whose pushed models (default: that of the newest)")
    serve.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="to listen on (default: %(default)s)")
    serve.add_argument("--port", metavar="N", type=int, default=8501, help="0: any that is free (default: %(default)s)")
    serve.add_argument("--name", metavar="NAME", help="of the model in addresses (default: its folder's)")
    cli_options.finish(serve, _serve)


def _add_models_arguments(models: argparse.ArgumentParser) -> None:
    """Adds the options of `vocseg models` and its subcommands, which do not overrule those that stand before them."""
    cli_options.add_root(models)
    models.add_argument("--pipeline", metavar="NAME", help="only this one (default: all)")
    models.add_argument("--json", metavar="FILE", help="write the list as JSON (-: to standard output)")
    cli_options.finish(models, _models)
    of_models = models.add_subparsers(title="commands", metavar="COMMAND")
    rollback = of_models.add_parser("rollback", help="push an earlier version again, so that it is the current one")
    rollback.add_argument(
        "version", metavar="VERSION", nargs="?", help="its number (default: the newest with other files, before the current)"
    )
    prune = of_models.add_parser("prune", help="remove all but the newest versions of each pipeline")
    prune.add_argument("--keep", metavar="N", type=cli_options.positive, required=True, help="how many stay, at least 1")
    prune.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    for parser, function in ((rollback, _models_rollback), (prune, _models_prune)):
        parser.add_argument("--root", metavar="DIR", default=argparse.SUPPRESS, help="as of `vocseg models`")
        parser.add_argument("--pipeline", metavar="NAME", default=argparse.SUPPRESS, help="as of `vocseg models`")
        parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="print a traceback with an error")
        parser.set_defaults(function=function)


def _model(arguments: argparse.Namespace) -> int:
    preset = pipeline_config.preset(arguments.preset)
    assignments = cli_options.parse_assignments(arguments.set)
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
    cli_options.refuse_store(arguments, "models")
    from pipeline import models

    models.show(arguments.root, arguments.pipeline, arguments.json)
    return 0


def _models_rollback(arguments: argparse.Namespace) -> int:
    cli_options.refuse_store(arguments, "models")
    _refuse_json(arguments)
    from pipeline import models

    models.rollback(arguments.root, arguments.pipeline, arguments.version)
    return 0


def _models_prune(arguments: argparse.Namespace) -> int:
    cli_options.refuse_store(arguments, "models")
    _refuse_json(arguments)
    from pipeline import models

    models.prune(arguments.root, arguments.pipeline, arguments.keep, arguments.dry_run)
    return 0


def _refuse_json(arguments: argparse.Namespace) -> None:
    if arguments.json is not None:
        raise VocsegError("--json belongs to the list: give `vocseg models --json FILE` by itself.")


def _predict(arguments: argparse.Namespace) -> int:
    if arguments.min_area is not None and arguments.min_area < 0:
        raise VocsegError(f"--min-area takes a number of pixels, 0 or more; got {arguments.min_area}.")
    from pipeline.predict import Options, predict

    if arguments.model is None:
        cli_options.refuse_store(arguments, "predict")
    options = Options(json=arguments.json, min_area_px=arguments.min_area, tta=arguments.tta, tile=arguments.tile)
    return predict(arguments.model, arguments.images, arguments.out, arguments.root, options)


def _serve(arguments: argparse.Namespace) -> int:
    if arguments.model is None:
        cli_options.refuse_store(arguments, "serve")
    from pipeline.serve import serve

    chosen = (arguments.model, arguments.root, arguments.pipeline)
    return serve(*chosen, arguments.host, arguments.port, arguments.name)
