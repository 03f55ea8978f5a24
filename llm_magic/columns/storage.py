"""Columns that wait, as text in the ledger's database, and back.

Only the texts of the rows are stored. A column that is made of them has the same keys, so its answers are kept for the
cell that is run again with the table.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from llm_magic.columns.inputs import source_of
from llm_magic.columns.preparation import Preparation
from llm_magic.columns.rows import ColumnSpec
from llm_magic.columns.source import VALUE
from llm_magic.columns.template import Cell, Template
from llm_magic.types import Outcome
from llm_magic.waiting import encoding
from llm_magic.waiting.store import MAX_CONTENT_CHARS, StoredJob


def stored_column(
    spec: ColumnSpec, preparation: Preparation, max_cost_usd: Decimal | None, names: tuple[str, ...]
) -> StoredJob | None:
    """Return what to store of a column; None for a stream, whose rows are not known yet, and for too much text."""
    known = preparation.known
    if known is None or not encoding.is_storable(spec.base):
        return None
    positions = [position for position in known.firsts if known.outcome(position) != Outcome.OK]
    fields: dict[str, Any] = {
        "request": encoding.to_json(spec.base),
        "prompts": known.prompts(positions),
        "pilot": spec.pilot,
        "keep_s": spec.keep_s,
        "max_cost_usd": None if max_cost_usd is None else str(max_cost_usd),
    }
    content = json.dumps(fields)
    return None if len(content) > MAX_CONTENT_CHARS else StoredJob(kind="column", content=content, names=names)


def restored_column(content: str) -> tuple[ColumnSpec, Decimal | None]:
    """Return a stored column, whose rows are the stored texts, and its cap."""
    fields: dict[str, Any] = json.loads(content)
    base = encoding.from_json(fields["request"])
    template = Template(parts=(Cell(column=0, name=VALUE),), columns=(VALUE,), routing_text=base.routing_text or "")
    source = source_of(fields["prompts"])
    spec = ColumnSpec(
        base=base, template=template, source=source, into=None, pilot=fields["pilot"], keep_s=fields["keep_s"]
    )
    return spec, None if fields["max_cost_usd"] is None else Decimal(fields["max_cost_usd"])
