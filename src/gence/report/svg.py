"""From a matplotlib figure to an SVG that lives inside the page: its colours, its fonts, its own ids."""

# matplotlib's stubs leave `**kwargs` without a type.
# pyright: reportUnknownMemberType=false
from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gence._files import write_atomically
from gence.report.names import COLOURS

# Figures are drawn in these colours, and each is then replaced by a variable of the page, so that the same figure
# serves light and dark schemes. Any distinct values would do.
INK = "#1c1d20"
MUTED = "#5d6067"
RULE = "#dcdcd9"
CARD = "#fefefd"
PALETTE = ("#1c1d1f", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", CARD: "--card"} | {
    PALETTE[i]: f"--c{i}" for i in range(COLOURS)
}

_RC: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it is sharp, can be searched, and is read out by screen readers
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that the layout does not depend on the machine
    "font.size": 10.0,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 0.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "ytick.minor.size": 0.0,
    "xtick.labelsize": 10.0,
    "ytick.labelsize": 10.0,
    "text.color": INK,
    "text.usetex": False,
}


@dataclass(frozen=True)
class Drawing:
    """A figure before it is drawn: what a screen reader says of it, its size, and what paints it."""

    label: str
    size: tuple[float, float]
    paint: Callable[[Figure], None]

    def inline(self, name: str) -> str:
        """As an element of a page; `name` is unique on it."""
        return draw(name, self.label, self.size, self.paint)

    def save(self, stem: Path) -> tuple[Path, Path]:
        """As files of their own, `stem`.pdf and `stem`.svg, in the colours of the light page; the same each time."""
        paths = stem.with_name(f"{stem.name}.pdf"), stem.with_name(f"{stem.name}.svg")
        # A file of its own cannot rely on the fonts of whoever opens it.
        settings = style.context([_RC, {"svg.hashsalt": "gence", "svg.fonttype": "path"}], after_reset=True)
        with settings, warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure = Figure(figsize=(self.size[0] / 72, self.size[1] / 72), facecolor="white")
            self.paint(figure)
            for path, undated in zip(paths, ({"CreationDate": None}, {"Date": None}), strict=True):
                stream = io.BytesIO()
                figure.savefig(stream, format=path.suffix[1:], metadata=undated)
                write_atomically(path, stream.getvalue())
        return paths


def draw(name: str, label: str, size: tuple[float, float], paint: Callable[[Figure], None]) -> str:
    """Let `paint` fill a figure, and return it as an `<svg>` element.

    Args:
        name: Unique on the page; it starts every id of the figure.
        label: What a screen reader says instead of the figure.
        size: Width and height in units of a 10-unit font.
        paint: Receives an empty figure.

    Returns:
        The element as text. The same drawing gives the same text.
    """
    stream = io.BytesIO()
    # After a reset, since the settings of whoever runs this must not show in the page.
    settings = style.context([_RC, {"svg.hashsalt": name}], after_reset=True)
    with settings, warnings.catch_warnings():
        # The browser sets the text, in a font that has the characters; here only its width is guessed.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), facecolor="none")
        paint(figure)
        figure.savefig(stream, format="svg")
    return _inline(stream.getvalue(), name, label)


def bare(axes: Axes, *, grid: str) -> None:
    """The plain look of every chart: no frame but the axis along which things are listed, a faint grid."""
    axes.set_facecolor("none")
    axes.set_axisbelow(True)
    axes.grid(axis="y" if grid == "y" else "x")
    axes.spines["left" if grid == "y" else "bottom"].set_visible(False)


def _inline(svg: bytes, name: str, label: str) -> str:
    """Strip what a standalone file needs and a page does not; give ids and colours that belong to the page."""
    root = ET.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    referenced = {value.rpartition("#")[2].rstrip(")") for element in root.iter() for value in _references(element)}
    for element in root.iter():
        element.tag = _local(element.tag)
        element.tail = None
        element.text = element.text if element.text and element.text.strip() else None
        attributes = {_local(key): value for key, value in element.attrib.items()}
        element.attrib.clear()
        for key, value in attributes.items():
            _set(element, key, value, name, referenced)
    width = float(root.attrib.pop("width").removesuffix("pt"))
    for key in ("height", "version"):
        root.attrib.pop(key)
    root.attrib |= {"role": "img", "aria-label": label, "style": f"--w:{width:g}px"}
    return ET.tostring(root, encoding="unicode")


def _set(element: ET.Element, key: str, value: str, name: str, referenced: set[str]) -> None:
    if key == "id":
        if value.startswith("loss-"):
            element.set("data-loss", value.removeprefix("loss-"))
        elif value in referenced:
            element.set("id", f"{name}-{value}")
    elif key in ("href", "clip-path"):
        element.set(key, value.replace("#", f"#{name}-"))
    elif key == "style":
        for colour, variable in _VARIABLES.items():
            value = value.replace(colour, f"var({variable})")
        value = value.replace("font-family: 'DejaVu Sans'; ", "").replace("font: 10px 'DejaVu Sans'", "font-size: 10px")
        element.set(key, value)
    elif key == "d":
        element.set(key, " ".join(value.split()))
    else:
        element.set(key, value)


def _references(element: ET.Element) -> list[str]:
    return [value for key, value in element.attrib.items() if _local(key) in ("href", "clip-path")]


def _local(name: str) -> str:
    return name.rpartition("}")[2]
