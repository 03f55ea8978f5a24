"""The plot of a report as a picture in the notebook."""

from __future__ import annotations

import base64
import io
import warnings
from typing import Any

from llm_magic.errors import LedgerError
from llm_magic.ledger.report import Report


def show_plot(shell: Any, report: Report) -> None:
    if getattr(shell, "kernel", None) is None:
        return
    from IPython.display import display

    from llm_magic.ledger.plot import adapt_to_themes, calibration_line, headline, subline

    lines = headline(report.totals), subline(report.totals), calibration_line(report.totals)
    caption = "\n".join(filter(None, lines))
    try:
        figure = report.plot()
    except LedgerError as error:
        display({"text/plain": f"{caption}\n{error}"}, raw=True)
        return
    adapt_to_themes(figure)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The font may lack a character of a model's name, which is then drawn as a box.
        warnings.filterwarnings("ignore", r"(?s)Glyph .* missing from (current )?font", UserWarning)
        figure.savefig(file, format="png", dpi=120)
    picture = base64.b64encode(file.getvalue()).decode("ascii")
    size = {"image/png": {"width": 960, "height": 540}}
    display({"image/png": picture, "text/plain": caption}, raw=True, metadata=size)
