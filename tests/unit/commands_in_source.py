"""What a source file may run: its texts, and its lists of texts as one command line each.

Documentation is left out, and so are comments: they may name what must not be done. What is not known before the run
is a question mark.
"""

from __future__ import annotations

import ast
import typing as t

import yaml

_DOCUMENTATION = ("DOCUMENTATION", "EXAMPLES", "RETURN")


class _Loader(yaml.SafeLoader):
    """Takes !vault and other tags for what they hold."""


_Loader.add_multi_constructor("!", lambda loader, _suffix, node: loader.construct_scalar(node))


def python_commands(text: str) -> t.Iterator[str]:
    tree = ast.parse(text)
    skipped = {id(node) for part in ast.walk(tree) for node in _documentation(part)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Constant | ast.JoinedStr):
            yield _word(node)
        if isinstance(node, ast.List | ast.Tuple):
            yield " ".join(map(_word, node.elts))


def yaml_commands(text: str) -> t.Iterator[str]:
    for document in yaml.load_all(text, Loader=_Loader):
        yield from _scalars(document)


def _documentation(node: ast.AST) -> t.Iterator[ast.AST]:
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            yield first.value
    if isinstance(node, ast.Assign) and any(
        isinstance(it, ast.Name) and it.id in _DOCUMENTATION for it in node.targets
    ):
        yield node.value


def _word(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(_word(part) for part in node.values)
    if isinstance(node, ast.Starred):
        return _word(node.value)
    if isinstance(node, ast.List | ast.Tuple):
        return " ".join(map(_word, node.elts))
    return "?"


def _scalars(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            # "community.general.modprobe: {state: absent}" is a command as well.
            yield f"{key} {' '.join(_flat(item))}"
            yield from _scalars(item)
    elif isinstance(value, list):
        yield " ".join(_flat(value))
        for item in value:
            yield from _scalars(item)
    elif value is not None:
        yield str(value)


def _flat(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from (str(key), *_flat(item))
    elif isinstance(value, list):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield str(value)
