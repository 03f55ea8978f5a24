"""The options of a column, in addition to those of a request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_type_hints

from llm_magic.errors import InvalidOption
from llm_magic.routing import validation
from llm_magic.routing.option import Option
from llm_magic.routing.options import RequestOptions

DEFAULT_PILOT = 20
_DAY_S = 86_400.0


def _into(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidOption("into", value, "the name of a column")
    return value


def _pilot(value: object) -> int:
    if type(value) is not int or value < 0:
        raise InvalidOption("pilot", value, "a number of rows, zero or more")
    return value


def _missing(value: object) -> object:
    if value not in ("skip", "ask"):
        raise InvalidOption("missing", value, "skip or ask")
    return value


def _keep_s(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 36_500:
        raise InvalidOption("keep", value, "a number of days, more than zero")
    return value * _DAY_S


class ColumnOptions(RequestOptions, total=False):
    """The keywords of `Router.map`, in addition to `over`."""

    into: Annotated[
        str | None,
        Option(
            flag="--into",
            metavar="NAME",
            check=_into,
            help="The column for the answers. With a schema, its fields become columns too.",
            default="answer, or only the fields of the schema",
        ),
    ]
    pilot: Annotated[
        int | None,
        Option(
            flag="--pilot",
            metavar="ROWS",
            parse=validation.whole_number,
            check=_pilot,
            help="Ask this many rows first, and stop if they cost much more than expected. 0: no pilot.",
            default=f"{DEFAULT_PILOT}",
        ),
    ]
    missing: Annotated[
        str | None,
        Option(
            flag="--missing",
            metavar="HOW",
            check=_missing,
            help="Rows without a value in a column that the text mentions: skip them, or ask with an empty text.",
            default="skip",
        ),
    ]
    keep: Annotated[
        float | None,
        Option(
            flag="--keep",
            metavar="DAYS",
            parse=validation.number,
            check=_keep_s,
            help="Keep the answers in the ledger's database for this many days. Their text is stored there until then.",
            default="until the whole frame was read",
        ),
    ]


def _read() -> dict[str, Option]:
    hints = get_type_hints(ColumnOptions, include_extras=True)
    own = ColumnOptions.__annotations__
    return {
        name: hint.__metadata__[0]
        for name, hint in hints.items()
        if name in own and name not in RequestOptions.__annotations__
    }


COLUMN_OPTIONS: Mapping[str, Option] = _read()
