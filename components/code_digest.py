"""A digest of the code that a step runs, so that TFX's cache notices a change in it (it knows import paths only by name)."""

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import pathlib
from collections.abc import Iterator

_FIRST_PARTY = "components"
_LIBRARIES = (
    "apache-beam",
    "keras",
    "numpy",
    "pillow",
    "tensorflow",
    "tensorflow-datasets",
    "tensorflow-model-analysis",
    "tensorflow-transform",
    "tfx",
)


def code_digest(*modules: str) -> str:
    """Returns a SHA-256 of these modules, of all of ours that they import, and of the versions of the libraries that matter.

    Imports are followed in the source, without running it. What counts is the syntax tree: comments and layout change nothing.
    `pipeline_config` does not count: its values are execution properties themselves.

    Args:
        *modules: dotted names, for instance "components.transform".

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    digest = hashlib.sha256()
    for name in sorted(_closure(modules)):
        digest.update(f"{name} {_tree_digest(_path(name))}\n".encode())
    for library in _LIBRARIES:
        digest.update(f"{library} {importlib.metadata.version(library)}\n".encode())
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
    for node in ast.walk(_tree(_path(name))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(name, node)
            # `from components import masks` names a module, `from components.masks import decode_mask` does not.
            names = [source, *(f"{source}.{alias.name}" for alias in node.names)]
        else:
            continue
        for imported in names:
            yield from (part for part in (*_packages(imported), imported) if part.split(".")[0] == _FIRST_PARTY and _find(part))


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


@functools.lru_cache(maxsize=256)
def _parse(source: bytes) -> ast.Module:
    return ast.parse(source)


def _tree(path: pathlib.Path) -> ast.Module:
    return _parse(path.read_bytes())


def _tree_digest(path: pathlib.Path) -> str:
    return hashlib.sha256(ast.dump(_tree(path)).encode()).hexdigest()
