"""Awkward tables, images and files: what is sent, and what the user is told."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as pillow

from llm_magic import RequestError, TaskTier
from llm_magic.attachments import attach, of_value
from llm_magic.types import Attachment
from tests.support.builders import model, router

SEES = model("sees", image_tokens=4_784, tiers=(TaskTier.BULK,))

# Tables.


@pytest.mark.parametrize("column", ["name", "columns", "index", "shape", "head", "iloc", "to_csv", "map", "dtype", "T"])
def test_a_frame_may_have_a_column_of_any_name(column: str) -> None:
    frame = pd.DataFrame({column: ["Ada"], "n": [1]})
    for attached in (attach([frame])[0], of_value("t", frame)):
        assert attached.text == f"{column},n\nAda,1\n"
    row = of_value("row", frame.iloc[0])
    assert row.text.splitlines()[1:] == [f"{column},Ada", "n,1"]
    assert attach([frame])[0].name == "table"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (("a", 1), "('a', 1)"), (pd.Timestamp("2026-01-02"), "2026-01-02 00:00:00"), (1.5, "1.5"), (0, "0"),
        (float("nan"), "nan"), (None, "table"), ("", "table"), ("s", "s"), (True, "True"),
    ],
)  # fmt: skip
def test_a_series_may_have_a_name_of_any_kind(name: Any, shown: str) -> None:
    (request,) = router().request("Sum n", attach=[pd.Series([1, 2], name=name)]).attachments
    assert request.name == shown


@pytest.mark.parametrize(
    "cell",
    [
        [0.123456789] * 1_536,
        tuple(range(5_000)),
        {f"key {number}": {"nested": list(range(50))} for number in range(500)},
        {"deep": {"deep": {"deep": {"deep": ["x" * 500] * 50}}}},
        b"\0\xff" * 5_000,
        bytearray(50_000),
        np.zeros(1_536),
        np.zeros((100, 100)),
        pd.Series(range(10_000)),
        frozenset(range(3_000)),
        10**3_000,
        10**6_000,
        "x" * 10_000,
        pd.DataFrame({"a": range(1_000)}),
        Path("/" + "long/" * 500),
    ],
    ids=lambda cell: type(cell).__name__,
)
def test_a_long_cell_of_any_kind_is_bounded_and_reported(cell: Any) -> None:
    frame = pd.DataFrame({"id": range(50), "embedding": pd.Series([cell] * 50, dtype=object)})
    table = of_value("t", frame)
    assert len(table.text) < 50 * 300
    assert "…" in table.text
    assert table.changes == "long cells cut in embedding"
    plan = router().plan("Sum up", attach=[table])
    assert plan.extras[0].detail == "50 rows × 2 columns; long cells cut in embedding"


@pytest.mark.parametrize(
    "cell",
    [1, 1.5, True, None, "text", [1, 2], (1, 2), {"a": 1}, b"ab", pd.Timestamp("2026-01-02"), pd.NaT, pd.NA, 2**64,
     pd.Timedelta(days=1), np.float32(1.5), np.array([1, 2]), float("nan")],
    ids=repr,
)  # fmt: skip
def test_a_short_cell_is_sent_whole(cell: Any) -> None:
    frame = pd.DataFrame({"a": pd.Series([cell], dtype=object)})
    table = of_value("t", frame)
    assert table.changes == ""
    if not isinstance(cell, np.ndarray):
        assert table.text == frame.to_csv(index=False)


def test_long_labels_are_cut_and_several_columns_are_named() -> None:
    frame = pd.DataFrame({"x" * 5_000: [1]}, index=["y" * 5_000])
    table = of_value("t", frame)
    assert len(table.text) < 500
    assert table.changes == "long labels cut"
    wide = of_value("t", pd.DataFrame({name: ["x" * 300] for name in "abcde"}))
    assert wide.changes == "long cells cut in a, b, c and 2 more"


def test_duplicate_and_multi_level_columns_and_categories_are_sent() -> None:
    assert of_value("t", pd.DataFrame([[1, 2]], columns=["a", "a"])).text == "a,a\n1,2\n"
    levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", "x"), ("a", "y")]))
    assert of_value("t", levels).text.endswith("1,2\n")
    assert of_value("t", pd.DataFrame({"c": pd.Categorical(["u", "v"])})).text == "c\nu\nv\n"
    indexed = pd.DataFrame({"v": [1]}, index=pd.MultiIndex.from_tuples([("a", 1)], names=["k", "n"]))
    assert "1" in of_value("t", indexed).text
    assert of_value("t", pd.DataFrame()).detail == "0 rows × 0 columns"


def test_polars_frames_are_sent_without_pyarrow() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"name": ["Ada", "Bob"] * 60, "n": [[1] * 500, [2]] * 60})
    table = attach([frame])[0]
    assert table.text.startswith('name,n\nAda,"[1, 1')
    assert table.detail == "120 rows × 2 columns, the first 50 rows"
    assert of_value("t", frame.lazy()).detail == "at least 50 rows × 2 columns, the first 50 rows"
    assert attach([frame["name"]])[0].name == "name"


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (pd.DataFrame({"year": [2000, 2001], "n": [1, 2]}).set_index("year"), "year,n\n2000,1\n2001,2\n"),
        (pd.DataFrame({"year": [0, 1]}).set_index("year"), "year\n0\n1\n"),
        (pd.DataFrame({"n": [1, 2]}, index=range(2000, 2002)), ",n\n2000,1\n2001,2\n"),
        (pd.DataFrame({"n": [1, 2, 3]}).iloc[1:], ",n\n1,2\n2,3\n"),
        (pd.DataFrame({"n": [1, 2]}, index=pd.Index([0, 1])), "n\n1\n2\n"),
        (
            pd.DataFrame({"city": ["a", "b"], "year": [1, 2], "n": [3, 4]}).groupby(["city", "year"]).sum(),
            "city,year,n\na,1,3\nb,2,4\n",
        ),
    ],
)
def test_an_index_with_a_meaning_is_sent_with_the_names_of_its_levels(frame: pd.DataFrame, text: str) -> None:
    assert of_value("t", frame).text == text


def test_tables_of_arrow_are_sent() -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"name": ["Ada"] * 120, "n": range(120)})
    for value in (table, table.to_batches()[0]):
        attached = attach([value])[0]
        assert attached.text.startswith("name,n\nAda,0\nAda,1\n")
        assert attached.detail == "120 rows × 2 columns, the first 50 rows"


class Column:
    """A column as polars makes them."""

    def __init__(self, name: str, values: list[Any]) -> None:
        self.name, self._values = name, values

    def to_list(self) -> list[Any]:
        return self._values


class PolarsLike:
    """The part of a polars DataFrame that is used; polars itself is not installed here."""

    __module__ = "polars.dataframe.frame"
    columns = ("name", "n")

    def __init__(self, rows: int) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def head(self, rows: int) -> PolarsLike:
        return PolarsLike(min(rows, self._rows))

    def get_columns(self) -> list[Column]:
        return [Column("name", ["Ada"] * self._rows), Column("n", [1] * self._rows)]

    def write_csv(self) -> str:
        raise AssertionError


def test_a_frame_of_polars_is_read_through_its_columns() -> None:
    table = attach([PolarsLike(120)])[0]
    assert (table.name, table.detail) == ("table", "120 rows × 2 columns, the first 50 rows")
    assert table.text.startswith("name,n\nAda,1\n")


# Images.


def encoded(kind: str, size: tuple[int, int] = (40, 20), *, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    picture = pillow.new(mode, size, "red")
    picture.paste("blue", (0, 0, size[0] // 2, size[1]))
    picture.save(file, kind, **options)
    return file.getvalue()


def located(orientation: int = 1) -> Any:
    exif = pillow.Exif()
    exif[0x0112] = orientation
    exif.get_ifd(0x8825)[2] = (48.0, 8.0, 30.0)
    exif[0x010F] = "Maker"
    return exif


def opened(attachment: Attachment) -> pillow.Image:
    assert attachment.image is not None
    return pillow.open(io.BytesIO(attachment.image.data))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_turned_and_loses_its_position_and_its_changes_say_so(kind: str) -> None:
    photo = of_value("photo", encoded(kind, exif=located(orientation=6)))
    sent = opened(photo)
    assert sent.size == (20, 40)
    assert not len(sent.getexif())
    assert photo.changes == "turned as its EXIF orientation says, its GPS position removed"
    upright = sent.convert("RGB")
    assert upright.getpixel((10, 5))[2] > 200, "the blue half is on top"
    assert photo.image is not None
    assert (photo.image.width, photo.image.height) == (20, 40)
    plan = router(SEES).plan("what is this?", attach=[photo])
    assert "its GPS position removed" in plan.extras[0].detail


def test_other_metadata_is_removed_without_a_word() -> None:
    exif = pillow.Exif()
    exif[0x010F] = "Maker"
    photo = of_value("photo", encoded("JPEG", exif=exif))
    assert photo.changes == ""
    assert not len(opened(photo).getexif())


def test_an_image_without_metadata_is_sent_as_it_is() -> None:
    for kind in ("JPEG", "PNG", "GIF", "WEBP"):
        data = encoded(kind)
        image = of_value("x", data).image
        assert image is not None
        assert image.data == data


@pytest.mark.parametrize(
    ("kind", "mode", "size"),
    [("JPEG", "RGB", (9_000, 10)), ("PNG", "RGB", (640, 8_570)), ("PNG", "L", (8_001, 8_001))],
)
def test_an_image_above_the_limit_of_a_side_is_scaled_down(kind: str, mode: str, size: tuple[int, int]) -> None:
    shot = of_value("shot", encoded(kind, size, mode=mode))
    assert shot.image is not None
    assert max(shot.image.width, shot.image.height) == 8_000
    assert shot.changes == f"scaled down from {size[0]:,} × {size[1]:,} pixels"


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_sent(kind: str) -> None:
    more = [pillow.new("RGB", (40, 20), color) for color in ("green", "yellow")]
    animated = of_value("a", encoded(kind, save_all=True, append_images=more))
    assert getattr(opened(animated), "n_frames", 1) == 1
    assert animated.changes == "the first of its 3 frames"
    assert animated.image is not None
    assert animated.image.media_type == "image/png"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F"])
def test_an_image_of_pillow_of_any_mode_is_sent_and_stays_as_it_was(mode: str) -> None:
    picture = pillow.new(mode, (40, 20))
    picture.info["comment"] = "mine"
    attached = of_value("picture", picture)
    assert opened(attached).size == (40, 20)
    assert picture.info == {"comment": "mine"}
    assert attach([picture])[0].name == "image"


def test_a_picture_is_turned_as_its_orientation_says() -> None:
    with pillow.open(io.BytesIO(encoded("JPEG", exif=located(orientation=6)))) as picture:
        assert opened(of_value("picture", picture)).size == (20, 40)


def test_a_figure_is_sent_as_an_image() -> None:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([1, 2])
    attached = of_value("figure", figure)
    assert attached.image is not None
    assert attached.image.media_type == "image/png"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros((2, 2)), "PIL.Image.fromarray(array)"),
        ([{"a": 1}], "pandas.DataFrame(data)"),
        (io.BytesIO(b"x"), "what read() returns"),
        (None, "a value of type NoneType can't be attached: give a path, a text in a variable, a table, or an image"),
        (" \n", "x is empty"),
        ("", "x is empty"),
        (__file__, "its value is the name of a file"),
    ],
)
def test_a_value_that_can_not_be_attached_is_an_error_with_a_hint(value: Any, says: str) -> None:
    with pytest.raises(RequestError) as error:
        of_value("x", value)
    assert says in str(error.value)


@pytest.mark.parametrize(
    "data",
    [encoded("PNG")[:20], encoded("PNG", (400, 400))[:-200], encoded("JPEG", (400, 400))[:400], b"\xff\xd8\xff\xe0torn",
     b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 ", encoded("PNG").replace(b"IDAT", b"IDAX")],
)  # fmt: skip
def test_a_broken_image_is_an_error_before_anything_is_sent(data: bytes) -> None:
    # Pillow 12 takes the size of a torn header for real.
    with pytest.raises(RequestError, match=r"the image x (is broken and would be refused|has .* pixels)"):
        router(SEES).request("what is this?", attach=[of_value("x", data)])


def test_a_cell_without_text_names_its_column() -> None:
    class Broken:
        def __str__(self) -> str:
            raise ValueError("closed")

    with pytest.raises(RequestError, match=r"column 'handle' has a cell without text: ValueError\('closed'\)"):
        of_value("x", pd.DataFrame({"handle": [Broken()]}))


def test_the_home_of_an_unknown_user_is_a_missing_file() -> None:
    with pytest.raises(RequestError, match=r"'~nobody-of-this-name/x\.txt' can't be attached: No such file"):
        attach(["~nobody-of-this-name/x.txt"])


def test_an_image_of_too_many_pixels_is_an_error() -> None:
    with pytest.raises(RequestError, match="has 10,000 × 9,000 pixels: scale it down"):
        of_value("x", encoded("PNG", (10_000, 9_000), mode="1"))


# Files that are not text in UTF-8.


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig", "utf-8"])
def test_text_with_a_byte_order_mark_is_read(encoding: str) -> None:
    assert of_value("x", "Grüße 世界 😀\n".encode(encoding)).text == "Grüße 世界 😀\n"
    big = "\ufeffhello".encode("utf-16-be")
    assert of_value("x", big).text == "hello"


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("Prix : 5 € – café à la crème", "cp1252", "Windows-1252: read it with open(path, encoding='cp1252')"),
        ("naïve", "latin-1", "Windows-1252"),
        ("これは日本語のテキストです。", "cp932", "Shift-JIS: read it with open(path, encoding='cp932')"),
        ("これは日本語のテキストです。", "euc_jp", "EUC-JP"),
        ("这是一个中文文本文件，内容很简单。", "gb18030", "GBK"),
        ("Это обычный русский текст.", "cp1251", "Windows-1251"),
        ("이것은 한국어 텍스트입니다.", "euc_kr", "EUC-KR"),
        ("hello world", "utf-16-le", "UTF-16-LE without a byte order mark"),
        ("hello world", "utf-16-be", "UTF-16-BE without a byte order mark"),
    ],
)
def test_another_encoding_is_named_with_what_to_do(text: str, codec: str, name: str) -> None:
    with pytest.raises(RequestError) as error:
        of_value("notes.txt", (text * 20).encode(codec))
    assert f"It is probably text in {name}" in str(error.value)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC image: convert it to JPEG, for example with the package pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0", "HEIC image"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF image: convert it to PNG"),
        (b"\0\0\0\x20ftypisom\0\0\0\0", "video or audio"),
        (b"\x1aE\xdf\xa3\0", "video"),
        (b"\xff\x0a\0\0", "JPEG XL image: convert it to PNG"),
        (b"%PDF-1.7\n\xff", "a PDF: extract its text"),
        (b"%PDF-1.4\n1 0 obj\nBT (only ASCII) Tj ET\n", "a PDF: extract its text"),
        (b"PK\x03\x04xl/workbook.xml", "an Excel workbook: read it with pandas.read_excel"),
        (b"PK\x03\x04...xl/workbook.xml\0", "Excel workbook: read it with pandas.read_excel(path)"),
        (b"PK\x03\x04...word/document.xml\0", "Word document"),
        (b"PK\x03\x04...ppt/slides\0", "PowerPoint"),
        (b"PK\x03\x04\0\0", "ZIP archive"),
        (b"PAR1\0", "pandas.read_parquet(path)"),
        (b"\x1f\x8b\x08\0", "compressed with gzip"),
        (b"SQLite format 3\0", "SQLite database"),
        (b"BM\0\0", "BMP image"),
        (b"\xd0\xcf\x11\xe0\0", "pandas.read_excel"),
    ],
)
def test_a_file_of_another_format_is_named_with_what_to_do(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(RequestError) as error:
        attach([path])
    assert words in str(error.value)


@pytest.mark.parametrize(
    "data",
    [b"\0\0\0\x18ftypmp42" + b"\0\x99" * 20, b"\xff\xfb\x90\x64" + b"\0\x99" * 50, b"MZ\x90\0\x03", b"\x28\xb5\x2f\xfd\0",
     b"\x1a\x45\xdf\xa3" + b"\x99\0" * 30, bytes(range(256))],
)  # fmt: skip
def test_binary_data_is_not_taken_for_text_in_another_encoding(data: bytes) -> None:
    with pytest.raises(RequestError) as error:
        of_value("x", data)
    assert "probably text" not in str(error.value)


def test_text_in_utf_8_with_a_broken_byte_is_named_as_such() -> None:
    with pytest.raises(RequestError, match=r"UTF-8 with 1 broken bytes: .*encoding='utf-8', errors='replace'\)"):
        of_value("x", "héllo wörld ".encode() * 20 + b"\xff")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has neither")
def test_a_pipe_and_a_device_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(RequestError, match="it is not a file, but a device or a pipe"):
            attach([path])


def test_a_url_is_not_fetched() -> None:
    with pytest.raises(RequestError, match="URLs are not fetched"):
        attach(["https://example.com/x.png"])
