"""Runs benchmarks: `python -m benchmarks [NAME ...] --data DIR`."""

import argparse
import importlib
import json
import os
import pathlib
import sys

NAMES = ("epoch", "evaluation", "generation", "inputs", "memory", "metric", "prediction", "pytorch", "unchanged", "whole")


def main() -> int:
    """Prints the table, and writes it as JSON with the machine's description."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(NAMES)} (default: all)")
    parser.add_argument("--data", type=pathlib.Path, required=True, help="a folder that holds VOCdevkit/VOC2007")
    parser.add_argument("--turns", type=int, default=5, help="how often each way runs after the warm-up (default: %(default)s)")
    parser.add_argument("--output", metavar="FILE", type=pathlib.Path, help="write the result as JSON")
    parser.add_argument("--torch", metavar="PYTHON", help="an interpreter that has PyTorch, for `pytorch`")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(NAMES):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments.torch:
        os.environ["TORCH_PYTHON"] = arguments.torch
    from benchmarks.harness import describe_machine, to_dict, to_markdown

    rows = []
    for name in arguments.names or NAMES:
        print(f"{name} ...", file=sys.stderr)
        rows += importlib.import_module(f"benchmarks.{name}").run(arguments.data, arguments.turns)
    print(to_markdown(rows))
    if arguments.output:
        result = {"machine": describe_machine(), "rows": [to_dict(row) for row in rows]}
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
