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
    """Yields our own modules that a module imports, anywhere in it."""
    for node in ast.walk(_tree(_path(name))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from components import masks` names a module, `from components.masks import decode_mask` does not.
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [str(node.module)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == _FIRST_PARTY and _find(name))


def _find(name: str) -> pathlib.Path | None:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # `name` is an attribute of a module that is no package.
        return None
    return pathlib.Path(spec.origin) if spec and spec.origin else None


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
