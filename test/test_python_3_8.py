"""Generic types at run time, which Python 3.8 has in `typing` alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = [
    path
    for room in ("irvis_fusion_core", "irvis_fusion_ros", "launch")
    for path in sorted((ROOT / room).rglob("*.py"))
]
BUILTINS = {"dict", "frozenset", "list", "set", "tuple", "type"}


def evaluated(node):
    """The node and everything below it that Python evaluates: no annotations."""
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
        return
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from evaluated(child)


@pytest.mark.parametrize("path", RUNTIME, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_generic_of_python_3_9_is_evaluated(path):
    tree = ast.parse(path.read_text())
    names = set(BUILTINS)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("collections", "collections.abc"):
            names |= {alias.asname or alias.name for alias in node.names}
    found = [
        f"line {node.lineno}: {node.value.id}[...]"
        for node in evaluated(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id in names
    ]
    assert not found, f"use the generic type of `typing` in {path.name}: {found}"
