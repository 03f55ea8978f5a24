"""Text files, images and tables with a prompt: what is sent, to which model, and at what cost."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_magic import Registry, RegistryError, RequestError, TaskTier, attachments, tokens
from llm_magic.attachments import attach, image_tokens, of_value, user_message
from llm_magic.providers import anthropic, openai
from llm_magic.providers.base import ProviderRequest
from llm_magic.types import Attachment, Image, Message, Request
from tests.support.builders import model, router
from tests.support.fuzzing import examples
from tests.support.shell import Shell

SEES = model("sees", image_tokens=4_784, tiers=(TaskTier.BULK,), price="1/5")
BLIND = model("blind", tiers=(TaskTier.BULK,), price="0.1/0.5")


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + bytes(width) for _ in range(height)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_text_file_goes_ahead_of_the_prompt_and_does_not_set_the_tier(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("\ufeffProve the theorem, step by step.\n" * 50, "utf-8")
    session = router()
    result = session.route_sync("Translate to French", attach=[path])
    assert result.tier == session.plan("Translate to French").tier == TaskTier.BULK
    (message,) = scripted_requests(session)[-1].messages
    assert message.content.startswith('<attachment name="notes.md">\nProve the theorem')
    assert message.content.endswith("step by step.\n</attachment>\n\nTranslate to French")
    assert message.images == ()


def scripted_requests(session: Any) -> list[ProviderRequest]:
    return session.providers["cloud"].requests


def test_each_attachment_is_part_of_the_planned_cost(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("word " * 1_000)
    (tmp_path / "b.png").write_bytes(png(280, 56))
    session = router(SEES, BLIND)
    plan = session.plan("what is this?", tier="bulk", attach=[str(tmp_path / "a.txt"), tmp_path / "b.png"])
    bare = session.plan("what is this?", tier="bulk", model="sees")
    text, image = plan.extras
    assert (text.name, image.name) == ("a.txt", "b.png")
    assert text.tokens == pytest.approx(1_000, rel=0.05)
    assert 20 <= image.tokens <= 20 + 40, "10 x 2 squares, and its name"
    assert text.usd * 1_000_000 == text.tokens
    leader, alone = plan.candidates[0], bare.candidates[0]
    assert leader.input_tokens - alone.input_tokens == pytest.approx(text.tokens + image.tokens, abs=20)
    assert leader.input_tokens_bound >= alone.input_tokens_bound + 5_000 + 4_784, (
        "held for: its bytes, and the most of an image"
    )
    result = session.route_sync("what is this?", tier="bulk", attach=[tmp_path / "b.png"])
    assert any(note.startswith("b.png: ") for note in result.notes)


def test_an_image_goes_to_a_model_that_can_see() -> None:
    session = router(SEES, BLIND)
    picture = of_value("chart", png(10, 10))
    assert [candidate.model.id for candidate in session.plan("hello", tier="bulk").candidates] == ["blind", "sees"]
    plan = session.plan("hello", tier="bulk", attach=[picture])
    assert [candidate.model.id for candidate in plan.candidates] == ["sees"]
    assert [(skipped.model.id, skipped.reason) for skipped in plan.skipped] == [("blind", "can't see images")]
    session.route_sync("hello", tier="bulk", attach=[picture])
    (message,) = scripted_requests(session)[-1].messages
    assert message.images == (picture.image,)
    assert message.content == "<attachment name=\"chart\" type='image/png'/>\n\nhello"


def test_an_image_without_a_model_that_sees_is_an_error() -> None:
    with pytest.raises(Exception, match="blind: can't see images"):
        router(BLIND).route_sync("hello", attach=[of_value("chart", png(10, 10))])


@pytest.mark.parametrize(
    ("data", "kind", "size"),
    [
        (png(3, 4), "png", (3, 4)),
        (b"GIF89a" + struct.pack("<HH", 5, 6) + bytes(20), "gif", (5, 6)),
        (b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + b"\x07\0\0\x08\0\0" + bytes(8), "webp", (8, 9)),
        (b"\xff\xd8\xff\xe0torn", "jpeg", (-1, -1)),
        (b"\x89PNG\r\n\x1a\n", "png", (-1, -1)),
    ],
)  # fmt: skip
def test_an_images_type_is_read_from_its_content(data: bytes, kind: str, size: tuple[int, int]) -> None:
    image = of_value("x", data).image
    assert image is not None
    assert image.media_type == f"image/{kind}"
    assert (image.width, image.height) == size


@settings(max_examples=examples(40))
@given(st.integers(-1, 20_000), st.integers(-1, 20_000), st.integers(1, 10_000))
def test_an_image_never_counts_more_tokens_than_its_bound(width: int, height: int, most: int) -> None:
    image = Image(data=b"", media_type="image/png", width=width, height=height)
    assert 1 <= image_tokens(image, most) <= most
    if width < 1 or height < 1:
        assert image_tokens(image, most) == most
    message = Message(role="user", content="x", images=(image,))
    spec = model("m", image_tokens=most)
    assert tokens.estimate_input((message,), None, spec) <= tokens.bound_input((message,), None) + most


def test_a_table_is_sent_as_csv_with_a_note_of_what_was_left_out() -> None:
    frame = pd.DataFrame({"n": range(1_234), "text": ["x" * 300] * 1_234})
    table = of_value("sales", frame)
    assert table.detail == "1,234 rows × 2 columns, the first 50 rows"
    lines = table.text.splitlines()
    assert lines[0] == "n,text"
    assert len(lines) == 51
    assert lines[1] == f"0,{'x' * 200}…"
    assert table.block.startswith(
        '<attachment name="sales" content="1,234 rows × 2 columns, the first 50 rows">\nn,text\n'
    )
    assert len(of_value("sales", frame, rows=3).text.splitlines()) == 4


def test_quotes_and_line_breaks_in_a_name_are_replaced() -> None:
    assert of_value('a"b\nc', "x").block == '<attachment name="a\'b c">\nx\n</attachment>'


def test_an_index_a_series_and_a_wide_table_are_sent_as_csv() -> None:
    assert of_value("t", pd.DataFrame({"a": [1]}, index=["row"])).text == ",a\nrow,1\n"
    assert of_value("t", pd.DataFrame({"a": []})).text == "a\n"
    assert attach([pd.Series([1, 2], name="s")])[0].text == "s\n1\n2\n"
    wide = of_value("t", pd.DataFrame([range(100)]))
    assert wide.detail == "1 rows × 100 columns, the first 60 columns"
    assert len(wide.text.splitlines()[0].split(",")) == 60


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda _: "nowhere.txt", "'nowhere.txt' can't be attached: No such file"),
        (lambda folder: folder, "can't be attached: Is a directory"),
        (lambda folder: written(folder / "x.pdf", b"%PDF-1.7\0\xff"), "x.pdf is neither text in UTF-8 nor an image"),
        (lambda folder: written(folder / "x.bin", b"a\0b"), "x.bin is neither text in UTF-8 nor an image"),
        (lambda folder: written(folder / "x.txt", b" \n"), "x.txt is empty"),
        (
            lambda folder: written(folder / "x.txt", b"a" * 2_000_001),
            "x.txt has 2,000,001 bytes: at most 2,000,000 of text",
        ),
        (lambda folder: written(folder / "x.txt", b"a" * 5_000_001), "has 5,000,001 bytes: at most 5,000,000"),
        (lambda folder: written(folder / "a\0b", b""), "a\\x00b' can't be attached"),
        (lambda _: 5, "a value of type int can't be attached"),
    ],
)
def test_a_value_that_can_not_be_attached_is_an_error(make: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as error:
        router().request("hello", attach=[make(tmp_path)])
    assert says in str(error.value)


def written(path: Path, data: bytes) -> Path:
    if "\0" not in str(path):
        path.write_bytes(data)
    return path


def test_too_many_images_and_lone_surrogates_are_errors() -> None:
    with pytest.raises(RequestError, match="21 images are attached: at most 20"):
        router().request("hello", attach=[of_value("x", png(1, 1))] * 21)
    with pytest.raises(RequestError, match="contains a lone surrogate"):
        router().request("hello", attach=[of_value("x", "\ud800")])


def test_the_cache_distinguishes_attachments() -> None:
    session = router(SEES)
    for data in (png(1, 1), png(1, 2)):
        asked: dict[str, Any] = {"cache": True, "attach": [of_value("x", data)]}
        assert not session.route_sync("hello", **asked).cached
        assert session.route_sync("hello", **asked).cached


def test_a_conversation_keeps_texts_and_the_names_of_images() -> None:
    session = router(SEES)
    session.route_sync("look", thread="t", attach=[of_value("x.png", png(1, 1)), of_value("y", "why")])
    session.route_sync("again", thread="t")
    first, _, last = scripted_requests(session)[-1].messages
    assert (
        first.content
        == '<attachment name="x.png" type=\'image/png\'/>\n\n<attachment name="y">\nwhy\n</attachment>\n\nlook'
    )
    assert first.images == last.images == ()


def test_an_image_is_sent_in_each_providers_form() -> None:
    picture = Attachment(name="x", image=Image(data=b"123", media_type="image/png"))
    message = user_message(Request(prompt="hello", attachments=(picture,)))
    text = {"type": "text", "text": "<attachment name=\"x\" type='image/png'/>\n\nhello"}
    asked: dict[str, Any] = {"model": model("m", api_model="m"), "messages": (message,), "max_output_tokens": 5}
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(b"123").decode()}
    claude = anthropic.request_body(ProviderRequest(**asked))["messages"][0]["content"]
    assert claude == [{"type": "image", "source": source}, text]
    cached = anthropic.request_body(ProviderRequest(**asked, in_conversation=True))["messages"][0]["content"]
    assert cached == [claude[0], text | {"cache_control": {"type": "ephemeral"}}]
    (gpt,) = openai.request_body(ProviderRequest(**asked))["messages"]
    url = {"url": "data:image/png;base64,MTIz", "detail": "high"}
    assert gpt["content"] == [{"type": "image_url", "image_url": url}, text]


def test_packaged_models_see_images_and_an_invalid_bound_is_an_error() -> None:
    for profile, providers in (("current", {"anthropic", "deepseek", "openai"}), ("article", {"anthropic", "openai"})):
        assert {spec.provider for spec in Registry.load(profile) if spec.image_tokens} == providers
    for bad in (-1, True, 1.5):
        with pytest.raises(RegistryError, match="image_tokens"):
            Registry(models=[model("m", provider="openai", image_tokens=bad)])


def test_a_cell_attaches_files_and_variables(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "my notes.txt").write_text("some notes")
    shell.run("import pandas as pd\nsales = pd.DataFrame({'a': range(99)})\nword = 'a text'")
    shell.run(f"%%route --attach '{tmp_path}/my notes.txt' --attach {{{{sales}}}} --attach {{{{word}}}}\nhello")
    content = shell.scripted.requests[0].messages[0].content
    assert '<attachment name="my notes.txt">\nsome notes\n</attachment>' in content
    assert '<attachment name="sales" content="99 rows × 1 columns, the first 50 rows">\na\n0\n' in content
    assert '<attachment name="word">\na text\n</attachment>\n\nhello' in content
    assert "sales: " in shell.run("%route --plan --attach {{sales}} hello")
    shell.run("%config RouteMagics.table_rows = 2")
    shell.run("%route --attach {{sales}} hello")
    assert "the first 2 rows" in shell.scripted.requests[1].messages[0].content
    for cell, says in (
        ("%route --attach nowhere.csv hello", "RequestError: 'nowhere.csv' can't be attached: No such file"),
        (
            "%route --attach {{nothing}} hello",
            "UsageError: invalid --attach nothing: must be the name of a variable in the notebook",
        ),
        ("%route --attach {{pd}} hello", "RequestError: a value of type module can't be attached"),
    ):
        out, _ = shell.fail(cell)
        assert says in out
        assert "Traceback" not in out


def test_the_limits_are_as_documented() -> None:
    assert (attachments.TABLE_ROWS, attachments.MAX_IMAGE_BYTES, attachments.MAX_TEXT_BYTES) == (
        50,
        5_000_000,
        2_000_000,
    )
