"""The house's arrows: who may import whom, walked through the source, and what a fresh interpreter loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# design.md, "The house": package -> the others that it may import.
ARROWS: dict[str, frozenset[str]] = {
    "m3_backbone": frozenset(),
    "data": frozenset({"m3_backbone"}),
    "router": frozenset({"m3_backbone"}),
    "training": frozenset({"m3_backbone", "data", "router"}),
}
HEAVY = frozenset({"torch", "transformers", "lightgbm", "sklearn"})
# What router and data may not touch, not even inside a function: they see models through `Engine`.
FORBIDDEN = {"router": HEAVY, "data": HEAVY}
# Backbone modules of which router and data depend.
TORCH_FREE = (
    "containers",
    "cost",
    "dispatcher",
    "engine",
    "fake",
    "image_cache",
    "images",
    "jobs",
    "runner",
    "scales",
    "types",
    "worker",
)


def modules(package: str) -> dict[str, Path]:
    """Dotted name -> file of every module of ``package``."""
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(source: str, module: str, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that ``source`` imports: at the top, in functions, under
    TYPE_CHECKING, relatively, and by ``import_module("name")``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, base]).rstrip(".")
            yield node.lineno, base
        elif isinstance(node, ast.Call) and node.args:
            function = node.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            first = node.args[0]
            if called in {"import_module", "__import__"} and isinstance(first, ast.Constant):
                yield node.lineno, str(first.value)


def wrong_arrows(package: str, module: str, source: str, is_package: bool = False) -> list[str]:
    """One line per import that design.md does not allow."""
    own = {*ARROWS, "tests"} - {package} - ARROWS[package] | FORBIDDEN.get(package, frozenset())
    return [
        f"{module}:{line} imports {name}"
        for line, name in imports(source, module, is_package)
        if name.split(".")[0] in own
    ]


@pytest.mark.parametrize("package", ARROWS)
def test_imports_point_downward_only(package: str) -> None:
    found = modules(package)
    assert found
    wrong = [
        line
        for module, path in found.items()
        for line in wrong_arrows(package, module, path.read_text(encoding="utf-8"), path.stem == "__init__")
    ]
    assert wrong == []


def test_the_torch_free_part_of_the_backbone_never_names_torch() -> None:
    for name in TORCH_FREE:
        source = (ROOT / "m3_backbone" / f"{name}.py").read_text(encoding="utf-8")
        assert not [found for _, found in imports(source, name) if found.split(".")[0] in HEAVY], name


@pytest.mark.parametrize(
    ("package", "source", "wrong"),
    [
        ("m3_backbone", "import router", ["x:1 imports router"]),
        ("m3_backbone", "import torch", []),
        ("router", "from m3_backbone.types import Engine", []),
        ("router", "def f():\n    import torch.nn", ["x:2 imports torch.nn"]),
        ("router", "if TYPE_CHECKING:\n    from data.records import Sample", ["x:2 imports data.records"]),
        ("router", "importlib.import_module('training.fit')", ["x:1 imports training.fit"]),
        ("router", "import training_tools, routers", []),
        ("data", "from router import Router", ["x:1 imports router"]),
        ("training", "from data import records\nimport router, m3_backbone, lightgbm", []),
        ("training", "from tests.routing import outcomes", ["x:1 imports tests.routing"]),
    ],
)
def test_the_walk_sees_every_way_to_import(package: str, source: str, wrong: list[str]) -> None:
    assert wrong_arrows(package, "x", source) == wrong


def test_the_walk_resolves_relative_imports() -> None:
    assert list(imports("from .. import types", "router.service.app")) == [(1, "router")]
    assert list(imports("from ..cli import ask", "router.service.app")) == [(1, "router.cli")]
    assert list(imports("from .app import x", "router.service", is_package=True)) == [
        (1, "router.service.app")
    ]


def loaded_after(*names: str) -> set[str]:
    """Top-level modules of a fresh interpreter that has imported ``names``."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\n"
    code += "print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *names],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_backbone_loads_neither_torch_nor_anything_of_the_house() -> None:
    loaded = loaded_after("m3_backbone", *(f"m3_backbone.{name}" for name in TORCH_FREE))
    assert not loaded & (HEAVY | {"router", "data", "training"})


def test_importing_all_of_router_loads_neither_torch_nor_lightgbm_nor_training() -> None:
    loaded = loaded_after("m3_backbone.fake", *modules("router"))
    assert not loaded & (HEAVY | {"data", "training"})


def test_importing_all_of_data_loads_no_model() -> None:
    loaded = loaded_after(*modules("data"))
    assert not loaded & (HEAVY | {"router", "training"})


@pytest.mark.parametrize("command", ["router.cli.main", "training.cli.main"])
def test_the_commands_start_without_torch(command: str) -> None:
    assert not loaded_after(command) & HEAVY
