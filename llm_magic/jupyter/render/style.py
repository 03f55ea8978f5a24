"""Style sheets of runs and of the panel, for light and dark themes and for wide and narrow pages.

Text uses --jp-ui-font-color1 only, because the other text colors of the themes have too little contrast. Colors never
carry information alone: each outcome also has a word and a sign. Code colors have a contrast of at least 4.5.

Each output includes its own rules, because it may be the only one on the page. The rules are scoped to that output:
with global rules, each new output would make the browser match all elements of all outputs again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import lru_cache

_COLORS = {
    "k": ("#7b1fa2", "#d7a6f0"), "s": ("#a31515", "#efb08c"), "c": ("#52606d", "#a7b3bf"), "n": ("#0b6b4b", "#8fd6b1"),
    "f": ("#0b4f9e", "#94c2ff"),
    "ok": ("#2e7d32", "#81c784"), "bad": ("#c62828", "#ef9a9a"),
}  # fmt: skip
"""The colors of light and dark themes, by name. Lines and backgrounds are translucent, for every theme."""
_DARK = '[data-jp-theme-light="false"] &,.vscode-dark &,html[theme=dark] &'
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
_TAGS = re.compile(r"<([a-z]\w*)")
_FIXED = re.compile(r"\b(?:dir|align|display)(?:=\w+)?\b")
"""Attributes that a page does not change. The value of `dir` does not matter to a rule."""


def sheet(scope: str, *rules: str) -> str:
    """Return a style element with these rules, in which `&` stands for the class `scope`."""
    return f"<style>{_with_colors(''.join(rules)).replace('&', f'.{scope}')}</style>"


def _nested_sheet(scope: str, rules: str) -> str:
    """Return a style element that names its scope once: shorter, but without `@keyframes`."""
    return f"<style>.{scope}{{{_with_colors(rules).replace('& .', '.')}}}</style>"


def _with_colors(css: str) -> str:
    used = {name: colors for name, colors in _COLORS.items() if f"var(--llmr-{name})" in css}
    for theme, selector in enumerate(("&", _DARK)):
        variables = ";".join(f"--llmr-{name}:{colors[theme]}" for name, colors in used.items())
        css += f"{selector}{{{variables}}}" if variables else ""
    return css


def styled(html: str, *more: str) -> str:
    """Return HTML with its own style rules: those of STYLE and `more` that apply to it.

    The class is a hash of the HTML, so that an unchanged output is saved unchanged.
    """
    html = _compact(html)
    scope = f"llmr-{hashlib.sha256(html.encode()).hexdigest()[:6]}"
    rules = "".join(_applying(html, "".join((STYLE, *more))))
    return f'{_nested_sheet(scope, rules)}<div class="llmr {scope} mathjax_ignore tex2jax_ignore">{html}</div>'


def _compact(html: str) -> str:
    # In a saved notebook, a quote takes two characters, and a line break fifteen: each line is indented and quoted.
    html = _LANGUAGE.sub("", _NEEDLESS_BREAKS.sub(r"\1", html))
    html = _PREFORMATTED.sub(lambda block: block[0].replace("\n", "&#10;"), html).replace("\n", " ")
    return _TAG.sub(lambda tag: _NEEDLESS_QUOTES.sub(r"=\1", tag[0]).replace(" display=inline", ""), html)


def _applying(html: str, css: str) -> Iterator[str]:
    """Yield the rules whose selectors name classes and elements of the HTML. Each output is saved with its rules."""
    classes = (name for values in _CLASSES.findall(html) for name in " ".join(values).split())
    names = {f".{name}" for name in classes} | set(_TAGS.findall(html)) | set(_FIXED.findall(html.replace('"', "")))
    names |= {"dir"} if " dir=" in html else set()
    for rule, alternatives in _rules(css):
        if any(required <= names for required in alternatives):
            yield rule


@lru_cache(maxsize=4)
def _rules(css: str) -> list[tuple[str, list[set[str]]]]:
    """Return each rule with the classes and elements that each of its selectors requires."""
    rules: list[tuple[str, list[set[str]]]] = []
    for rule in _RULE.findall(css):
        selectors = rule[rule.index("{") + 1 :] if rule.startswith("@") else rule
        rules.append(
            (_BREAK.sub("", rule), [_required(selector) for selector in _SEPARATOR.split(selectors.partition("{")[0])])
        )
    return rules


def _required(selector: str) -> set[str]:
    return (set(_NAMES.findall(_CONDITIONS.sub("", selector))) | set(_FIXED.findall(selector))) - {".llmr"}


STYLE = """
&,& .llmr{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.5;
 color:var(--jp-ui-font-color1,inherit)}
& .llmr-head{background:#8080801a;border:1px solid #80808073;border-radius:8px;padding:8px 12px;
 margin:2px 0 8px}
& .llmr-row{display:flex;flex-wrap:wrap;gap:2px 6px;align-items:baseline;margin:2px 0}
& .llmr-model{font-weight:600;font-size:15px}
& .llmr-tier{border:1px solid currentColor;border-radius:4px;padding:0 5px;font-size:11px;letter-spacing:.04em}
& .llmr-cost{font-weight:600;margin-left:auto}
& ol.llmr-path{list-style:none;display:flex;flex-wrap:wrap;gap:4px;margin:6px 0;padding:0}
& ol.llmr-path li{margin:0;padding:0}
& ol.llmr-path li+li::before{content:"→";margin-right:4px}
& ol.llmr-path span{display:inline-block;padding:0 8px;border-radius:10px;border:1px solid #80808073;
 background:var(--jp-layout-color1,transparent)}
& ol.llmr-path span.ok{border-color:var(--llmr-ok);box-shadow:inset 0 0 0 1px var(--llmr-ok)}
& ol.llmr-path span.bad{border:1px dashed var(--llmr-bad)}
& .llmr-body.llmr-body{padding:0;max-width:80ch;overflow-wrap:break-word;
 font-family:var(--jp-content-font-family,inherit);font-size:var(--jp-content-font-size1,14px)}
& .llmr-far{content-visibility:auto;contain-intrinsic-size:auto 200px}
& .llmr-foot{margin:2px 0 6px;font-size:12px;overflow-wrap:anywhere}
& .llmr-foot summary{cursor:pointer;width:fit-content;max-width:100%}
& .llmr-foot summary:focus-visible{outline:2px solid currentColor;outline-offset:1px}
& .llmr-foot details[open]{border-left:3px solid #80808073;padding-left:8px}
& .llmr-body.llmr-body pre{background:#8080801a;border-radius:6px;padding:8px 12px;margin:8px 0;
 overflow-x:auto;white-space:pre}
& .llmr-body.llmr-body pre code{white-space:pre;background:none;padding:0}
& .llmr-body.llmr-body table{margin:8px 0}
& .llmr-body.llmr-body table :is(th,td){text-align:left}
& .llmr-body.llmr-body table :is(th,td)[align=right]{text-align:right}
& .llmr-body.llmr-body table :is(th,td)[align=center]{text-align:center}
& .llmr-body.llmr-body blockquote{border-left:3px solid #80808073;padding-left:12px;margin:8px 0}
& .llmr-body.llmr-body>h1:first-child,& .llmr-body.llmr-body>h2:first-child,
& .llmr-body.llmr-body>h3:first-child{margin-top:4px}
& .llmr-body a{text-decoration:underline}
& .k{color:var(--llmr-k)}& .s{color:var(--llmr-s)}& .c{color:var(--llmr-c);font-style:italic}
& .n{color:var(--llmr-n)}& .f{color:var(--llmr-f)}
& math[display=block]{margin:6px 0}
& .t{display:none}& .m.m,& .m rp{display:inline!important}
& menclose[notation=box]{border:1px solid;padding:2px 4px}
& menclose{--llmr-strike:transparent 47%,currentColor 47% 53%,transparent 53%;
 --llmr-up:linear-gradient(to bottom right,var(--llmr-strike));
 --llmr-down:linear-gradient(to bottom left,var(--llmr-strike))}
& menclose[notation=updiagonalstrike]{background:var(--llmr-up)}
& menclose[notation=downdiagonalstrike]{background:var(--llmr-down)}
& menclose[notation*=" "]{background:var(--llmr-up),var(--llmr-down)}
& .llmr-body [dir]{text-align:start}
& pre,& code{direction:ltr;unicode-bidi:isolate}
& .llmr-columns.llmr-columns{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(360px,1fr);gap:12px;
 overflow:auto hidden;padding:2px}
& .llmr-columns>*{min-width:0;border:1px solid #80808073;border-radius:6px;padding:8px 12px;margin:0}
& .llmr-columns>.llmr-picked{border-color:var(--llmr-ok);box-shadow:0 0 0 1px var(--llmr-ok)}
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
& meter{width:80px;height:8px;vertical-align:middle}
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
& ul.llmr-health span{display:inline-block;padding:0 8px;border-radius:10px;border:1px solid #80808073;
 background:var(--jp-layout-color1,transparent);overflow-wrap:anywhere}
& ul.llmr-health span.bad{border:1px dashed var(--llmr-bad)}
& ul.llmr-health span.ok{border-color:var(--llmr-ok)}
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
& .llmr-run .llmr-body{max-height:420px;overflow:auto;border-left:3px solid #80808073;padding-left:12px}
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
