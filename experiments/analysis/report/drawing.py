"""Drawing code that all figures share: colours, axes, reference lines, legends and files."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot, which has global state and needs a display

# The palette of Okabe and Ito, which colour-blind readers can tell apart. If there are more lines
# or bars than colours, hatches and line styles tell the second round from the first.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#555555")
HATCHES = ("", "///", "...", "xx")
LINES = ("-", "--", ":", "-.")
MARKERS = "osD^vP*X<>"
INK = "#222222"
GRID = "#dddddd"

DASHED = (0, (4, 3))
DOTTED = (0, (1, 1))

CLIP = (-50, 200)  # per cent: longer bars are cut, and their numbers still state the score
DPI = 150
ONE_PANEL = (7.2, 4.4)  # inches

# A white box behind numbers, so that no line crosses them.
_PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
# A legend to the right of the axes.
BESIDE: dict[str, Any] = {
  "frameon": False,
  "loc": "center left",
  "bbox_to_anchor": (1.01, 0.5),
  "alignment": "left",
}


class Style(NamedTuple):
  """Colour, hatch and line style of one domain, run or arm."""

  color: str
  hatch: str
  line: str


Styles = Mapping[str, Style]


def styles(*domains: str) -> dict[str, Style]:
  """Returns domain -> Style, in alphabetic order. All figures of a page share one such table."""
  names = sorted(set(domains))

  return dict(zip(names, palette(len(names)), strict=True))


def palette(count: int) -> list[Style]:
  """Returns `count` different styles."""
  chosen = []
  for index in range(count):
    color = COLORS[index % len(COLORS)]
    # All colours are used once before the next hatch begins.
    turn = index // len(COLORS)
    chosen.append(Style(color, HATCHES[turn % len(HATCHES)], line=LINES[turn % len(LINES)]))

  return chosen


def ramp(count: int) -> list[Any]:
  """Returns `count` colours from dark to light, for ordered values.

  They differ in print and for colour-blind readers, and the lightest still shows on white.
  """
  return list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, count)))


def markers(count: int) -> list[str]:
  """Returns `count` markers, repeating if there are many."""
  return [MARKERS[index % len(MARKERS)] for index in range(count)]


def new_axes(width: float = ONE_PANEL[0], height: float = ONE_PANEL[1]) -> tuple[Figure, Axes]:
  """Returns a figure of so many inches with one panel."""
  figure = Figure(figsize=(width, height))
  axes = figure.subplots()
  clean(axes)

  return figure, axes


def clean(axes: Axes) -> None:
  """Removes the frame at the top and right, and draws a light grid behind everything else."""
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(True, color=GRID, linewidth=0.6)
  axes.set_axisbelow(True)


def label_rows(axes: Axes, places: Sequence[float], names: Sequence[str], **font: Any) -> None:
  """Names the rows of a figure with horizontal bars, which need no ticks and no grid lines."""
  axes.set_yticks(places, names, **font)
  axes.tick_params(axis="y", length=0)
  axes.grid(False, axis="y")


def bars(
  axes: Axes, places: Any, lengths: Any, style: Style, height: float = 0.7, **more: Any
) -> None:
  """Draws horizontal bars."""
  # Hatches have the colour of the edges.
  options: dict[str, Any] = {"edgecolor": "white", "linewidth": 0.4} | more

  axes.barh(places, lengths, height=height, color=style.color, hatch=style.hatch, **options)


def reference(axes: Axes, x: float, dashed: bool = True, **more: Any) -> None:
  """Draws a vertical reference line."""
  axes.axvline(x, color=INK, linewidth=0.8, linestyle=DASHED if dashed else "-", **more)


def write_number(axes: Axes, text: str, x: float, y: float, offset: int, size: float) -> None:
  """Writes a number to the right of the end of a bar, `offset` points away from it."""
  axes.annotate(
    text,
    (x, y),
    xytext=(offset, 0),
    textcoords="offset points",
    va="center",
    fontsize=size,
    color=INK,
    bbox=_PLATE,
  )


def write_beside_line(axes: Axes, text: str, x: float, y: float) -> None:
  """Writes a text to the right of the upper end of a vertical line."""
  axes.annotate(
    text,
    (x, y),
    xytext=(5, -2),
    textcoords="offset points",
    va="center",
    color=INK,
    bbox=_PLATE,
  )


def clipped_limits(values: Sequence[float], least_high: float) -> tuple[float, float]:
  """Returns the limits of an axis of scores: those of the values, within CLIP.

  They contain 0 and `least_high`, and leave room for numbers on the right.
  """
  low = max(min([0.0, *values]), CLIP[0])
  high = min(max([least_high, *values]), CLIP[1])

  return low, 1.08 * high


def use_units(axes: Axes) -> None:
  """Writes large numbers on the horizontal axis with units: 2k, 3M."""
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))


def save(figure: Figure, path: pathlib.Path, dpi: int = DPI, **more: Any) -> None:
  """Writes a figure, and its directory if needed. The suffix of `path` gives the format."""
  path.parent.mkdir(parents=True, exist_ok=True)
  # Legends beside the axes lie outside of the figure, which "tight" extends to them.
  figure.savefig(path, dpi=dpi, bbox_inches="tight", facecolor="white", **more)


def save_all(
  drawings: Mapping[str, Callable[[Figure], None]], out: pathlib.Path
) -> dict[str, pathlib.Path]:
  """Draws figures of one panel's size, and writes each as PNG and as SVG.

  Args:
    drawings: Name -> function that draws into an empty figure.
    out: Directory of the files.

  Returns:
    Name -> PNG in `out`; an SVG lies beside it.
  """
  drawn = {}
  for name, draw in drawings.items():
    figure = Figure(figsize=ONE_PANEL)
    draw(figure)
    drawn[name] = out / f"{name}.png"
    # Without a fixed salt and without a date, the same points would give other SVG files.
    with matplotlib.rc_context({"svg.hashsalt": name}):
      save(figure, drawn[name])
      save(figure, out / f"{name}.svg", metadata={"Date": None})

  return drawn
