"""The layout of the package: rooms import downward, the core stays light, files stay short."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it there

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "partscope"
DESIGN = ROOT / "docs" / "design.md"
MODULES = sorted(SOURCE.rglob("*.py"))
MOST_LINES = 400

#: What the core must work without: an extra's packages, and what only tests and benchmarks use.
NOT_IN_THE_CORE = (
    *("matplotlib", "jinja2", "ndf", "pomegranate", "captum", "ray"),
    *("pandas", "tables", "h5py", "pooch", "supervision", "av"),
    *("fastapi", "starlette", "uvicorn"),
    *("numba", "llvmlite"),
)
#: What Numba compiles.
COMPILED = SOURCE / "backward" / "compiled"
#: The rooms that draw; everything else is the core.
DRAWING = ("figures", "report", "demo")
#: The rooms that need the extra web.
SERVING = ("web",)
#: The room that is an extra's package from another side.
ATTRIBUTING = ("captum",)
#: docs/design.md's last column, where it can be said in imports.
MUST_NOT_KNOW = {
    "backbones": {
        "symmetry",
        "dataset",
        "formats",
        "synthetic",
        "predictions",
        "prior",
        "metrics",
        "evaluation",
    },
    "maps": {"symmetry", "dataset", "formats", "synthetic", "predictions", "prior", "metrics", "evaluation"},
    "centres": {"images", "dataset", "predictions", "backbones", "maps"},
    "scan": {"symmetry", "predictions", "prior", "metrics", "evaluation"},
    "selection": {"images", "backbones", "maps"},
    "metrics": {"images", "backbones"},
}
#: The extras whose packages the source may import, where it needs them.
FOR_USERS = (
    "fast",
    "squeezenet",
    "plot",
    "formats",
    "download",
    "supervision",
    "captum",
    "video",
    "web",
    "ray",
    "remote",
)
#: Where a package's name is not that of its module. (Installed metadata tell it from Python 3.11 on only.)
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "skimage": "scikit-image", "llvmlite": "numba"}
#: Rooms below the backbones know no network.
NETWORKS = ("torch", "torchvision", "timm")


@cache
def rooms() -> list[str]:
    """Return the rooms in the order of docs/design.md's diagram; a room imports only from its left."""
    diagram = [line for line in DESIGN.read_text("utf-8").splitlines() if line.startswith("    ")]
    chain = [line for line in diagram if "─▶" in line]
    return [name for name in re.split(r"[\s·─▶]+", " ".join(chain)) if name]


def room(path: Path) -> str:
    """Return the room of a source file; the package's own `__init__` and `__main__` are the roof over all rooms."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "(roof)" if first in ("__init__", "__main__") else first


def top(name: str) -> str:
    """Return the top-level package of a dotted name."""
    return name.split(".")[0]


def nodes(tree: ast.AST, while_loading: bool) -> Iterator[ast.AST]:
    """Yield the nodes of a module; `while_loading` leaves out the bodies of functions and of `if TYPE_CHECKING`."""
    for node in ast.iter_child_nodes(tree):
        if while_loading and (
            isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        ):
            continue
        yield node
        yield from nodes(node, while_loading)


@cache
def imported(path: Path, while_loading: bool = False) -> tuple[tuple[str, int], ...]:
    """Return `(dotted name, line)` for everything that a file imports, `from a import b` as `a.b`."""
    return tuple(_imported(path, while_loading))


def _imported(path: Path, while_loading: bool) -> Iterator[tuple[str, int]]:
    package = path.relative_to(SOURCE.parent).with_suffix("").parts[:-1]
    for node in nodes(ast.parse(path.read_text("utf-8"), str(path)), while_loading):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            prefix = ".".join((*base, *((node.module,) if node.module else ())))
            yield from ((f"{prefix}.{alias.name}", node.lineno) for alias in node.names)


def own_imports(path: Path) -> Iterator[tuple[str, int]]:
    """Yield `(room, line)` for every import of the package's own modules; its version is free to all."""
    for name, line in imported(path):
        parts = name.split(".")
        if parts[0] == "partscope" and name != "partscope.__version__":
            yield (parts[1] if len(parts) > 1 else "(roof)"), line


def name_of(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def test_design_names_the_rooms_that_exist() -> None:
    assert rooms()[0] == "errors"
    assert rooms()[-1] == "cli"
    assert len(set(rooms())) == len(rooms())
    unnamed = {room(path) for path in MODULES} - {"(roof)"} - set(rooms())
    assert not unnamed, f"docs/design.md's diagram gives these rooms no place: {sorted(unnamed)}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_import_only_from_their_left(path: Path) -> None:
    here = room(path)
    if here == "(roof)":
        pytest.skip("the package's front door may show every room")
    assert here in rooms(), f"docs/design.md's diagram gives the room {here} no place"
    allowed = {*rooms()[: rooms().index(here) + 1]}
    wrong = [f"line {line}: {other}" for other, line in own_imports(path) if other not in allowed]
    assert not wrong, f"{name_of(path)} ({here}) imports from its right: {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_rooms_do_not_know_what_they_must_not(path: Path) -> None:
    forbidden = MUST_NOT_KNOW.get(room(path), set())
    wrong = [f"line {line}: {other}" for other, line in own_imports(path) if other in forbidden]
    assert not wrong, f"{name_of(path)} imports what its room must not know: {wrong}"
    if room(path) in rooms()[: rooms().index("backbones")]:
        wrong = [f"line {line}: {name}" for name, line in imported(path) if top(name) in NETWORKS]
        assert not wrong, f"{name_of(path)} lies below the backbones and imports a network: {wrong}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_are_short_and_named_after_an_idea(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MOST_LINES, f"{name_of(path)} has {lines} lines; split it by idea"
    words = {word for part in path.relative_to(SOURCE).with_suffix("").parts for word in part.split("_")}
    assert not words & {"util", "utils", "helper", "helpers"}


def needs_extra(path: Path) -> bool:
    """Whether a module may import what an extra installs: rooms that draw and so on, and the part that Numba compiles."""
    return room(path) in DRAWING + SERVING + ATTRIBUTING or COMPILED in path.parents


@cache
def declared_packages() -> set[str]:
    """Return the packages that pyproject.toml declares for users."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for name in FOR_USERS for line in extras[name])]
    return {re.split(r"[^\w.-]", line)[0].lower().replace("_", "-") for line in lines}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_third_party_imports_are_declared(path: Path) -> None:
    for name, line in imported(path):
        module = top(name)
        if module not in sys.stdlib_module_names and module != "partscope":
            package = PACKAGES.get(module, module.replace("_", "-"))
            assert package in declared_packages(), (
                f"{name_of(path)}, line {line}: {module} is no declared dependency"
            )


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_core_imports_no_extra(path: Path) -> None:
    """An extra's package is imported in the rooms that draw, or inside the function that needs it."""
    if needs_extra(path):
        pytest.skip("this room may import what its extra installs")
    wrong = [
        f"line {line}: {name}"
        for name, line in imported(path, while_loading=True)
        if top(name) in NOT_IN_THE_CORE
    ]
    assert not wrong, f"{name_of(path)} imports a package of an extra while it loads: {wrong}"


def test_core_works_without_extras() -> None:
    """Every module of the core can be imported where the extras' packages are not installed.

    They are hidden instead of looked for afterwards, since scikit-learn loads pandas by itself where it finds it.
    """
    core = [
        ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
        if not needs_extra(path) and path.name != "__main__.py"
    ]
    script = f"""
import importlib, sys
sys.modules.update(dict.fromkeys({NOT_IN_THE_CORE!r}))
for name in {["partscope", *core]!r}:
    importlib.import_module(name)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


def test_import_partscope_is_light() -> None:
    """`import partscope` alone loads no package of an extra (but for pandas, which scikit-learn may load)."""
    script = f"import sys, partscope; print(*((set({NOT_IN_THE_CORE!r}) - {{'pandas'}}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
