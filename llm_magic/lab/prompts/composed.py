"""Training prompts composed of parts: labels of short texts, function calls, queries, extraction, and long prompts.

Each material of the long prompts gets requests of every tier. Equal parts give equal prompts.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Iterator
from typing import Any

from llm_magic.lab.data import Labeled
from llm_magic.lab.prompts import OWN_SOURCE_PREFIX, read_prompt_file
from llm_magic.types import TaskTier

LABEL_PROMPTS, EXTRACTION_PROMPTS, BRIEF_PROMPTS = 420, 200, 120
REQUESTS_PER_MATERIAL = {TaskTier.COMPLEX: 5, TaskTier.STANDARD: 5, TaskTier.STRUCTURED: 3, TaskTier.BULK: 3}


@functools.cache
def parts() -> dict[str, Any]:
    return read_prompt_file("parts")


@functools.cache
def long_parts() -> dict[str, Any]:
    return read_prompt_file("long")


@functools.cache
def composed_prompts() -> Labeled:
    rows = [
        (text, tier, f"{OWN_SOURCE_PREFIX} composed {kind}")
        for kind, tier, texts in (
            ("labels", TaskTier.BULK, _label_prompts()),
            ("calls", TaskTier.STRUCTURED, _call_prompts()),
            ("queries", TaskTier.STRUCTURED, _query_prompts()),
            ("extraction", TaskTier.STRUCTURED, _extraction_prompts()),
            *((f"long {kind}", tier, _long(kind, tier)) for kind in ("code", "prose", "figures") for tier in TaskTier),
            ("build", TaskTier.COMPLEX, _briefs("build")),
            ("imagine", TaskTier.STANDARD, _briefs("imagine")),
            ("problems", TaskTier.COMPLEX, map(str.strip, long_parts()["olympiad"]["COMPLEX"])),
        )
        for text in dict.fromkeys(texts)
    ]
    return Labeled.from_rows(rows)


def _rng(name: str) -> random.Random:
    return random.Random(f"llm_magic|{name}")  # noqa: S311 - for variety, not for secrets


def with_format(text: str, rng: random.Random) -> str:
    part = parts()
    requirement = (
        rng.choice(part["formats"])
        .replace("{n}", rng.choice(part["numbers"]))
        .replace("{m}", rng.choice(part["lengths"]))
        .replace("{word}", rng.choice(part["words"]))
    )
    first, second = (requirement, text) if rng.random() < 0.35 else (text, requirement)
    return rng.choice((" ", " ", "\n", "\n\n")).join((first, second))


def _label_prompts() -> Iterator[str]:
    part, rng = parts(), _rng("labels")
    wordings, tasks = part["label_wordings"], part["label_tasks"]
    for row in range(LABEL_PROMPTS):
        pool, ask, several = tasks[row % len(tasks)]
        labels = several.split("|")
        text, other = rng.sample(part["texts"][pool], 2)
        # Over the rows, every wording is combined with every task.
        wording = wordings[(row + row // len(tasks)) % len(wordings)]
        yield wording.format(
            ask=ask,
            ask_small=ask[0].lower() + ask[1:],
            text=text,
            other=other,
            label=rng.choice(labels),
            labels=rng.choice((", ", " / ", ", ", " or ")).join(labels),
        )


def _call_prompts() -> Iterator[str]:
    functions, rng = parts()["functions"], _rng("calls")
    for function in functions:
        for asked in function["asked"]:
            for _ in range(4):
                others = rng.sample([one for one in functions if one is not function], rng.choice((0, 0, 1, 2, 4)))
                offered = [function, *others]
                rng.shuffle(offered)
                yield rng.choice(_CALL_LAYOUTS)(asked, offered)


def _definition(function: dict[str, Any]) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in function["parameters"].items()}
    return {
        "name": function["name"],
        "description": function["does"],
        "parameters": {"type": "object", "properties": properties, "required": list(properties)[:1]},
    }


def _as_tools(asked: str, offered: list[dict[str, Any]]) -> str:
    tools = json.dumps([{"type": "function", "function": _definition(function)} for function in offered])
    return f"You can use these tools:\n{tools}\n\nUser: {asked}"


def _as_functions(asked: str, offered: list[dict[str, Any]]) -> str:
    return f"{asked}\n\nFunctions:\n{json.dumps([_definition(function) for function in offered], indent=2)}"


def _as_signatures(asked: str, offered: list[dict[str, Any]]) -> str:
    kinds = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list"}
    lines: list[str] = []
    for function in offered:
        parameters = ", ".join(f"{name}: {kinds[kind]}" for name, kind in function["parameters"].items())
        lines.append(f'def {function["name"]}({parameters}):\n    """{function["does"]}"""')
    return "Write the one call that does what is asked.\n\n" + "\n\n".join(lines) + f"\n\n# {asked}"


def _as_tags(asked: str, offered: list[dict[str, Any]]) -> str:
    tools = "\n".join(f"<tool>{json.dumps(_definition(function))}</tool>" for function in offered)
    return f"<tools>\n{tools}\n</tools>\nAnswer with <tool_call>{{...}}</tool_call> only.\n{asked}"


def _as_list(asked: str, offered: list[dict[str, Any]]) -> str:
    lines = [f"- {function['name']}({', '.join(function['parameters'])}): {function['does']}" for function in offered]
    return "Which function should be called, with which arguments?\n" + "\n".join(lines) + f"\nRequest: {asked}"


def _as_schema(asked: str, offered: list[dict[str, Any]]) -> str:
    schemas = "\n".join(
        json.dumps({"title": function["name"], **_definition(function)["parameters"]}) for function in offered
    )
    return f"{asked}\n\nReply with arguments that are valid under one of these JSON schemas:\n{schemas}"


_CALL_LAYOUTS = (_as_tools, _as_functions, _as_signatures, _as_tags, _as_list, _as_schema)


def _query_prompts() -> Iterator[str]:
    tables, rng = parts()["tables"], _rng("queries")
    for table in tables:
        for asked in table["asked"]:
            for _ in range(5):
                other = rng.choice([one for one in tables if one is not table])
                shown = [table, other] if rng.random() < 0.4 else [table]
                yield rng.choice(_QUERY_LAYOUTS).format(
                    asked=asked,
                    created="\n".join(map(_create_table, shown)),
                    listed="\n".join(f"{one['table']}({', '.join(one['columns'])})" for one in shown),
                    named=", ".join(table["columns"]),
                )


def _create_table(table: dict[str, Any]) -> str:
    columns = ", ".join(f"{name} {kind}" for name, kind in table["columns"].items())
    return f"CREATE TABLE {table['table']} ({columns});"


_QUERY_LAYOUTS = (
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


def _extraction_prompts() -> Iterator[str]:
    part, rng = parts(), _rng("extraction")
    extracted = part["extracted"]
    pools = list(part["texts"])
    for row in range(EXTRACTION_PROMPTS):
        yield extracted["wordings"][row % len(extracted["wordings"])].format(
            fields=rng.choice(extracted["fields"]),
            format=rng.choice(extracted["formats"]),
            text=rng.choice(part["texts"][pools[row % len(pools)]]),
        )


def _long(kind: str, tier: TaskTier) -> Iterator[str]:
    part, rng = long_parts()[kind], _rng(f"{kind} {tier}")
    for material in map(str.strip, part["material"]):
        for ask in rng.sample(part[tier], min(REQUESTS_PER_MATERIAL[tier], len(part[tier]))):
            pasted = [material, *rng.sample(part["material"], rng.choice((0, 0, 0, 1, 2)))]
            fence = rng.choice(("", "", "```" if kind != "prose" else '"""'))
            text = "\n\n".join("\n".join(filter(None, (fence, piece.strip(), fence))) for piece in pasted)
            yield rng.choice(_LAYOUTS).format(ask=ask, text=text)


_LAYOUTS = (
    "{ask}\n\n{text}",
    "{ask}\n\n{text}",
    "{text}\n\n{ask}",
    "{text}\n\n{ask}",
    "{text}\n{ask}",
    "I have this:\n\n{text}\n\n{ask}",
    "{ask} Here it is:\n{text}",
)


def _briefs(kind: str) -> Iterator[str]:
    part, rng = long_parts()[kind], _rng(kind)
    for row in range(BRIEF_PROMPTS):
        points = rng.sample(part["points"], rng.randint(3, 9))
        bullet = rng.choice(("- ", "* ", "", "1"))
        listed = [
            f"{number}. {point}" if bullet == "1" else f"{bullet}{point}" for number, point in enumerate(points, 1)
        ]
        requirements = f"{'. '.join(points)}." if rng.random() < 0.4 else "\n".join(listed)
        pieces = (part["what"][row % len(part["what"])], requirements, rng.choice(part["ends"]))
        yield rng.choice(("\n\n", "\n", " ")).join(filter(None, pieces))
