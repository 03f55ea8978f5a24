"""Training prompts put together from parts: labels of short texts, function calls, queries, extraction, and long
prompts, each material with requests of every tier. The same parts, the same prompts."""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from typing import Any

from llm_magic.lab.evaluate.data import Labelled
from llm_magic.lab.prompts import OWN, read
from llm_magic.types import TaskTier

LABELS, EXTRACTIONS, BRIEFS = 420, 200, 120
"""How many of them."""
ASKED = {TaskTier.COMPLEX: 6, TaskTier.STANDARD: 3, TaskTier.STRUCTURED: 3, TaskTier.BULK: 3}
"""How many requests of a tier each material gets."""


@functools.cache
def parts() -> dict[str, Any]:
    return read("parts")


@functools.cache
def long() -> dict[str, Any]:
    return read("long")


@functools.cache
def composed_prompts() -> Labelled:
    """All of them, each kind a source of its own."""
    rows = [
        (text, tier, f"{OWN} composed {kind}")
        for kind, tier, texts in (
            ("labels", TaskTier.BULK, _labels()),
            ("calls", TaskTier.STRUCTURED, _calls()),
            ("queries", TaskTier.STRUCTURED, _queries()),
            ("extraction", TaskTier.STRUCTURED, _extractions()),
            *((f"long {of}", tier, _asked(of, tier)) for of in ("code", "prose", "figures") for tier in TaskTier),
            ("build", TaskTier.COMPLEX, _briefs("build")),
            ("imagine", TaskTier.STANDARD, _briefs("imagine")),
            ("problems", TaskTier.COMPLEX, map(str.strip, long()["olympiad"]["COMPLEX"])),
        )
        for text in dict.fromkeys(texts)
    ]
    return Labelled(
        prompts=tuple(text for text, _, _ in rows),
        tiers=tuple(tier for _, tier, _ in rows),
        sources=tuple(source for _, _, source in rows),
    )


def _chance(name: str) -> random.Random:
    return random.Random(f"llm_magic|{name}")  # noqa: S311 - for variety, not for secrets


def with_format(text: str, chance: random.Random) -> str:
    """The request with a demand on the form of the answer before or behind it."""
    there = parts()
    demand = (
        chance.choice(there["formats"])
        .replace("{n}", chance.choice(there["numbers"]))
        .replace("{m}", chance.choice(there["lengths"]))
        .replace("{word}", chance.choice(there["words"]))
    )
    first, second = (demand, text) if chance.random() < 0.35 else (text, demand)
    return chance.choice((" ", " ", "\n", "\n\n")).join((first, second))


def _labels() -> Iterator[str]:
    there, chance = parts(), _chance("labels")
    wordings, tasks = there["label_wordings"], there["label_tasks"]
    for row in range(LABELS):
        pool, ask, several = tasks[row % len(tasks)]
        labels = several.split("|")
        text, other = chance.sample(there["texts"][pool], 2)
        # Every wording meets every task sooner or later.
        wording = wordings[(row + row // len(tasks)) % len(wordings)]
        yield wording.format(
            ask=ask,
            ask_small=ask[0].lower() + ask[1:],
            text=text,
            other=other,
            label=chance.choice(labels),
            labels=chance.choice((", ", " / ", ", ", " or ")).join(labels),
        )


def _calls() -> Iterator[str]:
    functions, chance = parts()["functions"], _chance("calls")
    for each in functions:
        for asked in each["asked"]:
            for _ in range(4):
                others = chance.sample([one for one in functions if one is not each], chance.choice((0, 0, 1, 2, 4)))
                offered = [each, *others]
                chance.shuffle(offered)
                yield chance.choice(_CALLS)(asked, offered)


def _described(function: dict[str, Any]) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in function["parameters"].items()}
    return {
        "name": function["name"],
        "description": function["does"],
        "parameters": {"type": "object", "properties": properties, "required": list(properties)[:1]},
    }


def _as_tools(asked: str, offered: list[dict[str, Any]]) -> str:
    tools = json.dumps([{"type": "function", "function": _described(each)} for each in offered])
    return f"You can use these tools:\n{tools}\n\nUser: {asked}"


def _as_functions(asked: str, offered: list[dict[str, Any]]) -> str:
    return f"{asked}\n\nFunctions:\n{json.dumps([_described(each) for each in offered], indent=2)}"


def _as_signatures(asked: str, offered: list[dict[str, Any]]) -> str:
    kinds = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list"}
    lines = [
        f"def {each['name']}({', '.join(f'{name}: {kinds[kind]}' for name, kind in each['parameters'].items())}):\n"
        f'    """{each["does"]}"""'
        for each in offered
    ]
    return "Write the one call that does what is asked.\n\n" + "\n\n".join(lines) + f"\n\n# {asked}"


def _as_tags(asked: str, offered: list[dict[str, Any]]) -> str:
    tools = "\n".join(f"<tool>{json.dumps(_described(each))}</tool>" for each in offered)
    return f"<tools>\n{tools}\n</tools>\nAnswer with <tool_call>{{...}}</tool_call> only.\n{asked}"


def _as_list(asked: str, offered: list[dict[str, Any]]) -> str:
    lines = [f"- {each['name']}({', '.join(each['parameters'])}): {each['does']}" for each in offered]
    return "Which function should be called, with which arguments?\n" + "\n".join(lines) + f"\nRequest: {asked}"


def _as_schema(asked: str, offered: list[dict[str, Any]]) -> str:
    schemas = "\n".join(json.dumps({"title": each["name"], **_described(each)["parameters"]}) for each in offered)
    return f"{asked}\n\nReply with arguments that are valid under one of these JSON schemas:\n{schemas}"


_CALLS = (_as_tools, _as_functions, _as_signatures, _as_tags, _as_list, _as_schema)


def _queries() -> Iterator[str]:
    tables, chance = parts()["tables"], _chance("queries")
    for each in tables:
        for asked in each["asked"]:
            for _ in range(5):
                other = chance.choice([one for one in tables if one is not each])
                shown = [each, other] if chance.random() < 0.4 else [each]
                yield chance.choice(_QUERIES).format(
                    asked=asked,
                    created="\n".join(map(_created, shown)),
                    listed="\n".join(f"{one['table']}({', '.join(one['columns'])})" for one in shown),
                    named=", ".join(each["columns"]),
                )


def _created(table: dict[str, Any]) -> str:
    columns = ", ".join(f"{name} {kind}" for name, kind in table["columns"].items())
    return f"CREATE TABLE {table['table']} ({columns});"


_QUERIES = (
    "{created}\n\n{asked}",
    "{created}\n-- {asked}\nSELECT",
    "Write a SQL query for the question.\n\nSchema:\n{created}\n\nQuestion: {asked}",
    "Given these tables:\n{listed}\n\nturn the question into SQL: {asked}",
    "{asked}\n\nTables: {listed}\nAnswer with one SQL statement.",
    "The table has the columns {named}. Which query answers this: {asked}",
    "text2sql\nschema: {listed}\nq: {asked}\nsql:",
    "You translate questions to SQLite. Database:\n{listed}\nQuestion: {asked}\nQuery:",
    "### Context\n{created}\n### Request\n{asked}\n### SQL",
)


def _extractions() -> Iterator[str]:
    there, chance = parts(), _chance("extraction")
    of = there["extracted"]
    pools = list(there["texts"])
    for row in range(EXTRACTIONS):
        yield of["wordings"][row % len(of["wordings"])].format(
            fields=chance.choice(of["fields"]),
            format=chance.choice(of["formats"]),
            text=chance.choice(there["texts"][pools[row % len(pools)]]),
        )


def _asked(of: str, tier: TaskTier) -> Iterator[str]:
    """Requests of a tier about each material: before it, behind it or both, now and then with more of the kind."""
    there, chance = long()[of], _chance(f"{of} {tier}")
    for material in map(str.strip, there["material"]):
        for ask in chance.sample(there[tier], min(ASKED[tier], len(there[tier]))):
            pasted = [material, *chance.sample(there["material"], chance.choice((0, 0, 0, 1, 2)))]
            fence = chance.choice(("", "", "```" if of != "prose" else '"""'))
            text = "\n\n".join("\n".join(filter(None, (fence, each.strip(), fence))) for each in pasted)
            yield chance.choice(_AROUND).format(ask=ask, text=text)


_AROUND = (
    "{ask}\n\n{text}",
    "{ask}\n\n{text}",
    "{text}\n\n{ask}",
    "{text}\n\n{ask}",
    "{text}\n{ask}",
    "I have this:\n\n{text}\n\n{ask}",
    "{ask} Here it is:\n{text}",
)


def _briefs(of: str) -> Iterator[str]:
    """What is wanted, with points, as a list or in one go."""
    there, chance = long()[of], _chance(of)
    for row in range(BRIEFS):
        points = chance.sample(there["points"], chance.randint(3, 9))
        sign = chance.choice(("- ", "* ", "", "1"))
        listed = [f"{place}. {point}" if sign == "1" else f"{sign}{point}" for place, point in enumerate(points, 1)]
        told = f"{'. '.join(points)}." if chance.random() < 0.4 else "\n".join(listed)
        parts = (there["what"][row % len(there["what"])], told, chance.choice(there["ends"]))
        yield chance.choice(("\n\n", "\n", " ")).join(filter(None, parts))
