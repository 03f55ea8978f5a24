"""Style sheets of runs and of the panel, for light and dark themes and for wide and narrow pages.

Text has the page's color or --jp-ui-font-color1, because the other text colors of the themes have too little contrast.
Colors never carry information alone: each outcome also has a word and a sign. Code colors have a contrast of at least
4.5.

Each output includes its own rules, because it may be the only one on the page. The rules are scoped to that output:
with global rules, each new output would make the browser match all elements of all outputs again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

_COLORS = {
    "k": ("#718", "#daf"), "s": ("#a11", "#fb8"), "c": ("#566", "#abc"), "n": ("#064", "#9db"), "f": ("#049", "#9cf"),
    "ok": ("#2e7d32", "#81c784"), "bad": ("#c62828", "#ef9a9a"),
}  # fmt: skip
"""The colors of light and dark themes, by name. Lines and backgrounds are translucent, for every theme."""
_DARK = "[data-jp-theme-light=false] &,.vscode-dark &,html[theme=dark] &"
_RULE = re.compile(r"(@[^{]*\{(?:[^{}]*\{[^{}]*\})*\}|[^{}@]+\{[^{}]*\})")
_CONDITIONS = re.compile(r"::?[a-z-]+(?:\([^)]*\))?|\[[^\]]*\]")
_NAMES = re.compile(r"\.[\w-]+|(?<![\w.-])[a-z]\w*")
_SEPARATOR = re.compile(r",(?![^(]*\))")
_CLASSES = re.compile(r"class=(?:[\"']([^\"']*)|([\w-]+))")
_PREFORMATTED = re.compile(r"<(pre|textarea)\b.*?</\1>", re.DOTALL)
_NEEDLESS_BREAKS = re.compile(r"(<(?:table|thead|tbody|tr|ul|ol)>)\n|\n(?=</(?:table|thead|tbody|tr|ul|ol)>)")
_LANGUAGE = re.compile(r' class="?language-[^">]+"?(?=>)')
_BREAK = re.compile(r"\n\s*")
_TAG = re.compile(r"<[a-z][^<>]*>")
_NEEDLESS_QUOTES = re.compile(r'="([\w.-]+)"(?=[ >])')
_COLOR = re.compile(rf"var\(--({'|'.join(_COLORS)})\)")
_REPEATED = re.compile(
    r"& (?P<outer>\.[\w.-]+)\{(?P<own>[^{}]*)\}(?P<inner>(?:& (?P=outer) [^{},]+(?:\([^()]*\)[^{},]*)?\{[^{}]*\})+)"
)
_NESTED = re.compile(r"& (?=\.)")
_TAGS = re.compile(r"<([a-z]\w*)")
_FIXED = re.compile(r"\b(?:dir|align|display)(?:=\w+)?\b")
"""Attributes that a page does not change. The value of `dir` does not matter to a rule."""


def sheet(scope: str, *rules: str) -> str:
    """Return a style element with these rules, in which `&` stands for the class `scope`."""
    return f"<style>{_with_colors(''.join(rules)).replace('&', f'.{scope}')}</style>"


def _nested_sheet(scope: str, rules: Sequence[str]) -> str:
    """Return a style element that names its scope once, without variables: shorter, but without `@keyframes`."""
    light = _REPEATED.sub(_grouped, _colored("".join(rules), 0))
    dark = _colored("".join(map(_colors_only, rules)), 1)
    css = f"{light}{_DARK}{{{dark}}}" if dark else light
    return f"<style>.{scope}{{{_NESTED.sub('', css)}}}</style>"


def _colored(css: str, theme: int) -> str:
    return _COLOR.sub(lambda name: _COLORS[name[1]][theme], css)


def _colors_only(rule: str) -> str:
    selectors, _, declarations = rule[:-1].partition("{")
    colors = ";".join(filter(_COLOR.search, declarations.split(";")))
    return f"{selectors}{{{colors}}}" if colors else ""


def _grouped(rules: re.Match[str]) -> str:
    """Nest consecutive rules for parts of an element in the first rule, that of the element."""
    inner = rules["inner"].replace(f"& {rules['outer']} ", "& ")
    return f"& {rules['outer']}{{{rules['own']};{inner}}}"


def _with_colors(css: str) -> str:
    used = {name: colors for name, colors in _COLORS.items() if f"var(--{name})" in css}
    for theme, selector in enumerate(("&", _DARK)):
        variables = ";".join(f"--{name}:{colors[theme]}" for name, colors in used.items())
        css += f"{selector}{{{variables}}}" if variables else ""
    return css


def styled(html: str, *more: str) -> str:
    """Return HTML with its own style rules: those of STYLE and `more` that apply to it.

    The class is a hash of the HTML, so that an unchanged output is saved unchanged.
    """
    html = _compact(html)
    scope = f"llmr-{hashlib.sha256(html.encode()).hexdigest()[:6]}"
    rules = list(_applying(html, "".join((STYLE, *more))))
    return f'{_nested_sheet(scope, rules)}<div class="llmr {scope} mathjax_ignore tex2jax_ignore">{html}</div>'


def _compact(html: str) -> str:
    # In a saved notebook, a quote takes two characters, and a line break fifteen: each line is indented and quoted.
    html = _LANGUAGE.sub("", _NEEDLESS_BREAKS.sub(r"\1", html))
    html = _PREFORMATTED.sub(lambda block: block[0].replace("\n", "&#10;"), html).replace("\n", " ")
    return _TAG.sub(_compact_tag, html)


def _compact_tag(tag: re.Match[str]) -> str:
    # `hidden=hidden` stays: JupyterLab's sanitizer removes attributes without a value.
    short = _NEEDLESS_QUOTES.sub(r"=\1", tag[0]).replace(" display=inline", "")
    return short if "'" in short else short.replace('"', "'")


def _applying(html: str, css: str) -> Iterator[str]:
    """Yield the rules, each with those of its selectors that name classes and elements of the HTML."""
    classes = (name for values in _CLASSES.findall(html) for name in " ".join(values).split())
    names = {f".{name}" for name in classes} | set(_TAGS.findall(html)) | set(_FIXED.findall(html.replace('"', "")))
    names |= {"dir"} if " dir=" in html else set()
    for required_by_selector, declarations in _rules(css):
        if applying := [selector for selector, required in required_by_selector.items() if required <= names]:
            yield f"{','.join(applying)}{declarations}"


@lru_cache(maxsize=4)
def _rules(css: str) -> list[tuple[dict[str, set[str]], str]]:
    """Return each rule as its selectors, with the classes and elements that each requires, and its declarations."""
    rules: list[tuple[dict[str, set[str]], str]] = []
    for rule in _RULE.findall(css):
        selectors, brace, declarations = _BREAK.sub("", rule).partition("{")
        if rule.startswith("@"):
            selector = declarations.partition("{")[0]
            rules.append(({selectors: _required(selector)}, f"{brace}{declarations}"))
        else:
            parts = _SEPARATOR.split(selectors)
            rules.append(({part: _required(part) for part in parts}, f"{brace}{declarations}"))
    return rules


def _required(selector: str) -> set[str]:
    return set(_NAMES.findall(_CONDITIONS.sub("", selector))) | set(_FIXED.findall(selector))


STYLE = """
& .llmr,& .llmr-head,& .llmr-columns,& .llmr-still,& .llmr-plan{
 font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.5;
 color:var(--jp-ui-font-color1,inherit)}
& .llmr-head{background:#8881;border:1px solid #8887;border-radius:8px;padding:8px 12px;
 margin:2px 0 8px}
& .llmr-row{display:flex;flex-wrap:wrap;gap:2px 6px;align-items:baseline;margin:2px 0}
& .llmr-model{font-weight:600;font-size:15px}
& .llmr-tier{border:1px solid currentColor;border-radius:4px;padding:0 5px;font-size:11px;letter-spacing:.04em}
& .llmr-cost{font-weight:600;margin-left:auto}
& ol.llmr-path{list-style:none;display:flex;flex-wrap:wrap;gap:4px;margin:6px 0;padding:0}
& ol.llmr-path li{margin:0;padding:0}
& ol.llmr-path li+li::before{content:"→";margin-right:4px}
& ol.llmr-path span{display:inline-block;padding:0 8px;border-radius:10px;border:1px solid #8887;
 background:var(--jp-layout-color1,transparent)}
& ol.llmr-path span.ok{border-color:var(--ok);box-shadow:inset 0 0 0 1px var(--ok)}
& ol.llmr-path span.bad{border:1px dashed var(--bad)}
& .llmr.llmr-body,& .llmr .llmr-body,& .llmr-columns .llmr-body,& .llmr-still .llmr-body{
 font-family:var(--jp-content-font-family,inherit);font-size:var(--jp-content-font-size1,14px)}
& .llmr-far{content-visibility:auto;contain-intrinsic-size:auto 200px}
& .llmr-foot{margin:2px 0 6px;font-size:12px;overflow-wrap:anywhere}
& .llmr-foot summary{cursor:pointer;width:fit-content}
& .llmr-foot summary:focus-visible{outline:2px solid}
& .llmr-foot details[open]{border-left:3px solid #8887;padding-left:8px}
& .llmr-body.llmr-body{padding:0;max-width:80ch;overflow-wrap:break-word}
& .llmr-body.llmr-body pre{background:#8881;border-radius:6px;padding:8px 12px;margin:8px 0;
 overflow:auto}
& .llmr-body.llmr-body pre code{white-space:pre;background:none;padding:0}
& .llmr-body.llmr-body table{margin:8px 0}
& .llmr-body.llmr-body :is(th,td){text-align:left}
& .llmr-body.llmr-body [align=right]{text-align:right}
& .llmr-body.llmr-body [align=center]{text-align:center}
& .llmr-body.llmr-body blockquote{border-left:3px solid #8887;padding-left:12px;margin:8px 0}
& .llmr-body.llmr-body>h1:first-child,& .llmr-body.llmr-body>h2:first-child,
& .llmr-body.llmr-body>h3:first-child{margin-top:4px}
& .llmr-body a{text-decoration:underline}
& math[display=block]{margin:6px 0}
& .k{color:var(--k)}& .s{color:var(--s)}& .c{color:var(--c);font-style:italic}
& .n{color:var(--n)}& .f{color:var(--f)}
& .t{display:none}& .m.m,& .m rp{display:inline!important}
& menclose[notation=box]{border:1px solid;padding:2px 4px}
& menclose{--strike:transparent 47%,currentColor 47% 53%,transparent 53%;
 --up:linear-gradient(to bottom right,var(--strike));
 --down:linear-gradient(to bottom left,var(--strike))}
& menclose[notation=updiagonalstrike]{background:var(--up)}
& menclose[notation=downdiagonalstrike]{background:var(--down)}
& menclose[notation*=" "]{background:var(--up),var(--down)}
& .llmr-body [dir]{text-align:start}
& pre:not([dir]),& code:not([dir]){direction:ltr;unicode-bidi:isolate}
& .llmr-columns.llmr-columns{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(360px,1fr);gap:12px;
 overflow:auto hidden;padding:2px}
& .llmr-columns>*{min-width:0;border:1px solid #8887;border-radius:6px;padding:8px 12px;margin:0}
& .llmr-columns>.llmr-picked{border-color:var(--ok);box-shadow:0 0 0 1px var(--ok)}
& .llmr-columns .llmr-body.llmr-body{max-width:none}
& .llmr-columns .widget-html-content{min-width:0;max-width:100%}
& .llmr-title{font-size:12px;margin:0 0 4px}
& .llmr-title b{font-size:14px}
& details.llmr-fold summary{cursor:pointer;font-size:12px;width:fit-content}
& details.llmr-fold summary:focus-visible{outline:2px solid currentColor;outline-offset:1px}
& .widget-html,& .llm-magic{margin:0;height:auto}
& .widget-html-content{line-height:1.5}
& .jupyter-button:not(.widget-toggle-button){flex:none;height:24px;width:70px;min-width:0;padding:0;margin:0;
 border-radius:4px;cursor:pointer;font:12px/22px var(--jp-ui-font-family,system-ui,sans-serif);white-space:pre-line;
 overflow:hidden;color:var(--jp-ui-font-color1,inherit);background:var(--jp-layout-color1,transparent);
 border:1px solid var(--jp-border-color1,#777);align-self:flex-start}
& .jupyter-button:hover{background:var(--jp-layout-color2,rgba(128,128,128,.2));box-shadow:none}
& .jupyter-button:focus-visible{outline-offset:1px;outline:2px solid var(--jp-ui-font-color1,currentColor)}
& .llmr-pick{margin:0 0 4px!important}
& meter{width:80px;height:8px}
& b{font-weight:600}
& .llmr-plan{overflow-x:auto}
& .llmr-plan :is(th,td){white-space:nowrap}
& .llmr-plan :is(th,td):is(.llmr-words,.llmr-text){text-align:left}
& .llmr-plan td:first-child.llmr-words{font-weight:600}
& .llmr-plan td.llmr-text{white-space:normal;min-width:22ch;max-width:60ch}
& .llmr-plan td.llmr-text:first-child,& .llmr-plan td.llmr-text:first-child+td{min-width:13ch}
& .llmr-plan table{margin:4px 0}
& .llmr-caption{font-size:12px}
@media (max-width:600px){& .llmr-cost{margin-left:0}}
"""

PANEL_STYLE = """
& .llmr-panel,& .llmr-still{max-width:100ch}
& ul.llmr-health{list-style:none;display:flex;flex-wrap:wrap;gap:4px;margin:6px 0 2px;padding:0}
& ul.llmr-health li{margin:0;padding:0}
& ul.llmr-health span{display:inline-block;padding:0 8px;border-radius:10px;border:1px solid #8887;
 background:var(--jp-layout-color1,transparent);overflow-wrap:anywhere}
& ul.llmr-health span.bad{border:1px dashed var(--bad)}
& ul.llmr-health span.ok{border-color:var(--ok)}
& ol.llmr-runs{list-style:none;margin:0;padding:0}
& .llmr-panel .llmr-run,& li.llmr-run{border-top:1px solid var(--jp-border-color1,#bbb);padding:6px 0;margin:0 12px}
& .llmr-run .llmr-row{margin:0}
& .llmr-prompt{overflow-wrap:anywhere}
& .llmr-prompt b:first-child{display:inline-block;min-width:1.6em}
& .llmr-said{padding:0 12px 4px;min-height:1.5em}
& .llmr-panel .widget-box{overflow:visible}
& .llmr-line{flex-flow:row wrap;justify-content:space-between;align-items:flex-start;gap:2px 12px;margin:0}
& .llmr-line>.widget-html:first-child{flex:1 1 300px;min-width:0}
& .llmr-line>.llmr-actions{flex:none;max-width:100%}
& .llmr-actions{flex-flow:row wrap;gap:4px;margin:0}
& .llmr-run details.llmr-fold{margin:2px 0 0}
& .llmr-run .llmr-body{max-height:420px;overflow:auto;border-left:3px solid #8887;padding-left:12px}
& .llmr-still>details.llmr-fold,& .llmr-panel>.widget-html details.llmr-fold{margin:6px 12px}
& .llmr-actions button.llmr-copy{font:12px/22px var(--jp-ui-font-family,system-ui,sans-serif);height:24px;
 padding:0 8px;margin:0;border-radius:4px;cursor:pointer;color:var(--jp-ui-font-color1,inherit);
 background:var(--jp-layout-color1,transparent);border:1px solid var(--jp-border-color1,#777)}
& .llmr-actions button.llmr-copy:hover{background:var(--jp-layout-color2,rgba(128,128,128,.2))}
& .llmr-actions button.llmr-copy:focus-visible{outline-offset:1px;
 outline:2px solid var(--jp-ui-font-color1,currentColor)}
& .llmr-actions textarea{display:block;width:min(60ch,90vw)}
& .llmr-actions textarea[hidden]{display:none}
"""
