"""Peak memory of a whole run on a data set and on ten times as many pictures: it must not grow with the number of pictures.

    python benchmarks/memory.py DIR        # DIR holds VOCdevkit/VOC2007

The larger set has each picture ten times, under other names, in its own split; the files are hard links where the file system
allows it. Both runs train one epoch of a small network, so that what is measured is what the data costs.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SETTINGS = [
    "--preset=voc2007_scratch",
    "--epochs=1",
    *("--set=model.name=unet", "--set=model.filters=4", "--set=evaluate.min_mean_iou=0"),
]
LIMIT = 0.15


def multiply(source: pathlib.Path, target: pathlib.Path, times: int) -> int:
    """Writes a set with each pair `times` times; returns the number of pairs."""
    count = 0
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (target / part).mkdir(parents=True)
    for split in ("train", "val", "test"):
        keys = (source / f"ImageSets/Segmentation/{split}.txt").read_text().split()
        copies = [(key, f"{key}_{number}") for key in keys for number in range(times)]
        for key, copy in copies:
            for part, ending in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
                link(source / part / f"{key}.{ending}", target / part / f"{copy}.{ending}")
        (target / f"ImageSets/Segmentation/{split}.txt").write_text("".join(f"{copy}\n" for _, copy in copies))
        count += len(copies)
    return count


def link(source: pathlib.Path, target: pathlib.Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # Another file system, or one without hard links.
        shutil.copyfile(source, target)


def run(data: pathlib.Path, root: pathlib.Path) -> dict:
    summary = root / "summary.json"
    command = [sys.executable, "-m", "pipeline", "run", *SETTINGS, f"--data={data}", f"--root={root}", f"--summary={summary}"]
    root.mkdir()
    subprocess.run([*command, "--spec=voc2007"], check=True)
    return json.loads(summary.read_text())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="a folder that holds VOCdevkit/VOC2007")
    parser.add_argument("--times", type=int, default=10, help="how many times as many pictures (default: %(default)s)")
    arguments = parser.parse_args()
    voc = arguments.data / "VOCdevkit" / "VOC2007"
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for times in (1, arguments.times):
            data = pathlib.Path(folder, f"times{times}")
            count = multiply(voc, data / "VOCdevkit" / "VOC2007", times)
            summary = run(data, pathlib.Path(folder, f"root{times}"))
            rows.append((count, summary["peak_memory_bytes"], summary["seconds"], summary["steps"]))
    for count, peak, seconds, steps in rows:
        print(f"{count:6} pictures: peak {peak / 2**30:.2f} GiB, {seconds:.0f} s")
        print("        " + ", ".join(f"{step['name']} {step['seconds']:.0f} s" for step in steps if step["seconds"] >= 1))
    growth = rows[1][1] / rows[0][1] - 1
    print(f"growth {growth:+.1%} (aim: at most {LIMIT:.0%})")
    return 0 if growth <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
