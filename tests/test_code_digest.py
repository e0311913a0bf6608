"""The digest that tells TFX's cache of a change in our code: on small packages made for the purpose, and on the real one."""

import itertools
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from components import code_digest as module
from components.code_digest import code_digest

ROOT = pathlib.Path(module.__file__).parents[1]
NUMBERS = itertools.count()

# `top` imports `direct` and `b`, `b` imports `sub.nested`; nothing imports `stranger`. PKG stands for the package's name.
SOURCES = {
    "__init__.py": '"""A package."""\n',
    "top.py": "import json\n\nfrom PKG import b\nfrom PKG.direct import value\n\nLIMIT = 20\n\n\n"
    "def run():\n    return b.double(value)\n",
    "direct.py": "value = 3\n",
    "b.py": "import PKG.sub.nested\n\n\ndef double(x):\n    return PKG.sub.nested.FACTOR * x\n",
    "sub/__init__.py": "",
    "sub/nested.py": "FACTOR = 2\n",
    "stranger.py": "value = 4\n",
}


class Package:
    """Sources on the disk, and the digest of them."""

    def __init__(self, folder: pathlib.Path, sources: dict[str, str]) -> None:
        self.name = f"digested{next(NUMBERS)}"  # A new one each time: the import system remembers names.
        self.folder = folder / self.name
        for path, text in sources.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text.replace("PKG", self.name))

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text
        (self.folder / path).write_text(text.replace(old, new))

    def digest(self, *modules: str) -> str:
        return code_digest(*(f"{self.name}.{name}" for name in modules or ("top",)))


@pytest.fixture
def make(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[dict[str, str]], Package]]:
    known = set(sys.modules)

    def make(sources: dict[str, str]) -> Package:
        package = Package(tmp_path, sources)
        monkeypatch.setattr(module, "_FIRST_PARTY", package.name)
        return package

    monkeypatch.syspath_prepend(tmp_path)
    yield make
    for name in set(sys.modules) - known:
        if name.startswith("digested"):
            del sys.modules[name]


@pytest.fixture
def package(make: Callable[[dict[str, str]], Package]) -> Package:
    return make(SOURCES)


def test_digest_is_stable(package: Package) -> None:
    first = package.digest()
    assert len(first) == 64 and int(first, 16) >= 0
    assert package.digest() == first


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 20", "LIMIT = 20  # Twenty."),
        ("LIMIT = 20", "# A limit.\nLIMIT = 20"),
        ("LIMIT = 20", "\n\nLIMIT   =  (20)\n"),
        ("    return", "        return"),
        ("\n", "\r\n"),
    ],
    ids=["comment behind", "comment line", "blanks and brackets", "indentation", "line ends"],
)
def test_comment_or_layout_changes_nothing(package: Package, old: str, new: str) -> None:
    before = package.digest()
    package.edit("top.py", old, new)
    assert package.digest() == before


def test_time_stamp_changes_nothing(package: Package) -> None:
    before = package.digest()
    os.utime(package.folder / "top.py", (1, 1))
    assert package.digest() == before


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("top.py", "20", "21"),
        ("top.py", "20", "20.0"),
        ("top.py", "LIMIT", "LIMITS"),
        ("direct.py", "3", "4"),
        ("b.py", "FACTOR * x", "FACTOR + x"),
        ("sub/nested.py", "2", "3"),
    ],
    ids=["literal", "type of a literal", "name", "from x import y", "from package import module", "import a.b, nested"],
)
def test_change_in_the_module_or_in_one_it_imports_changes_the_digest(package: Package, path: str, old: str, new: str) -> None:
    before = package.digest()
    package.edit(path, old, new)
    changed = package.digest()
    assert changed != before
    package.edit(path, new, old)
    assert package.digest() == before


def test_change_in_a_module_that_is_not_imported_changes_nothing(package: Package) -> None:
    before = package.digest()
    package.edit("stranger.py", "4", "5")
    assert package.digest() == before
    package.edit("top.py", "import json", "import json\nimport PKG.stranger".replace("PKG", package.name))
    package.edit("stranger.py", "5", "6")
    followed = package.digest()
    package.edit("stranger.py", "6", "7")
    assert package.digest() != followed


def test_several_modules_count_each_in_any_order(package: Package) -> None:
    both = package.digest("top", "stranger")
    assert package.digest("stranger", "top") == both
    assert package.digest("top") != both
    package.edit("stranger.py", "4", "5")
    assert package.digest("top", "stranger") != both


def test_named_module_that_is_imported_anyway_changes_nothing(package: Package) -> None:
    assert package.digest("top", "direct") == package.digest("top")


@pytest.mark.parametrize(
    "text",
    [
        "import PKG.direct\n",
        "import PKG.direct as d\n",
        "from PKG import direct\n",
        "from PKG import direct as d\n",
        "from PKG.direct import value\n",
        "from PKG.direct import *\n",
        "import json, PKG.direct\n",
        "def f():\n    from PKG import direct\n    return direct\n",
        "class A:\n    def f(self):\n        if self:\n            import PKG.direct\n",
        "try:\n    import nowhere\nexcept ImportError:\n    from PKG import direct\n",
        "from . import direct\n",
        "from .direct import value\n",
        "from .sub import far\n",
    ],
)
def test_import_is_followed_in_every_form(make: Callable[[dict[str, str]], Package], text: str) -> None:
    sources = {
        "__init__.py": "",
        "direct.py": "value = 3\n",
        "sub/__init__.py": "",
        "sub/far.py": "from ..direct import value\n",
    }
    package = make({**sources, "top.py": text})
    before = package.digest()
    package.edit("direct.py", "3", "4")
    assert package.digest() != before


def test_imports_in_a_circle_end(make: Callable[[dict[str, str]], Package]) -> None:
    package = make({"__init__.py": "", "top.py": "import PKG.other\n", "other.py": "import PKG.top\nx = 1\n"})
    before = package.digest()
    package.edit("other.py", "1", "2")
    assert package.digest() != before


def test_file_of_a_package_that_an_import_runs_counts(make: Callable[[dict[str, str]], Package]) -> None:
    """`import a.b.c` runs `a/__init__.py` and `a/b/__init__.py` too."""
    package = make({"__init__.py": "", "sub/__init__.py": "x = 1\n", "sub/far.py": "", "top.py": "from PKG.sub.far import y\n"})
    before = package.digest()
    package.edit("sub/__init__.py", "1", "2")
    assert package.digest() != before


def test_nothing_of_what_is_digested_runs(make: Callable[[dict[str, str]], Package]) -> None:
    package = make(
        {
            "__init__.py": "",
            "top.py": "from PKG.direct import value\nraise RuntimeError('top ran')\n",
            "direct.py": "value = 3\nraise RuntimeError('direct ran')\n",
        }
    )
    before = package.digest()
    package.edit("direct.py", "3", "4")
    assert package.digest() != before


def test_other_peoples_modules_and_the_configuration_do_not_count(
    make: Callable[[dict[str, str]], Package], tmp_path: pathlib.Path
) -> None:
    text = "import foreign_module\nfrom pipeline_config import TrainConfig\n"
    package = make({"__init__.py": "", "top.py": text})
    before = package.digest()
    (tmp_path / "foreign_module.py").write_text("x = 1\n")
    (tmp_path / "pipeline_config.py").write_text("x = 1\n")
    assert package.digest() == before


def test_module_whose_name_only_begins_like_ours_does_not_count(
    make: Callable[[dict[str, str]], Package], tmp_path: pathlib.Path
) -> None:
    package = make({"__init__.py": "", "top.py": "import PKG_tools\n"})
    (tmp_path / f"{package.name}_tools.py").write_text("x = 1\n")
    before = package.digest()
    (tmp_path / f"{package.name}_tools.py").write_text("x = 2\n")
    assert package.digest() == before


@pytest.mark.parametrize("name", ["nowhere", "sub.nowhere", "direct.value", "nowhere.x"])
def test_unknown_module_is_named(package: Package, name: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=f"{package.name}.{name.split('.')[0]}"):
        package.digest(name)


@pytest.mark.parametrize(("library", "counts"), [("keras", True), ("tfx", False)])
def test_version_of_a_library_counts_where_it_is_imported(
    make: Callable[[dict[str, str]], Package], monkeypatch: pytest.MonkeyPatch, library: str, counts: bool
) -> None:
    package = make({"__init__.py": "", "top.py": "from keras import layers\n"})
    before = package.digest()
    real = module.importlib.metadata.version
    monkeypatch.setattr(module.importlib.metadata, "version", lambda name: "0.0" if name == library else real(name))
    assert (package.digest() != before) == counts


def test_docstrings_of_any_kind_do_not_count(make: Callable[[dict[str, str]], Package]) -> None:
    code = '{0}\nLIMIT = 3\n{0}\n\n\nclass A:\n    {0}\n    def f(self):\n        {0}\n        return "kept"\n'
    package = make({"__init__.py": "", "top.py": code.format('"""One."""')})
    before = package.digest()
    package.write("top.py", code.format('"""Two."""'))
    assert package.digest() == before
    package.edit("top.py", '"kept"', '"lost"')
    assert package.digest() != before


# The real code.


@pytest.fixture
def copy(tmp_path: pathlib.Path) -> pathlib.Path:
    """Our sources at another place, to be edited."""
    for path in [ROOT / "pipeline_config.py", *(ROOT / "components").rglob("*.py")]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path


LIGHT = ("components.masks", "components.iou")
"""Modules that need no TensorFlow, so that a process that digests them starts at once."""


def _in_new_process(folder: pathlib.Path, *modules: str, seed: str = "0") -> str:
    code = f"from components.code_digest import code_digest; print(code_digest(*{modules!r}))"
    environment = os.environ | {"PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_digest_is_the_same_in_other_processes_and_at_another_place(copy: pathlib.Path) -> None:
    digests = {_in_new_process(folder, *LIGHT, seed=seed) for folder in (ROOT, copy) for seed in ("1", "2")}
    assert digests == {code_digest(*LIGHT)}


def test_configuration_does_not_count_in_the_real_code(copy: pathlib.Path) -> None:
    before = _in_new_process(copy, *LIGHT)
    with (copy / "pipeline_config.py").open("a") as file:
        file.write("\nADDED = 1\n")
    assert _in_new_process(copy, *LIGHT) == before


def test_model_file_that_is_not_chosen_does_not_count() -> None:
    unet = module._closure(("components.trainer", "components.models.unet"))
    strided = module._closure(("components.trainer", "components.models.unet_strided"))
    assert "components.models.unet" in unet and "components.models.unet_strided" not in unet
    assert strided - unet == {"components.models.unet_strided"}
    assert unet - strided == {"components.models.unet", "components.models.blocks"}


@pytest.mark.parametrize(
    ("step", "reads", "does_not_read"),
    [
        (
            ("components.example_gen", "components.datasets.voc2007"),
            {
                "components.datasets.voc2007.builder",
                "components.datasets.builder",
                "components.datasets.examples",
                "components.datasets.layout",
                "components.datasets.mask_reader",
                "components.preprocessing",
            },
            {"components.transform", "components.trainer", "components.iou_tfma", "components.datasets.fake_voc"},
        ),
        (
            ("components.transform",),
            {"components.features", "components.preprocessing"},
            {"components.trainer", "components.iou_tfma", "components.datasets.layout", "components.serving"},
        ),
        (
            ("components.trainer", "components.models.unet"),
            {
                "components.serving",
                "components.preprocessing",
                "components.losses",
                "components.iou_tensorflow",
                "components.input_pipeline",
            },
            {
                "components.transform",
                "components.example_gen",
                "components.iou_tfma",
                "components.pusher",
                "components.models.encoders.registry",
            },
        ),
        (
            ("components.trainer", "components.models.unet_pretrained"),
            {
                "components.models.encoders.registry",
                "components.models.encoders.applications",
                "components.models.encoders.efficientnet_lite",
                "components.models.torch_weights",
            },
            {"components.models.unet", "components.models.deeplabv3plus", "components.models.encoders.weights"},
        ),
        (
            ("components.iou_tfma", "components.evaluator"),
            {"components.iou", "components.features"},
            {"components.trainer", "components.preprocessing", "components.models.unet", "components.transform"},
        ),
        (
            ("components.pusher",),
            set(),
            {"components.errors", "components.serving", "components.trainer", "components.evaluator"},
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_step_counts_what_it_runs_and_no_other_step(step: tuple[str, ...], reads: set[str], does_not_read: set[str]) -> None:
    closure = module._closure(step)
    assert reads <= closure
    assert not does_not_read & closure
    assert not any(name.startswith("pipeline") for name in closure)
