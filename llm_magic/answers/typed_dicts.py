"""`typing.TypedDict` for Pydantic, which takes only that of `typing_extensions` on Python 3.11."""

from __future__ import annotations

import sys
import types
from typing import Annotated, Any, Union, cast, get_args, get_origin, get_type_hints

import typing_extensions


def for_pydantic(hint: Any, inside: tuple[Any, ...] = ()) -> Any:
    """Replace each `typing.TypedDict` in a type, except one within itself."""
    if sys.version_info >= (3, 12) or hint in inside:
        return hint
    if typing_extensions.is_typeddict(hint):
        return _rebuilt(hint, (*inside, hint)) if type(hint).__module__ == "typing" else hint
    arguments = get_args(hint)
    replaced = tuple(for_pydantic(argument, inside) for argument in arguments)
    if replaced == arguments:
        return hint
    origin: Any = get_origin(hint)
    if origin in (Union, types.UnionType):
        return cast("Any", Union)[replaced]
    if origin is Annotated:
        return Annotated[replaced]
    return origin[replaced]


def _rebuilt(cls: Any, inside: tuple[Any, ...]) -> Any:
    fields: dict[str, Any] = {}
    for name, hint in get_type_hints(cls, include_extras=True).items():
        # A stated `Required` in an annotation that is text is missing from `__required_keys__`.
        stated: Any = get_origin(hint)
        is_stated = stated in (typing_extensions.Required, typing_extensions.NotRequired)
        default: Any = typing_extensions.Required if name in cls.__required_keys__ else typing_extensions.NotRequired
        kind, inner = (stated, get_args(hint)[0]) if is_stated else (default, hint)
        fields[name] = kind[for_pydantic(inner, inside)]
    return cast("Any", typing_extensions.TypedDict)(cls.__name__, fields)
