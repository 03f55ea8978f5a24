"""Types as text, such as `list[Person] | None`, resolved without evaluating code."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from types import ModuleType
from typing import Any, get_origin


def type_expression(text: str, variables: Mapping[str, object]) -> object:
    """Return the type that names, dotted names of modules, subscripts and `|` describe.

    Raises ValueError for anything else, SyntaxError, or TypeError if a type does not take its parameters.
    """
    value = _resolved(ast.parse(text.strip(), mode="eval").body, variables)
    if not _is_type(value):
        raise ValueError(f"{text} is not a type")
    return value


def _resolved(node: ast.expr, variables: Mapping[str, object]) -> Any:
    match node:
        case ast.Constant(value=None):
            return None
        case ast.Name(id=name):
            return _named(name, variables)
        case ast.Attribute(value=inner, attr=name):
            module = _resolved(inner, variables)
            if not isinstance(module, ModuleType) or name not in vars(module):
                raise ValueError(f"no type {ast.unparse(node)}")
            return vars(module)[name]
        case ast.Subscript(value=inner, slice=parameters):
            generic = _resolved(inner, variables)
            if not _is_type(generic):
                raise ValueError(f"{ast.unparse(inner)} is not a type")
            return generic[_resolved(parameters, variables)]
        case ast.Tuple(elts=elements):
            return tuple(_resolved(element, variables) for element in elements)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            sides: list[Any] = [_resolved(side, variables) for side in (left, right)]
            if not all(side is None or _is_type(side) for side in sides):
                raise ValueError(f"{ast.unparse(node)} is not a type")
            return sides[0] | sides[1]
        case ast.Constant(value=value) if value is ...:
            return ...
        case _:
            raise ValueError(f"{ast.unparse(node)} is not a type")


def _named(name: str, variables: Mapping[str, object]) -> object:
    if name in variables:
        return variables[name]
    value = getattr(builtins, name, None)
    if not isinstance(value, type):
        raise ValueError(f"no variable {name}")
    return value


def _is_type(value: object) -> bool:
    return isinstance(value, type) or get_origin(value) is not None or type(value).__module__ == "typing"
