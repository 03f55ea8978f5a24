"""Model output in a trusted notebook: nothing in it runs or loads."""

from __future__ import annotations

import re
import time
from html import unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_magic.jupyter.render import code, markdown, mathml
from llm_magic.jupyter.render.html import escape
from llm_magic.jupyter.render.markdown import fenced, markdown_to_html
from tests.support.payloads import PAYLOADS


class ActiveContent(HTMLParser):
    """Collects the tags and attributes of a page that could run or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.active: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in markdown.TAGS | mathml.TAGS:
            self.active.append(tag)
        for name, value in attrs:
            url_ok = tag == "a" and name == "href" and str(value).split(":")[0].lower() in ("http", "https", "mailto")
            highlighting = tag == "span" and name == "class" and value in code.CLASSES.values()
            plain = (name == "class" and str(value).startswith("language-")) or name in ("rel", "start", "align", "dir")
            source = tag == "span" and (name == "hidden" or value in ("t", "m"))
            formula = tag in mathml.TAGS and name in mathml.ATTRIBUTES
            if not (url_ok or highlighting or plain or formula or source or (tag, name) == ("pre", "tabindex")):
                self.active.append(f"{tag} {name}={value}")


class VisibleText(HTMLParser):
    """Collects the text outside elements with the attribute `hidden`."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self._hidden: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._hidden or ("hidden", "hidden") in attrs:
            self._hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden.pop()

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data


def visible_text(html: str) -> str:
    parser = VisibleText()
    parser.feed(html)
    return parser.text.strip()


def active_parts(html: str) -> list[str]:
    parser = ActiveContent()
    parser.feed(html)
    return parser.active


@pytest.mark.parametrize("payload", PAYLOADS)
def test_payloads_are_inert(payload: str) -> None:
    assert active_parts(markdown_to_html(payload)) == []


@given(
    st.lists(st.sampled_from([*PAYLOADS, "\n", "`", "**", "> ", "| ", "- ", "](", "<", ">", '"']), max_size=8).map(
        "".join
    )
)
def test_mixtures_of_payloads_are_inert(text: str) -> None:
    assert active_parts(markdown_to_html(text)) == []


def test_markdown_is_rendered() -> None:
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


def test_code_is_highlighted_with_five_classes() -> None:
    html = markdown_to_html('```python\ndef f(x):\n    return "<b>" + 1  # c\n```').replace("&quot;", '"')
    assert '<span class="k">def</span> <span class="f">f</span>' in html
    assert '<span class="s">"&lt;b&gt;"</span>' in html
    assert '<span class="n">1</span>  <span class="c"># c</span>' in html
    assert "<span" not in markdown_to_html("```whatever\ndef f(x): pass\n```")
    assert "<span" not in markdown_to_html(f"```python\n{'x = 1' * code.MAX_CHARS}\n```")


def test_pygments_supports_every_listed_language() -> None:
    assert [name for name in code.LANGUAGES if not code.highlight("x = 1\n", name)] == []


@pytest.mark.parametrize(
    "text", ["$x_1$", "\\(x_1\\)", "$$x_1$$", "$$\nx_1\n$$", "\\[x_1\\]", "> - \\[\n>   x_1\n>   \\]"]
)
def test_formulas_become_mathml(text: str) -> None:
    html = markdown_to_html(text)
    assert "<msub><mi>x</mi><mn>1</mn></msub>" in html
    assert ('display="inline"' in html) == (text in ("$x_1$", "\\(x_1\\)"))


def test_markdown_has_no_meaning_in_display_formulas() -> None:
    html = markdown_to_html("\\begin{align}\na &= b \\\\\n- 4 &= *c*\n\\end{align}")
    assert html.count("<mtr>") == 2
    assert "<li>" not in html
    assert "(1)" not in html


@pytest.mark.parametrize(
    "text",
    [
        "it costs $5 or $6",
        "between $5-$10",
        "a $ b $ c",
        "`$x$`",
        "```\n$x$\n```",
        "    $$x$$",
        "\\$x$",
        "$$\n\nx",
        "it is 5$, then 10$, then done",
        "(5$-10$)",
        "add $HOME/bin:$PATH here",
        "echo $USER@$HOST",
        "$a=$b",
        "$AAPL/$MSFT rose",
        "$AAPL and $MSFT",
        "a $5/b and c/$d",
        "x costs $5 and y costs $6$",
        "$20,$30",
        "$10/$12",
        "`$a` and $5 or `$b`",
        "between $5 and 10$.",
        "it's $5 (or 5$)",
        "$5 – a bargain, 10$ – not",
        "it is $50/yr; R$ 20",
        "it is $50/yr, R$ 20, HK$ 60",
    ],
)
def test_dollar_signs_outside_formulas_stay_text(text: str) -> None:
    assert "<math" not in markdown_to_html(text)


@pytest.mark.parametrize(
    "text",
    [
        "the $n$th",
        "$k$s",
        "变量$x$是",
        "the answer is $6$.",
        "($x$, $y$)",
        "**$x$**",
        "$x$-axis",
        "- $x$",
        "$2ab$",
        "$2(ab) + 1$",
    ],
)
def test_dollar_signs_around_symbols_are_formulas(text: str) -> None:
    assert "<math" in markdown_to_html(text)


@pytest.mark.parametrize(
    ("tex", "rows"),
    [
        (r"\begin{aligned} a &= b \\ c &= \text{if } d \end{aligned}", 2),
        (r"\begin{alignedat}{2} a &= b \\ c &= d \end{alignedat}", 2),
        (r"\begin{flalign} a &= b \\ c &= d \end{flalign}", 2),
        (r"\begin{eqnarray} a &=& b \\ c &=& d \end{eqnarray}", 2),
        (r"\begin{gather} a \\ b \label{eq} \end{gather}", 2),
        (r"\begin{multline*} a \\ b \end{multline*}", 2),
        (r"\begin{dcases} a & b \\ c & d \end{dcases}", 2),
        (r"\left[\begin{rcases} a \\ b \end{rcases}\right]", 2),
        (r"\sum_{\begin{subarray}{c} i \\ j \end{subarray}} x", 2),
        (r"a = b \\ c = d", 2),
        (r"\begin{align} a &= b \\[4pt] c &= d \\*[.5ex] e &= f \end{align}", 3),
        (r"\begin{pmatrix} a \\[\jot] [b] \end{pmatrix}", 2),
        (r"\begin{align} a &= b & \\ c &= d & \end{align}", 2),
        (r"\begin{matrix} [a] \\ [b] \end{matrix}", 2),
        (r"\begin{aligned}[t] a &= b \\ c &= d \end{aligned}", 2),
    ],
)
def test_lines_of_a_formula_become_rows(tex: str, rows: int) -> None:
    html = markdown_to_html(f"$$\n{tex}\n$$")
    assert html.count("<mtr>") == rows
    assert "<mi>&amp;</mi>" not in html
    assert "<code>" not in html


@pytest.mark.parametrize("tex", [r"\boxed{42}", r"\fbox{hi}", r"\cancel{x}", r"\bcancel{x}", r"\xcancel{x}"])
def test_boxes_and_strikes_have_a_notation(tex: str) -> None:
    assert re.search(r'<menclose notation="(box|\w+diagonalstrike)', markdown_to_html(f"${tex}$"))


def letters(tex: str) -> str:
    """Return the characters of a formula without their places."""
    element = re.search(r"<math.*</math>", mathml.to_html(tex, display=True), re.DOTALL)
    assert element, tex
    return re.sub(r"\s+", "", unescape(re.sub(r"<[^>]*>", "", element.group())))


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"\begin{align} a &= b \\[4pt] c &= d & \end{align}", "a=bc=d"),
        (r"\begin{pmatrix*}[r] 1 & -2 \end{pmatrix*}", "(1−2)"),
        (r"\begin{Bmatrix*}[r] 1 & 2 \end{Bmatrix*}", "{12}"),
        (r"\begin{array}{@{}l@{\quad}p{2cm}*{2}{c}:r@{}} a & b & c & d & e \end{array}", "abcde"),
        (r"\begin{array}[t]{cc} a & b \end{array}", "ab"),
        (r"\begin{cases} [0,1] & a \\ b & \end{cases}", "{[0,1]ab"),
        (r"\big\{ x \Big\| y \bigr\}", "{x‖y}"),
        (r"\bigl\langle x \bigr\rangle + \Big\lvert y \Big\rvert", "⟨x⟩+|y|"),
        (r"\text{50\% of \$5, learning\_rate~R\&D \{x\}}", "50%of$5,learning_rateR&D{x}"),
        (r"\text{if $x_1$ or \(y\), \textbf{not} z}", "ifx1ory,notz"),
        (r"x = 95% + 2", "x=95%+2"),
        (r"\arg\max_x f", "argmaxxf"),
        (r"x\ ", "x"),
    ],
)
def test_a_formula_shows_all_of_its_characters_and_no_markup(tex: str, shown: str) -> None:
    assert letters(tex) == shown


def test_the_number_of_an_equation_is_not_a_factor() -> None:
    html = markdown_to_html("$$\n\\begin{align} a &= b \\tag{1} \\\\ c &= d \\tag*{(A)} \\end{align}\n$$")
    assert html.count('<mspace width="2em">') == 2
    assert "<mtext>(1)</mtext>" in html


def test_the_lines_of_an_array_are_kept() -> None:
    html = markdown_to_html("$$\n\\left[\\begin{array}{cc|c} 1 & 2 & 3 \\\\ \\hline 4 & 5 & 6 \\end{array}\\right]\n$$")
    assert '<mtable columnlines="none solid" rowlines="solid">' in html


@pytest.mark.parametrize(
    "tex",
    [
        r"\enclose{box}{x}", r"\unknowncommand{x}", r"a & b", r"\frac{a}", r"\text{caf\'e}", r"\text{a", r"\text{see \ref{a}}",
        r"\begin{CD} A @>>> B \end{CD}", r"\begin{empheq}{align} a \end{empheq}", r"\begin{tabular}{ll} a & b \end{tabular}",
        r"\begin{dcases*} a & if it rains \end{dcases*}", r"\begin{array} a \end{array}",
    ],
)  # fmt: skip
def test_a_formula_that_would_lose_a_part_is_displayed_as_code(tex: str) -> None:
    assert f"<code>{escape(tex)}</code>" in markdown_to_html(f"${tex}$")


def test_without_styles_and_mathml_a_formula_reads_as_its_tex() -> None:
    """A sanitizer such as JupyterLab's, for a notebook that is not trusted, keeps the attribute `hidden`."""
    html = markdown_to_html(r"The rate is $(1-\sqrt{\mu/L})^k$.")
    assert visible_text(html) == r"The rate is \((1-\sqrt{\mu/L})^k\)."


def test_bars_in_formulas_do_not_end_cells_of_a_table() -> None:
    html = markdown_to_html("| a | b |\n|---|---|\n| $|x|$ | $\\|y\\|$ |\n| `$z` | 2 |")
    assert html.count("<td>") == 4
    assert html.count("<math") == 2
    assert "∥" in html or "‖" in html


def test_bars_in_code_do_not_end_cells_of_a_table() -> None:
    html = markdown_to_html("| a | b |\n|---|---|\n| `a|b` | 2 |\n| `c\\|d` | ``x|`y`` |\n| open ` | 3 |")
    assert html.count("<td>") == 6
    for bars in ("a|b", "c|d", "x|`y"):
        assert f"<code>{bars}</code>" in html


def test_no_character_overrides_the_direction_of_a_link() -> None:
    html = markdown_to_html("[\u202egro.elpmaxe\u202c](https://evil.example/)")
    assert "\u202e" not in html
    assert "(evil.example)" in html


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        (
            "次に**『設定』**を開き、**『保存』**を押します。",
            "次に<strong>『設定』</strong>を開き、<strong>『保存』</strong>を",
        ),
        ("これは**太字。**です", "これは<strong>太字。</strong>です"),
        ("他说**“你好”**然后走了", "他说<strong>“你好”</strong>然后"),
        ("한국어**(강조)**입니다", "한국어<strong>(강조)</strong>입니다"),
        ("請看**`code`**這裡", "請看<strong><code>code</code></strong>這裡"),
        ("1. **名前：**説明\n2. **値段：**100円", "<strong>値段：</strong>100円"),
        ("a**「b」**c、**「d」**e", "a<strong>「b」</strong>c、<strong>「d」</strong>e"),
        ("次に~~『設定』~~を", "次に<s>『設定』</s>を"),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
    ],
)
def test_emphasis_next_to_cjk_punctuation(text: str, rendered: str) -> None:
    assert rendered in markdown_to_html(text)


def test_right_to_left_text_has_a_direction_and_code_has_none() -> None:
    html = markdown_to_html("# כותרת\n\nשלום! x\n\n- אחד\n\n| שם | b |\n|---|---|\n| 1 | 2 |\n\n```\nx\n```\n\nHello.")
    for part in ('<h1 dir="auto">', '<p dir="auto">', '<li dir="auto">', '<table dir="rtl">', "<p>Hello."):
        assert part in html
    assert "<pre tabindex" in html


def test_tags_without_attributes_are_kept_in_tables_and_others_are_text() -> None:
    html = markdown_to_html("| a |\n|---|\n| x<br>H<sub>2</sub>O <kbd>Ctrl</kbd> <b onclick=x>q</b> <script>y |")
    assert "x<br>H<sub>2</sub>O <kbd>Ctrl</kbd> &lt;b onclick=x&gt;q" in html
    assert "&lt;script&gt;y" in html


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("<b>b</b> <i>i</i> <U>u</U> <small>s</small>", "<b>b</b> <i>i</i> <u>u</u> <small>s</small>"),
        ("an <b>open tag\n\nnext", "an &lt;b&gt;open tag</p>\n<p>next"),
        ("a </b>closed <i>x</i>", "a &lt;/b&gt;closed <i>x</i>"),
        ("<b>x <i>y</b> z</i>", "&lt;b&gt;x &lt;i&gt;y&lt;/b&gt; z&lt;/i&gt;"),
        ("<b>x and `</b>`", "&lt;b&gt;x and <code>&lt;/b&gt;</code>"),
        ("a<br/>b<BR>c", "a<br>b<br>c"),
    ],
)
def test_a_tag_without_its_pair_is_text(text: str, rendered: str) -> None:
    assert rendered in markdown_to_html(text)


def test_a_fence_within_a_markdown_fence_does_not_end_it() -> None:
    html = markdown_to_html("```markdown\n# T\n```python\nx = 1\n```\nend\n```\nafter")
    assert html.count("<pre") == 1
    assert "<p>after</p>" in html
    assert markdown_to_html("```python\nx\n```\ntext\n```\ny\n```").count("<pre") == 2


def test_task_lists_show_boxes() -> None:
    assert "<li>☑ done</li>\n<li>☐ open</li>" in markdown_to_html("- [x] done\n- [ ] open")


@pytest.mark.parametrize("tex", ["\\frac{", "\\newcommand{\\a}{b}\\a", "{" * 220 + "}" * 220])
def test_a_formula_that_can_not_be_parsed_is_displayed_as_code(tex: str) -> None:
    assert f"<code>{tex}</code>" in markdown_to_html(f"${tex}$")


def test_a_formula_placeholder_can_not_be_forged() -> None:
    assert markdown_to_html("\ue0000\ue001 $x$").count("<math") == 1
    assert "<math" not in markdown_to_html("[a](https://a.example/\ue0000\ue001)")


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("[x](https://evil.example/?q=secret)", ">x</a> (evil.example)"),
        ("[https://bank.example](https://evil.example/login)", ">https://bank.example</a> (evil.example)"),
        ("[x](https://bank.example@evil.example/)", ">x</a> (evil.example)"),
        ("[evil.example](https://evil.example)", ">evil.example</a></p>"),
        ("<https://evil.example/a>", ">https://evil.example/a</a></p>"),
        ("[x](mailto:me@evil.example)", ">x</a> (me@evil.example)"),
        ("[x](/lab/api)", ">x</a> (/lab/api)"),
        ("[x](//evil.example/a)", ">x</a> (evil.example)"),
        ("![a chart](https://evil.example/p.png)", "<p>[image a chart: https://evil.example/p.png]</p>"),
        ("![](https://evil.example/p.png)", "<p>[image https://evil.example/p.png]</p>"),
    ],
)
def test_links_and_images_show_their_targets(text: str, rendered: str) -> None:
    html = markdown_to_html(text)
    assert rendered in html
    if text.startswith(("[x](/", "![")):
        assert "href" not in html


@pytest.mark.parametrize("depth", [12, 30, 60, 200])
@pytest.mark.parametrize("kind", ["list", "quote"])
def test_no_text_is_lost_however_deep_it_is_nested(kind: str, depth: int) -> None:
    lines = [("  " * level + "- " if kind == "list" else "> " * level) + f"level{level}." for level in range(depth)]
    html = markdown_to_html("\n".join(lines))
    assert [f"level{level}." for level in range(depth) if f"level{level}." not in html] == []


def test_hostile_text_takes_linear_time() -> None:
    """Checked for every kind of opening that is never closed, with ten times the text."""
    for opening in ("$a ", "\\(", "\\[", "$$", "\\begin{align}\n", "$$\na\n\n", "[a](", "*a ", "`a ", "> ", "- "):
        once, tenfold = (min(_seconds(opening * count) for _ in range(2)) for count in (300, 3_000))
        assert tenfold < 30 * once + 0.1, opening


def _seconds(text: str) -> float:
    started = time.process_time()
    markdown_to_html(text)
    return time.process_time() - started


@given(st.text(alphabet="`a\n ", max_size=40))
def test_no_fence_in_the_text_closes_the_outer_fence(text: str) -> None:
    from markdown_it import MarkdownIt

    (token,) = MarkdownIt("commonmark").parse(fenced(text))
    assert token.type == "fence"
    assert token.content.rstrip("\n") == text.rstrip("\n")


def test_html_characters_are_escaped() -> None:
    assert escape("<b a=\"1\" c='2'>&") == "&lt;b a=&quot;1&quot; c=&#x27;2&#x27;&gt;&amp;"
