"""Model output in a trusted notebook: nothing of it runs, nothing of it loads."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic.jupyter.safe import _TAGS, escape, fenced, markdown_to_html

PAYLOADS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](https://evil.example/pixel.png)",
    "![x](javascript:alert(1))",
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](vbscript:msgbox(1))",
    "<javascript:alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)></style></mglyph></table></mtext></math>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<form action=https://evil.example><input name=a><button>go</button></form>",
    '<button data-commandlinker-command="console:create">x</button>',
    "<a href='javascript:alert(1)'>x</a>",
    "<style>body{background:url(https://evil.example)}</style>",
    "<link rel=stylesheet href=https://evil.example/a.css>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<object data=https://evil.example></object>",
    "<video src=x onerror=alert(1)></video>",
    "</div></div><script>alert(1)</script>",
    "```html\n<script>alert(1)</script>\n```",
    '```"onmouseover=alert(1) x="\ncode\n```',
    "| a |\n|---|\n| <img src=x onerror=alert(1)> |",
    "[x]: javascript:alert(1)\n\n[x]",
    '[x](https://ok.example "onclick=alert(1)")',
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "\x00<script>alert(1)</script>",
]


class Live(HTMLParser):
    """Collects whatever in a page could run or load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.found.append(tag)
        for name, value in attrs:
            url_ok = name == "href" and str(value).split(":")[0].lower() in ("http", "https", "mailto")
            plain = (name == "class" and str(value).startswith("language-")) or (name == "rel") or (name == "start")
            if not (url_ok or plain):
                self.found.append(f"{tag} {name}={value}")


def live_parts(html: str) -> list[str]:
    parser = Live()
    parser.feed(html)
    return parser.found


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_are_inert(payload: str) -> None:
    assert live_parts(markdown_to_html(payload)) == []


@given(
    st.lists(st.sampled_from([*PAYLOADS, "\n", "`", "**", "> ", "| ", "- ", "](", "<", ">", '"']), max_size=8).map(
        "".join
    )
)
def test_mixtures_of_payloads_are_inert(text: str) -> None:
    assert live_parts(markdown_to_html(text)) == []


def test_markdown_is_still_markdown() -> None:
    html = markdown_to_html(
        "# Title\n\n**bold** `code`\n\n```python\nx = 1\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n[t](https://x.example)"
    )
    for part in (
        "<h1>Title</h1>",
        "<strong>bold</strong>",
        'class="language-python"',
        "<td>1</td>",
        'href="https://x.example"',
    ):
        assert part in html


@given(st.text(alphabet="`a\n ", max_size=40))
def test_no_fence_within_ends_the_fence(text: str) -> None:
    from markdown_it import MarkdownIt

    (token,) = MarkdownIt("commonmark").parse(fenced(text))
    assert token.type == "fence"
    assert token.content.rstrip("\n") == text.rstrip("\n")


def test_everything_else_is_escaped() -> None:
    assert escape("<b a=\"1\" c='2'>&") == "&lt;b a=&quot;1&quot; c=&#x27;2&#x27;&gt;&amp;"
