"""`llm-magic map`, `plan` and `ask`."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import re
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_magic import BadRequest, use_router
from llm_magic.__main__ import main
from llm_magic.columns import Column, files
from llm_magic.commands import EXIT_CODE_INCOMPLETE
from llm_magic.providers.base import ProviderEvent, ProviderRequest
from llm_magic.routing import session_router
from llm_magic.testing import Failure, FakeClock, Reply, ScriptedProvider
from tests.support.builders import model, router


@pytest.fixture
def provider() -> ScriptedProvider:
    scripted = ScriptedProvider(lambda request: Reply(chunks=(f"<{request.messages[-1].content}>",)))
    use_router(router(model("only"), providers={"cloud": scripted}))
    return scripted


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    path.write_text("text,stars\ngood,5\nbad,1\n,3\n")
    return path


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_file_of_rows_is_written_with_its_answers(provider: ScriptedProvider, tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"text": ["good", "bad"]})
    path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    {"csv": lambda: frame.to_csv(path, index=False), "parquet": lambda: frame.to_parquet(path),
     "jsonl": lambda: frame.to_json(path, orient="records", lines=True)}[suffix]()  # fmt: skip
    assert main(["map", str(path), "--text", "{{text}}!", "--into", "topic", "--out", str(out)]) == 0
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": lambda file: pd.read_json(file, lines=True)}
    assert list(read[suffix](out)["topic"]) == ["<good!>", "<bad!>"]


def test_an_incomplete_file_has_an_exit_code_of_its_own_and_is_completed_by_the_next_command(
    provider: ScriptedProvider, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = provider.reply
    provider.reply = lambda request: (
        Failure(error=BadRequest("HTTP 400: no")) if "bad" in request.messages[-1].content else good(request)
    )
    out = tmp_path / "out.csv"
    command = ["map", str(reviews), "--text", "{{text}}", "--into", "topic", "--out", str(out)]
    assert main(command) == EXIT_CODE_INCOMPLETE
    assert "1 of 3 rows answered, 1 bad request, 1 missing" in capsys.readouterr().out
    assert pd.read_csv(out)["route_outcome"].tolist() == ["ok", "bad_request", "missing"]
    provider.reply = good
    provider.requests.clear()
    assert main(command) == 0
    assert [request.messages[-1].content for request in provider.requests] == ["bad"]
    assert pd.read_csv(out)["topic"].tolist()[:2] == ["<good>", "<bad>"]


class StuckAtThird(ScriptedProvider):
    """Gives no answer to the third row."""

    is_stuck = False

    async def stream(self, request: ProviderRequest) -> AsyncGenerator[ProviderEvent]:
        if request.messages[-1].content == "third":
            self.is_stuck = True
            await asyncio.Event().wait()
        async for event in super().stream(request):
            yield event


@pytest.mark.parametrize("more", [[], ["--json"], ["--no-resume"]])
def test_an_interrupted_command_states_its_cost_and_is_continued_by_the_next_one(
    more: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, join = StuckAtThird([Reply(chunks=("fine",))]), Column.join

    def interrupted_join(column: Column, timeout_s: float) -> bool:
        if stuck.is_stuck:
            stuck.is_stuck = False
            raise KeyboardInterrupt
        return join(column, min(timeout_s, 0.05))

    monkeypatch.setattr(Column, "join", interrupted_join)
    path, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    path.write_text("text\nfirst\nsecond\nthird\n")
    command = ["map", str(path), "--text", "{{text}}", "--out", str(out), "--pilot", "0", *more]
    use_router(router(model("only"), providers={"cloud": stuck}))
    assert main(command) == 130
    printed = capsys.readouterr()
    assert re.search(r"stopped: 2 answered, 0 failed, 1 left, \$0\.\d+ so far\. Repeat the command", printed.err)
    assert ("without --no-resume" in printed.err) == ("--no-resume" in more)
    if "--json" in more:
        assert json.loads(printed.out.splitlines()[-1])["stopped"] == "interrupted"
    assert list(pd.read_csv(out)["route_outcome"]) == ["ok", "ok", "cancelled"]

    provider = ScriptedProvider([Reply(chunks=("fine",))])
    use_router(router(model("only"), providers={"cloud": provider}, ledger=session_router().ledger))
    assert main(command[: -len(more) or None]) == 0
    assert [request.messages[-1].content for request in provider.requests] == ["third"]


def test_kept_answers_are_asked_again_on_request(provider: ScriptedProvider, reviews: Path, tmp_path: Path) -> None:
    command = ["map", str(reviews), "--text", "{{text}}", "--keep", "7", "--out", str(tmp_path / "out.csv")]
    assert main(command) == 0
    assert main(command) == 0
    assert len(provider.requests) == 2
    assert main([*command, "--no-resume"]) == 0
    assert len(provider.requests) == 4


def test_progress_can_be_read_as_json(
    provider: ScriptedProvider, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["map", str(reviews), "--text", "{{text}}", "--json", "--out", str(tmp_path / "out.csv")]) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (last["answered"], last["failed"], last["left"], last["stopped"]) == (2, 0, 0, "")
    assert isinstance(last["cost_usd"], float)
    assert isinstance(last["expected_usd"], float)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing.csv", "--out", "out.csv"], "nothing.csv can't be read: No such file or directory\n"),
        (["nothing.parquet", "--out", "out.csv"], "nothing.parquet can't be read: No such file or directory\n"),
        (["nothing.csv", "--out", "in.csv"], "nothing.csv can't be read: No such file or directory\n"),
        (["in.csv", "--out", "./in.csv"], "is the file of the rows: name another file"),
        (["in.txt", "--out", "out.csv"], "must end in .csv"),
        (["in.csv", "--out", "out.xyz"], "must end in .csv"),
        (["in.csv", "--out", "missing/out.csv"], "does not exist"),
        (["in.csv", "--out", "folder.csv"], "--out folder.csv is a folder: name a file"),
        (["utf-16.csv", "--out", "out.csv"], "iconv -f UTF-16 -t UTF-8 utf-16.csv"),
        (["broken.parquet", "--out", "out.csv"], "broken.parquet can't be read: Parquet magic bytes not found"),
    ],
)
def test_files_that_cannot_be_used_are_errors_before_anything_is_sent(
    provider: ScriptedProvider,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text\ngood\n")
    Path("in.txt").write_text("good\n")
    Path("folder.csv").mkdir()
    Path("utf-16.csv").write_text("text\ngood\n", "utf-16")
    Path("broken.parquet").write_bytes(b"PAR1 and no more")
    assert main(["map", *arguments, "--text", "{{text}}"]) == 1
    assert message in capsys.readouterr().err
    assert provider.requests == []


def test_a_plan_sends_nothing(provider: ScriptedProvider, reviews: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "Which topic? {{text}}", "--over", str(reviews)]) == 0
    assert "rows: 3, 2 distinct, 1 without a value" in capsys.readouterr().out
    assert main(["plan", "What is 2 + 2?"]) == 0
    out = capsys.readouterr().out
    assert "only: $" in out
    assert "(low / expected / worst)" in out
    assert provider.requests == []


def test_one_prompt_is_answered(provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "hello"]) == 0
    assert capsys.readouterr().out == "<hello>\n"
    assert main(["ask", "hello", "--json", "--tag", "a", "--model", "only"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["text"] == "<hello>"
    assert isinstance(answer["cost_usd"], float)


ANSWER = ["--text", "{{text}}", "--into", "topic"]


def test_cells_of_a_csv_file_are_written_as_they_were_read(provider: ScriptedProvider, tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text("id,text,size\n007,NA,1e3\n008,good,\n")
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    assert [line.split(",")[:4] for line in out.read_text().splitlines()[1:]] == [
        ["007", "NA", "1e3", "<NA>"],
        ["008", "good", "", "<good>"],
    ]


LINES = [
    {"id": "007", "text": "good", "n": 12345678901234567890, "tags": ["a"], "note": None},
    {"id": "008", "text": "bad", "n": 2, "share": 0.5, "at": "2020-01-01"},
]


def test_values_of_json_lines_are_written_as_they_were_read(provider: ScriptedProvider, tmp_path: Path) -> None:
    path, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    path.write_text("\n\n".join(json.dumps(line) for line in LINES))
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    written = [json.loads(line) for line in out.read_text().splitlines()]
    kept = [{name: row[name] for name in row if name != "topic" and not name.startswith("route_")} for row in written]
    assert kept == LINES
    assert [row["topic"] for row in written] == ["<good>", "<bad>"]


def test_types_of_a_parquet_file_stay(provider: ScriptedProvider, tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    table = pa.table({
        "text": ["good", "bad"], "stars": pa.array([5, None], "int8"), "at": pa.array([0, None], pa.timestamp("ms", "UTC")),
        "price": pa.array([Decimal("1.50"), None], pa.decimal128(9, 2)), "words": [["a"], None],
    })  # fmt: skip
    pq.write_table(table, path)
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    written = pq.read_table(out)
    assert written.select(table.column_names).equals(table)
    assert written.column("topic").to_pylist() == ["<good>", "<bad>"]


@pytest.mark.parametrize("group_rows", [100, 1_100, 5_000])
@pytest.mark.parametrize("names", [("id", "text"), ("id", "te.xt"), ("text", "text")], ids=["plain", "dot", "repeated"])
def test_a_parquet_file_is_read_and_written_in_parts(
    provider: ScriptedProvider, tmp_path: Path, group_rows: int, names: tuple[str, str]
) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    count = 2_500
    columns = [pa.array(range(count)), pa.array([f"t{number % 7}" for number in range(count)]).dictionary_encode()]
    table = pa.table([*columns, columns[1]], names=[*names, "more"])
    pq.write_table(table, path, row_group_size=group_rows)
    command = ["map", str(path), "--text", "{{more}}", "--into", "topic", "--out", str(out)]
    assert main(command) == 0
    written = pq.ParquetFile(out).read()
    assert written.schema.names[:3] == [*names, "more"]
    assert written.column(0).to_pylist() == list(range(count))
    assert written.column(1).to_pylist() == columns[1].to_pylist()
    assert written.column("topic").to_pylist() == [f"<t{number % 7}>" for number in range(count)]
    assert len(provider.requests) == 7


@pytest.mark.parametrize(
    ("cells", "written"),
    [
        (([None], [3], [None]), ([None], [3], [None])),
        (([1], [2.5], [None]), ([1.0], [2.5], [None])),
        (([["a"]], [[]], [None]), ([["a"]], [[]], [None])),
        (([{"x": 1}], [{"y": "b"}], [None]), ([{"x": 1, "y": None}], [{"x": None, "y": "b"}], [None])),
        ((["a"], [7], [None]), (['"a"'], ["7"], [None])),
        ((["a"], [7, "b", {"x": 1}]), (['"a"'], ["7", '"b"', '{"x": 1}'])),
        ((["a"], ["b"]), (["a"], ["b"])),
    ],
)
@pytest.mark.parametrize("place", ["input", "answers"])
def test_types_of_a_written_parquet_file_hold_for_all_its_parts(
    provider: ScriptedProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cells: Any, written: Any, place: str
) -> None:
    monkeypatch.setattr(files, "WRITTEN_ROWS", 1)
    values, expected = [cell for part in cells for cell in part], [cell for part in written for cell in part]
    path, out = tmp_path / f"in.{'jsonl' if place == 'input' else 'parquet'}", tmp_path / "out.parquet"
    command = ["map", str(path), "--text", "{{id}}", "--out", str(out)]
    if place == "input":
        path.write_text("".join(json.dumps({"id": number, "cell": cell}) + "\n" for number, cell in enumerate(values)))
    else:
        pq.write_table(pa.table({"id": range(len(values))}), path)
        provider.reply = lambda request: Reply(
            chunks=(json.dumps({"cell": values[int(request.messages[-1].content)]}),)
        )
        command += ["--schema", '{"type": "object", "properties": {"cell": {}}}']
    assert main(command) == 0
    table = pq.read_table(out)
    assert table.column("cell").to_pylist() == expected
    assert table.schema.field("cell").metadata is None


def test_numbers_that_json_cannot_have_are_null_in_json_lines(provider: ScriptedProvider, tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.jsonl"
    pq.write_table(pa.table({"text": ["good"], "x": [float("nan")], "y": [[1.0, float("inf")]]}), path)
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    row = json.loads(out.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert (row["x"], row["y"], row["topic"]) == (None, [1.0, None], "<good>")


def test_the_index_of_a_parquet_file_of_pandas_is_a_column(provider: ScriptedProvider, tmp_path: Path) -> None:
    path, out = tmp_path / "in.parquet", tmp_path / "out.csv"
    pd.DataFrame({"text": ["good", "bad"]}, index=pd.Index([5, 6], name="id")).to_parquet(path)
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    assert list(pd.read_csv(out)["id"]) == [5, 6]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("source", ["csv", "jsonl", "parquet"])
def test_each_format_can_be_written_as_each_other(
    provider: ScriptedProvider, tmp_path: Path, source: str, suffix: str
) -> None:
    path, out = tmp_path / f"in.{source}", tmp_path / f"out.{suffix}"
    frame = pd.DataFrame({"text": ["good", "bad"], "stars": [5, 1]})
    {"csv": frame.to_csv, "parquet": frame.to_parquet, "jsonl": lambda file: frame.to_json(file, orient="records", lines=True)}[source](path)  # fmt: skip
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "jsonl": lambda file: pd.read_json(file, lines=True)}
    assert list(read[suffix](out)["topic"]) == ["<good>", "<bad>"]


def test_json_lines_pass_through_a_pipe(
    provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(line) + "\n" for line in LINES)))
    assert main(["map", "-", *ANSWER, "--out", "-"]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["topic"] for line in printed.out.splitlines()] == ["<good>", "<bad>"]
    assert "2 of 2 rows answered" in printed.err


def test_an_output_file_is_replaced_only_by_a_whole_one(
    provider: ScriptedProvider,
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("before")

    def fail(frame: pd.DataFrame, file: TextIO, **options: object) -> None:
        file.write("half")
        raise OSError("no space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
    assert main(["map", str(reviews), *ANSWER, "--out", str(out)]) == 1
    assert out.read_text() == "before"
    assert "no space left on device. The answers are kept: repeat the command" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["out.csv", "reviews.csv"]


@pytest.mark.parametrize("text", ["[1]", "{", '"text"'])
def test_lines_that_are_no_objects_are_named(
    provider: ScriptedProvider, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"text": "good"}\n' + text)
    assert main(["map", str(path), *ANSWER, "--out", str(tmp_path / "out.csv")]) == 1
    assert "line 2 is not" in capsys.readouterr().err
    assert provider.requests == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("in.csv", b"text,b\n1,2,3\n", "line 2 has 3 fields, and the header has 2"),
        ("in.csv", b"text,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields, and the header has 2"),
        ("in.csv", b'text,b\n"1\n2",3\n\n4,5,\n', "line 5 has 3 fields, and the header has 2"),
        ("in.csv", b"", "in.csv can't be read: the file is empty"),
        ("in.csv", b"\n\n", "in.csv can't be read: the file is empty"),
        ("in.jsonl", b"", "in.jsonl can't be read: the file is empty"),
        ("in.csv", b"text\ncaf\xe9\n", "byte 0xe9 is not UTF-8. Convert it, for example with iconv"),
        ("in.jsonl", b'{"text": "caf\xe9"}\n', "byte 0xe9 is not UTF-8. Convert it, for example with iconv"),
        ("in.csv", b'text,b\n1,"2\n', "in.csv can't be read: line 2: unexpected end of data"),
        ("in.csv", b'text,b\n1,"2"3\n', "in.csv can't be read: line 2: ',' expected after '\"'"),
        ("in.csv", b"text,text\n1,2\n", "{{text}} in the text: 2 columns have this name"),
    ],
)
def test_rows_that_would_be_misread_are_errors(
    provider: ScriptedProvider,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: bytes,
    message: str,
) -> None:
    (path := tmp_path / name).write_bytes(content)
    assert main(["map", str(path), *ANSWER, "--out", str(tmp_path / "out.csv")]) == 1
    assert message in capsys.readouterr().err
    assert provider.requests == []


def test_a_csv_file_keeps_its_rows_with_a_mark_of_the_byte_order_and_short_lines(
    provider: ScriptedProvider, tmp_path: Path
) -> None:
    (path := tmp_path / "in.csv").write_bytes(b'\xef\xbb\xbftext,b,\r\n"go\r\nod",2,x\r\nbad\r\n')
    assert main(["map", str(path), *ANSWER, "--out", str(tmp_path / "out.csv")]) == 0
    rows = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert rows.columns.tolist()[:3] == ["text", "b", "Unnamed: 2"]
    assert rows.iloc[:, :3].to_numpy().tolist() == [["go\r\nod", "2", "x"], ["bad", "", ""]]


LONG_FILES = {
    "csv": ["\ufeffid,text"] + [f'{number},"é {number % 40}\r\n""x"""\r\n' for number in range(600)],
    "jsonl": [json.dumps({"id": number, "text": f"é {number % 40}"}, ensure_ascii=False) for number in range(600)],
}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_file_is_read_and_written_in_parts(provider: ScriptedProvider, tmp_path: Path, suffix: str) -> None:
    path, out = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    path.write_text("\n".join(LONG_FILES[suffix]), "utf-8", newline="")
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    assert len(provider.requests) == 40
    read = {"csv": lambda: pd.read_csv(out, lineterminator="\n"), "jsonl": lambda: pd.read_json(out, lines=True)}
    rows = read[suffix]()
    assert list(rows["id"]) == list(range(600))
    ending = '\r\n"x"' if suffix == "csv" else ""
    assert list(rows["topic"]) == [f"<é {number % 40}{ending}>" for number in range(600)]


def test_a_cell_of_a_file_may_be_very_long(provider: ScriptedProvider, tmp_path: Path) -> None:
    path, out = tmp_path / "in.csv", tmp_path / "out.csv"
    path.write_text(f"id,text\n1,short\n2,{'x' * 200_000}\n")
    assert main(["map", str(path), "--text", "{{id}}", "--into", "topic", "--out", str(out)]) == 0
    assert [len(text) for text in pd.read_csv(out)["text"]] == [5, 200_000]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_file_that_changes_while_it_is_read_is_an_error_and_loses_no_answer(
    provider: ScriptedProvider, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    path, out, good = tmp_path / f"in.{suffix}", tmp_path / "out.csv", provider.reply

    def save(*texts: str) -> None:
        if suffix == "parquet":
            pq.write_table(pa.table({"text": texts}), path)
        else:
            lines = texts if suffix == "csv" else [json.dumps({"text": text}) for text in texts]
            path.write_text("\n".join(["text", *lines] if suffix == "csv" else lines))

    def change(request: ProviderRequest) -> Reply:
        save("other", "good", "bad")
        return good(request)

    save("good", "bad")

    provider.reply = change
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 1
    assert f"in.{suffix} was changed while it was read. The answers are kept: start again" in capsys.readouterr().err
    assert not out.exists()
    provider.reply = good
    assert main(["map", str(path), *ANSWER, "--out", str(out)]) == 0
    assert len(provider.requests) == 3


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"llm-magic {version('llm-magic')}\n"


@pytest.mark.parametrize("is_checkout", [True, False])
def test_the_help_lists_what_can_be_used_and_begins_with_capitals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_checkout: bool
) -> None:
    monkeypatch.setattr("llm_magic.lab.prompts.has_training_prompts", lambda: is_checkout)
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    listed = dict(re.findall(r"^    (\w+) +(\S.*)$", printed, re.MULTILINE))
    assert ("train" in listed) is is_checkout
    assert {"ask", "plan", "map", "pull", "simulate", "eval"} <= set(listed)
    assert all(text[0].isupper() for text in listed.values())


@pytest.mark.parametrize("command", ["ask", "plan", "map", "simulate", "eval", "train"])
def test_help_texts_of_a_command_begin_with_capitals(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    printed = capsys.readouterr().out
    texts = re.findall(r"^  -?-?\w.*?(?:  +|\n {24})(\S.*)$", printed, re.MULTILINE)
    lower = [text for text in texts if text[0].islower() and text != "show this help message and exit"]
    assert lower == []
    assert "%route" not in printed


def test_a_prompt_that_waits_for_lower_prices_prints_until_when(capsys: pytest.CaptureFixture[str]) -> None:
    peaked = dataclasses.replace(model("deepseek-flash"), price=None, provider="deepseek", api_model="deepseek-flash")
    clock = FakeClock(datetime(2026, 11, 24, 2, tzinfo=UTC))
    use_router(router(peaked, clock=clock, providers={"deepseek": ScriptedProvider()}))
    assert main(["ask", "hello", "--when", "cheap"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "A scripted answer.\n"
    assert printed.err.startswith("llm-magic: waiting until ")
    assert "for the off-peak price of deepseek-flash" in printed.err


def test_a_plan_and_a_summary_name_the_models_of_kept_answers(
    provider: ScriptedProvider, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--text", "{{text}}", "--keep", "7"]
    assert main(["map", str(reviews), *options, "--out", str(tmp_path / "out.csv")]) == 0
    capsys.readouterr()
    assert main(["plan", "{{text}}", "--over", str(reviews)]) == 0
    assert "answered already: 2, by only; to ask: 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["plan", "hello", "--pilot", "5"], "--pilot needs --over FILE"),
        (["plan", "hello", "--into", "topic"], "--into needs --over FILE"),
        (["ask", "hello", "--max-cost", "much"], "invalid --max-cost much: must be a USD amount of zero or more"),
        (["plan", "hello", "--worth", "much"], "invalid --worth much: must be a USD amount of zero or more"),
    ],
)
def test_an_option_that_can_not_apply_is_named_and_nothing_is_sent(
    provider: ScriptedProvider, arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 1
    assert f"llm-magic: {problem}" in capsys.readouterr().err
    assert provider.requests == []
