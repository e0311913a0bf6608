"""A digest of the code that a step runs, so that TFX's cache notices a change in it (it knows import paths only by name)."""

import ast
import dataclasses
import functools
import hashlib
import importlib.metadata
import importlib.util
import pathlib
from collections.abc import Iterator

_FIRST_PARTY = "components"
_NEUTRAL = (
    *("components.errors", "components.progress", "components.profiling"),
    *("components.datasets.registry", "components.models.names"),
)
"""Modules that change no result: messages, clocks, and tables that find a module, which a step names itself."""

_LIBRARIES = {
    "PIL": ("pillow",),
    "apache_beam": ("apache-beam",),
    "imagehash": ("imagehash",),
    "keras": ("keras",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "tensorflow": ("tensorflow",),
    "tensorflow_datasets": ("tensorflow-datasets",),
    "tensorflow_model_analysis": ("tensorflow-model-analysis",),
    "tfx": ("tfx", "tensorflow-transform"),  # TFX calls Transform's library for us.
}
"""The libraries whose versions count where they are imported: what is imported, and the distributions behind it."""


def code_digest(*modules: str) -> str:
    """Returns a SHA-256 of these modules, of all of ours that they import, and of the versions of the libraries behind them.

    Imports are followed in the source, without running it. What counts is the syntax tree without docstrings: comments,
    docstrings and layout change nothing. `pipeline_config` does not count: its values are execution properties themselves.

    Args:
        *modules: dotted names, for instance "components.transform".

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    digest = hashlib.sha256()
    names = sorted(_closure(modules))
    for name in names:
        digest.update(f"{name} {_read(_path(name)).digest}\n".encode())
    imported = {name.split(".")[0] for module in names for name in _imported_names(module)}
    for library in sorted(imported & set(_LIBRARIES)):
        for name in _LIBRARIES[library]:
            digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    return digest.hexdigest()


def _closure(modules: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo += _imports(name)
    return found


def _imports(name: str) -> Iterator[str]:
    """Yields our own modules that a module imports, anywhere in it, and the packages that it stands in."""
    yield from _packages(name)
    for imported in _imported_names(name):
        for part in (*_packages(imported), imported):
            if part.split(".")[0] == _FIRST_PARTY and part not in _NEUTRAL and _find(part):
                yield part


def _imported_names(name: str) -> Iterator[str]:
    """Yields what a module's import statements name, absolutely: modules, and perhaps attributes of modules."""
    for node in _read(_path(name)).imports:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            source = _absolute(name, node)
            # `from components import masks` names a module, `from components.masks import decode_mask` does not.
            yield from (source, *(f"{source}.{alias.name}" for alias in node.names))


def _packages(name: str) -> list[str]:
    """Returns the packages around a module: importing `a.b.c` runs `a` and `a.b`."""
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts))]


def _absolute(name: str, node: ast.ImportFrom) -> str:
    """Returns the module that a `from ... import` names, relative imports resolved."""
    if not node.level:
        return str(node.module)
    is_package = _path(name).name == "__init__.py"
    parts = name.split(".")
    package = parts[: len(parts) - node.level + is_package]
    return ".".join([*package, *([node.module] if node.module else [])])


def _find(name: str) -> pathlib.Path | None:
    """Returns a module's file without importing its packages, which `find_spec` of a dotted name would do."""
    top, *rest = name.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return None
    folder = pathlib.Path(spec.origin).parent
    candidates = [folder.joinpath(*rest, "__init__.py")]
    if rest:
        candidates.append(folder.joinpath(*rest).with_suffix(".py"))
    return next((path for path in candidates if path.is_file()), None)


def _path(name: str) -> pathlib.Path:
    path = _find(name)
    if path is None:
        raise ModuleNotFoundError(f"No module {name!r}.")
    return path


@dataclasses.dataclass(frozen=True)
class _Source:
    """What counts of a module's source: the digest of its syntax tree, and its import statements."""

    digest: str
    imports: tuple[ast.Import | ast.ImportFrom, ...]


@functools.lru_cache(maxsize=256)
def _parse(source: bytes) -> _Source:
    """Reads the syntax tree without docstrings; each source once, as most of the steps have most of the modules."""
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [child for child in node.body if not _is_bare_string(child)]
    imports = tuple(node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom))
    return _Source(hashlib.sha256(ast.dump(tree).encode()).hexdigest(), imports)


def _is_bare_string(node: ast.stmt) -> bool:
    """Tells docstrings, of modules, classes, functions and (below them) of attributes: they do nothing."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _read(path: pathlib.Path) -> _Source:
    return _parse(path.read_bytes())
