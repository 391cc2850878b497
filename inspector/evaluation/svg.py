"""Matplotlib figures as SVG that takes its colours from the page, in light and in dark."""

from __future__ import annotations

import io
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#010101", "#010102", "#010103", "#010104"
CRACK, CLEAR, REVIEW = "#010105", "#010106", "#010107"
SERIES = tuple(f"#0102{k:02x}" for k in range(7))
"""Placeholder colours; in the page they become CSS variables (`_VARIABLES`)."""
DASHES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (7, 2, 1.5, 2)))
"""Lines differ in their dashes too, for those who do not see the colours apart."""

_VARIABLES = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    PAPER: "var(--paper)",
    CRACK: "var(--crack)",
    CLEAR: "var(--clear)",
    REVIEW: "var(--review)",
    **{token: f"var(--series-{k})" for k, token in enumerate(SERIES)},
}
_COLOUR = re.compile("|".join(_VARIABLES))
_FAMILY = re.compile(r"font-family:[^;]*;?")
_DIGITS = re.compile(r"(\.\d\d)\d+")
_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "svg.hashsalt": "inspector",
    "text.parse_math": False,  # a source may be called $x$
    "font.size": 9.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
}
WIDTH_IN, HEIGHT_IN = 4.4, 3.7
"""Size of a chart; at 72 units to the inch and the font size above, its text is as big as the
page's small print."""


class Chart:
    """A figure being drawn: a context manager that sets the style, with the SVG afterwards."""

    def __init__(
        self,
        name: str,
        *,
        width: float = WIDTH_IN,
        height: float = HEIGHT_IN,
        legend_rows: int = 0,
    ) -> None:
        """`width` and `height` in inches; `legend_rows`: lines of text above the plot."""
        from matplotlib.figure import Figure

        self.name = name
        self.svg = ""
        self.figure: Figure = Figure(figsize=(width, height))
        self.figure.patch.set_alpha(0)
        # Fixed margins, in inches: a layout engine would draw every chart twice.
        self.figure.subplots_adjust(
            left=0.62 / width,
            right=1 - 0.12 / width,
            bottom=0.5 / height,
            top=1 - (0.12 + 0.2 * legend_rows) / height,
            hspace=0.12,
        )
        self._style = ExitStack()

    def __enter__(self) -> Chart:
        import matplotlib as mpl

        self._style.enter_context(mpl.rc_context(cast(Any, _STYLE)))  # a union of 300 literals
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._style:
            if kind is None:
                self.svg = _to_svg(self.figure, self.name)

    def axes(self) -> Axes:
        """One plot that fills the chart."""
        return clean(self.figure.subplots())


def legend_above(axes: Axes) -> None:
    """A legend where no line can run into it."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 0.99), ncols=2, borderaxespad=0, borderpad=0.2)


def clean(axes: Axes) -> Axes:
    """Axes without a background of their own."""
    axes.patch.set_alpha(0)
    return axes


def _to_svg(figure: Figure, name: str) -> str:
    """The SVG for use inside HTML: without namespaces, and with ids that begin with the figure's
    name, because figures of one page use the same ids."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(file.getvalue())
    for parent in root.iter():
        parent.tag = parent.tag.rpartition("}")[2]
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
        changed = {key.rpartition("}")[2]: _changed(key, parent.get(key, ""), name)
                   for key in list(parent.attrib)}  # fmt: skip
        parent.attrib.clear()
        parent.attrib.update(changed)
    del root.attrib["width"], root.attrib["height"]  # the page decides
    root.attrib.update({"class": "chart", "role": "img"})
    return ElementTree.tostring(root, encoding="unicode")


def _changed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "d":
        return _DIGITS.sub(r"\1", " ".join(value.split()))
    if key == "style":
        value = _FAMILY.sub("", value)
        return _COLOUR.sub(lambda match: _VARIABLES[match[0]], value)
    return value.replace("#", f"#{name}-", 1)
