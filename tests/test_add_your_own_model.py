"""The guide, followed to the letter: its file, its line, its command, in a copy of the sources."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap

import pipeline_config

ROOT = pathlib.Path(pipeline_config.__file__).parent

TRY = """
    import dataclasses
    import keras
    import numpy as np
    from components import losses
    from components.code_digest import code_digest
    from components.models import names, registry
    from pipeline_config import TrainConfig, override, preset

    config = override(preset("mini"), {"model.name": "shallow", "transform.height_px": "12"}).model
    assert config.stride_px == 4
    model = registry.build(config, 3)
    images = np.random.default_rng(0).random((2, 12, 64, 3), np.float32)
    labels = (images[..., 0] > 0.5).astype(np.int32)
    model.compile(keras.optimizers.Adam(1e-3), losses.make_loss(TrainConfig()))
    before = model.evaluate(images, labels, verbose=0)
    model.fit(images, labels, epochs=5, verbose=0)
    assert model.evaluate(images, labels, verbose=0) < before
    assert registry.build(dataclasses.replace(config, head="sigmoid"), 2)(images).shape == (2, 12, 64, 2)
    assert len(code_digest("components.trainer", names.module_of("shallow"))) == 64
"""


def _run(folder: pathlib.Path, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    command = [sys.executable, "-W", "ignore", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_one_file_and_one_line_make_a_model(tmp_path: pathlib.Path) -> None:
    for name in ("components", "pipeline"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    guide = (ROOT / "docs" / "add-your-own-model.md").read_text()
    file, line = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    (tmp_path / "components" / "models" / "shallow.py").write_text(file)
    source = (ROOT / "pipeline_config.py").read_text()
    begin = "MODELS: dict[str, Architecture] = {\n"
    assert source.count(begin) == 1 and line.count("\n") == 1
    (tmp_path / "pipeline_config.py").write_text(source.replace(begin, begin + line))
    table = _run(tmp_path, "-m", "pipeline", "model", "shallow", "--summary", "--plot", "shallow.png")
    assert "shallow, drawn: shallow.png" in table and "logits" in table
    assert (tmp_path / "shallow.png").exists()
    _run(tmp_path, "-c", textwrap.dedent(TRY))
