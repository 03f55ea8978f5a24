"""Style sheets of runs and of the panel, for light and dark themes and for wide and narrow pages.

Text uses --jp-ui-font-color1 only, because the other text colors of the themes have too little contrast. Colors never
carry information alone: each outcome also has a word and a sign. Code colors have a contrast of at least 4.5.

Each output includes its own rules, because it may be the only one on the page. The rules are scoped to that output:
with global rules, each new output would make the browser match all elements of all outputs again.
"""

from __future__ import annotations

import hashlib


def sheet(scope: str, *rules: str) -> str:
    """Return a style element with these rules, in which `&` stands for the class `scope`."""
    return f"<style>{''.join(rules).replace('&', f'.{scope}')}</style>"


def styled(html: str, *more: str) -> str:
    """Return HTML with its own style rules: STYLE and `more`.

    The class is a hash of the HTML, so that an unchanged output is saved unchanged.
    """
    scope = f"llmr-{hashlib.sha256(html.encode()).hexdigest()[:12]}"
    return f'{sheet(scope, STYLE, *more)}<div class="llmr {scope} mathjax_ignore tex2jax_ignore">{html}</div>'


STYLE = """
&{--llmr-k:#7b1fa2;--llmr-s:#a31515;--llmr-c:#52606d;--llmr-n:#0b6b4b;--llmr-f:#0b4f9e;
 --llmr-card:#f3f4f6;--llmr-code:#f3f4f6;--llmr-line:#c3c8cf;--llmr-ok:#2e7d32;--llmr-bad:#c62828;--llmr-meter:#1565c0}
&,& .llmr{font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.5;
 color:var(--jp-ui-font-color1,inherit)}
[data-jp-theme-light="false"] &,.vscode-dark &,html[theme=dark] &{--llmr-k:#d7a6f0;--llmr-s:#efb08c;
 --llmr-c:#a7b3bf;--llmr-n:#8fd6b1;--llmr-f:#94c2ff;--llmr-card:#26292e;--llmr-code:#26292e;--llmr-line:#4b515a;
 --llmr-ok:#81c784;--llmr-bad:#ef9a9a;--llmr-meter:#64b5f6}
& .llmr-head{background:var(--llmr-card);border:1px solid var(--llmr-line);border-radius:8px;padding:8px 12px;
 margin:2px 0 8px}
& .llmr-row{display:flex;flex-wrap:wrap;gap:2px 6px;align-items:baseline;margin:2px 0}
& .llmr-model{font-weight:600;font-size:15px}
& .llmr-tier{border:1px solid currentColor;border-radius:4px;padding:0 5px;font-size:11px;letter-spacing:.04em}
& .llmr-cost{font-weight:600;margin-left:auto}
& ol.llmr-path{list-style:none;display:flex;flex-wrap:wrap;gap:4px;margin:6px 0;padding:0}
& ol.llmr-path li{margin:0;padding:0}
& ol.llmr-path li+li::before{content:"→";margin-right:4px}
& ol.llmr-path span{display:inline-block;padding:0 8px;border-radius:10px;border:1px solid var(--llmr-line);
 background:var(--jp-layout-color1,transparent)}
& ol.llmr-path span.ok{border-color:var(--llmr-ok);box-shadow:inset 0 0 0 1px var(--llmr-ok)}
& ol.llmr-path span.bad{border:1px dashed var(--llmr-bad)}
& .llmr-body.llmr-body{padding:0;max-width:80ch;overflow-wrap:break-word;
 font-family:var(--jp-content-font-family,inherit);font-size:var(--jp-content-font-size1,14px)}
& .llmr-foot{margin:2px 0 6px;font-size:12px;overflow-wrap:anywhere}
& .llmr-foot summary{cursor:pointer;width:fit-content;max-width:100%}
& .llmr-foot summary:focus-visible{outline:2px solid currentColor;outline-offset:1px}
& .llmr-foot details[open]{border-left:3px solid var(--llmr-line);padding-left:8px}
& .llmr-body.jp-RenderedHTMLCommon pre{background:var(--llmr-code);border-radius:6px;padding:8px 12px;margin:8px 0;
 overflow-x:auto;white-space:pre}
& .llmr-body.jp-RenderedHTMLCommon pre code{white-space:pre;background:none;padding:0}
& .llmr-body.jp-RenderedHTMLCommon table{margin:8px 0}
& .llmr-body.jp-RenderedHTMLCommon :is(th,td){text-align:left}
& .llmr-body.jp-RenderedHTMLCommon :is(th,td)[align=right]{text-align:right}
& .llmr-body.jp-RenderedHTMLCommon :is(th,td)[align=center]{text-align:center}
& .llmr-body.jp-RenderedHTMLCommon blockquote{border-left:3px solid var(--llmr-line);padding-left:12px;margin:8px 0}
& .llmr-body.jp-RenderedHTMLCommon>:is(h1,h2,h3):first-child{margin-top:4px}
& .llmr-body a{text-decoration:underline}
& .llmr-k{color:var(--llmr-k)}& .llmr-s{color:var(--llmr-s)}& .llmr-c{color:var(--llmr-c);font-style:italic}
& .llmr-n{color:var(--llmr-n)}& .llmr-f{color:var(--llmr-f)}
& math[display=block]{margin:6px 0}
& .llmr-tex{display:none}& .llmr-math.llmr-math,& .llmr-math rp{display:inline!important}
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
& .llmr-columns>*{min-width:0;border:1px solid var(--llmr-line);border-radius:6px;padding:8px 12px;margin:0}
& .llmr-columns>.llmr-picked{border-color:var(--llmr-ok);box-shadow:0 0 0 1px var(--llmr-ok)}
& .llmr-columns .llmr-body.llmr-body{max-width:none}
& .llmr-columns .widget-html-content{min-width:0;max-width:100%}
& .llmr-title{font-size:12px;margin:0 0 4px}
& .llmr-title b{font-size:14px}
& details.llmr-fold summary{cursor:pointer;font-size:12px;width:fit-content}
& details.llmr-fold summary:focus-visible{outline:2px solid currentColor;outline-offset:1px}
& :is(.widget-html,.llm-magic){margin:0;height:auto}
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
& .llmr-plan table{margin:4px 0}
& .llmr-caption{font-size:12px}
@media (max-width:600px){& .llmr-cost{margin-left:0}}
"""

PANEL_STYLE = """
& .llmr-panel,& .llmr-still{max-width:100ch}
& ul.llmr-health{list-style:none;display:flex;flex-wrap:wrap;gap:4px;margin:6px 0 2px;padding:0}
& ul.llmr-health li{margin:0;padding:0}
& ul.llmr-health span{display:inline-block;padding:0 8px;border-radius:10px;border:1px solid var(--llmr-line);
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
& .llmr-run .llmr-body{max-height:420px;overflow:auto;border-left:3px solid var(--llmr-line);padding-left:12px}
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
