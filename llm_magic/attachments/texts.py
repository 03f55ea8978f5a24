"""Text files, and words for files that are not text."""

from __future__ import annotations

import codecs
import re

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DOCUMENTS = (b"%PDF-", b"PK\x03\x04")
"""Files that are not text to a reader, although all of their bytes may be UTF-8."""
_SAMPLE_BYTES = 100_000
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_KANA = re.compile("[\u3040-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_HAN = re.compile("[\u4e00-\u9fff]")
_CYRILLIC = re.compile("[\u0400-\u045f]")
_READ = "read it with open(path, encoding='{}').read() and attach the text as {{{{name}}}}"


def decoded(data: bytes) -> str | None:
    """Return the text of UTF-8, or of UTF-16 and UTF-32 with a byte order mark; None for anything else."""
    if data.startswith(_DOCUMENTS):
        return None
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8-sig")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def way_out(data: bytes) -> str:
    """Return what a file that can't be attached probably is, and what to do; empty if unknown."""
    if (kind := _kind(data)) is not None:
        return kind
    if encoding := _encoding(data[:_SAMPLE_BYTES]):
        name, codec = encoding
        return f"It is probably text in {name}: {_READ.format(codec)}. If it reads wrong, it has another encoding"
    return ""


def _kind(data: bytes) -> str | None:
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"heim", b"heis"):
        return "It is a HEIC image: convert it to JPEG, for example with the package pillow-heif"
    if brand in (b"avif", b"avis"):
        return "It is an AVIF image: convert it to PNG, as in PIL.Image.open(path).save('image.png')"
    if brand:
        return "It is video or audio, which models of this registry do not take"
    if data.startswith(b"PK\x03\x04"):
        return _archive(data)
    kinds = (
        (b"%PDF-", "a PDF: extract its text, for example with the package pypdf, or attach its pages as PNG images"),
        (b"\xd0\xcf\x11\xe0", "an old Office file: for a workbook, use pandas.read_excel(path) and attach {{name}}"),
        (b"PAR1", "a Parquet file: read it with pandas.read_parquet(path) and attach the table as {{name}}"),
        (b"ARROW1", "a Feather file: read it with pandas.read_feather(path) and attach the table as {{name}}"),
        (b"SQLite format 3\0", "a SQLite database: read a table with pandas.read_sql and attach it as {{name}}"),
        (b"\x89HDF\r\n", "an HDF5 file: read a table with pandas.read_hdf(path) and attach it as {{name}}"),
        (b"\x1f\x8b", "compressed with gzip: decompress it, or for a table use pandas.read_csv(path) and {{name}}"),
        (b"BZh", "compressed with bzip2: decompress it first"),
        (b"\xfd7zXZ\0", "compressed with xz: decompress it first"),
        (b"BM", "a BMP image: convert it to PNG, as in PIL.Image.open(path).save('image.png')"),
        (b"II*\0", "a TIFF image: convert it to PNG, as in PIL.Image.open(path).save('image.png')"),
        (b"MM\0*", "a TIFF image: convert it to PNG, as in PIL.Image.open(path).save('image.png')"),
        (b"\x80\x04\x95", "a pickle: load it, and attach the value as {{name}}"),
        (b"\x93NUMPY", "a NumPy array: load it with numpy.load(path), and attach pandas.DataFrame(array) as {{name}}"),
        (b"ID3", "audio, which models of this registry do not take"),
        (b"\xff\x0a", "a JPEG XL image: convert it to PNG"),
        (b"\x1aE\xdf\xa3", "video, which models of this registry do not take"),
        (b"OggS", "audio, which models of this registry do not take"),
    )
    return next((f"It is {words}" for signature, words in kinds if data.startswith(signature)), None)


def _archive(data: bytes) -> str:
    if b"xl/workbook" in data or b"xl/worksheets" in data:
        return "It is an Excel workbook: read it with pandas.read_excel(path) and attach the table as {{name}}"
    if b"word/" in data:
        return "It is a Word document: extract its text, for example with the package python-docx"
    if b"ppt/" in data:
        return "It is a PowerPoint file: extract its text, for example with the package python-pptx"
    return "It is a ZIP archive: unpack it, and attach the files"


def _encoding(data: bytes) -> tuple[str, str] | None:
    evens, odds = data[0::2].count(0), data[1::2].count(0)
    if data and max(evens, odds) > 0.3 * len(data) / 2 and min(evens, odds) < 0.05 * len(data) / 2:
        codec = "utf-16-le" if odds > evens else "utf-16-be"
        return (f"{codec.upper()} without a byte order mark", codec) if _is_readable(data, codec) else None
    if not data or _CONTROLS.search(data):
        return None
    others = sum(byte >= 0x80 for byte in data)
    broken_bytes = data.decode("utf-8", errors="replace").count("\ufffd")
    if 20 * broken_bytes < others:
        return f"UTF-8 with {broken_bytes} broken bytes", "utf-8', errors='replace"
    for name, codec, script, share in (
        ()
        if others < 0.3 * len(data)
        else (
            ("Shift-JIS", "cp932", _KANA, 0.15),
            ("EUC-JP", "euc_jp", _KANA, 0.15),
            ("EUC-KR", "euc_kr", _HANGUL, 0.6),
            ("GBK", "gb18030", _HAN, 0.6),
        )
    ):
        text = data.decode(codec, errors="ignore")
        beyond_ascii = [character for character in text if ord(character) >= 0x80]
        broken = len(data.decode(codec, errors="replace").split("\ufffd")) - 1
        if beyond_ascii and broken <= 1 and len(script.findall(text)) >= share * len(beyond_ascii):
            return name, codec
    if len(_CYRILLIC.findall(data.decode("cp1251", errors="replace"))) > 0.9 * others and others > 0.4 * len(data):
        return "Windows-1251", "cp1251"
    return "Windows-1252", "cp1252"


def _is_readable(data: bytes, codec: str) -> bool:
    text = data.decode(codec, errors="replace")
    shown = sum(character.isprintable() or character.isspace() for character in text)
    return len(text) > 1 and shown >= 0.95 * len(text) and "\0" not in text
