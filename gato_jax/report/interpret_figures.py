"""Figures of the sections `probes` and `embeddings`: what layers tell, where a network looks, a map of its states."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gato_jax.interpret.rows import (
  DOMAIN,
  EMBEDDING,
  LAST,
  NOTHING,
  OF_TASKS,
  RANDOM,
  RAW,
  STEP,
  TASK,
  WITHIN_DOMAIN,
  WITHIN_TASKS,
  Head,
  Point,
  Probe,
)
from gato_jax.report.figures import COLORS, DPI, INK

_STATES = {LAST: "separator", STEP: "mean of the step"}
_REMOVED = {
  NOTHING: ("nothing", "#555555"),
  OF_TASKS: ("what tells the tasks", "#D55E00"),
  WITHIN_TASKS: ("most variance within tasks", "#56B4E9"),
  RANDOM: ("random directions", "#bbbbbb"),
}
_MARKERS = "osD^vPX*"


def place(layer: int) -> str:
  """Of Probe.layer, in words."""
  return {RAW: "raw\ntokens", EMBEDDING: "embed-\nding"}.get(layer, f"layer\n{layer}")


def depth(rows: Sequence[Probe], path: pathlib.Path) -> None:
  """Accuracy from raw tokens to the last layer: a panel a target, a line a state and probe."""
  figure, panels = _panels(3, 10.5, 3.6)
  whole = [row for row in rows if not row.components and not row.signs]
  for axes, target in zip(panels, (DOMAIN, TASK, WITHIN_DOMAIN), strict=True):
    here = [row for row in whole if row.target == target]
    if not here:
      axes.set_visible(False)
      continue
    for state, color in zip((LAST, STEP), COLORS, strict=False):
      for probe, dashes in (("linear", "-"), ("mlp", (0, (3, 2)))):
        line = [row for row in here if (row.state, row.probe, row.shuffled) == (state, probe, False)]
        label = f"{_STATES[state]}, {'linear' if probe == 'linear' else 'one hidden layer'}"
        _line(axes, line, color, dashes, label, offset=0.08 * (2 * (state == STEP) + (probe == "mlp") - 1.5))
    for state, style in ((LAST, ":"), (STEP, "-.")):
      line = [row for row in here if (row.state, row.shuffled) == (state, True)]
      _line(axes, line, "#999999", style, f"{_STATES[state]}, labels shuffled", bars=False)
    axes.axhline(here[0].majority, color=INK, linewidth=0.8, linestyle=(0, (1, 1)), label="most frequent class")
    layers = sorted({row.layer for row in here})
    axes.set_xticks(range(len(layers)), [place(layer) for layer in layers])
    axes.set_title(
      f"{target} ({here[0].classes} classes)" if target != WITHIN_DOMAIN else "task, when the domain is given"
    )
  _finish(figure, panels, path)


def components(rows: Sequence[Probe], path: pathlib.Path) -> None:
  """Linear probes for the task by how many principal components, or only signs, are kept: a panel a state."""
  figure, panels = _panels(2, 8.4, 3.6)
  linear = [row for row in rows if row.target == TASK and row.probe == "linear" and not row.shuffled]
  kept = [*sorted({row.components for row in linear} - {0}), 0]
  for axes, state in zip(panels, (LAST, STEP), strict=True):
    here = [row for row in linear if row.state == state]
    for layer, color, marker in zip(sorted({row.layer for row in here}), COLORS, _MARKERS, strict=False):
      of_layer = {(row.components, row.signs): row for row in here if row.layer == layer}
      x, values = zip(*((i, of_layer[n, False].accuracy) for i, n in enumerate(kept)), strict=True)
      axes.plot(x, values, color=color, marker=marker, markersize=4, linewidth=1.4, label=_flat(layer))
      if (0, True) in of_layer:
        axes.plot([len(kept)], [of_layer[0, True].accuracy], color=color, marker=marker, markersize=5, linestyle="")
    axes.axhline(here[0].majority, color=INK, linewidth=0.8, linestyle=(0, (1, 1)), label="most frequent class")
    axes.set_xticks(range(len(kept) + 1), [*map(str, kept[:-1]), "all", "signs\nof all"])
    axes.set_title(f"task, from the {_STATES[state]}")
    axes.set_xlabel("principal components kept")
  _finish(figure, panels, path)


def by_tokens(rows: Sequence[Probe], path: pathlib.Path) -> None:
  """Linear probes of means over more and more tokens: a panel for the domain and one for the task."""
  figure, panels = _panels(2, 8.4, 3.6)
  linear = [row for row in rows if row.probe == "linear" and not (row.components or row.signs or row.shuffled)]
  for axes, target in zip(panels, (DOMAIN, TASK), strict=True):
    here = [row for row in linear if row.target == target]
    if not here:
      axes.set_visible(False)
      continue
    states = list(dict.fromkeys(row.state for row in here))
    for layer, color, marker in zip(sorted({row.layer for row in here}), COLORS, _MARKERS, strict=False):
      line = sorted((row for row in here if row.layer == layer), key=lambda row: states.index(row.state))
      x = np.arange(len(line)) + 0.06 * (layer - 1)
      axes.errorbar(
        x, [row.accuracy for row in line], _errors(line), color=color, marker=marker, markersize=4, linewidth=1.4,
        elinewidth=0.9, label=_flat(layer),
      )  # fmt: skip
    axes.axhline(here[0].majority, color=INK, linewidth=0.8, linestyle=(0, (1, 1)), label="most frequent class")
    axes.set_xticks(range(len(states)), states)
    axes.set_title(f"{target} ({here[0].classes} classes)")
    axes.set_xlabel("mean over the first")
  _finish(figure, panels, path)


def removal(bars: Mapping[tuple[str, int], Mapping[str, tuple[float, float, float]]], path: pathlib.Path) -> None:
  """Scores by group of tasks, a bar a removal.

  Args:
    bars: (kind, directions) -> group ("all tasks" or a domain) -> score, low, high; low is NaN where nothing is known.
  """
  groups = list(next(iter(bars.values())))
  figure = Figure(figsize=(10.5, 3.8))
  axes = figure.subplots()
  _plain(axes)
  width = 0.86 / len(bars)
  for turn, ((kind, number), scores) in enumerate(bars.items()):
    said, color = _REMOVED[kind]
    x = np.arange(len(groups)) + (turn - (len(bars) - 1) / 2) * width
    values = np.array([scores[group] for group in groups])
    hatch = ("", "//", "..", "xx")[sorted({n for _, n in bars} - {0}).index(number)] if number else ""
    axes.bar(
      x, values[:, 0], 0.9 * width, color=color, edgecolor="white", hatch=hatch, linewidth=0.5,
      label=f"{said}, {number}" if number else said,
    )  # fmt: skip
    known = ~np.isnan(values[:, 1])
    axes.vlines(x[known], values[known, 1], values[known, 2], color=INK, linewidth=1.1)
    for at, (value, _, high) in zip(x, values, strict=True):
      top = max(value, 0 if np.isnan(high) else high, 0)
      axes.annotate(f"{value:.0f}", (at, top), xytext=(0, 2), textcoords="offset points", ha="center", fontsize=7)
  axes.axhline(0, color=INK, linewidth=0.8)
  axes.set_xticks(range(len(groups)), groups)
  axes.grid(False, axis="x")
  axes.set_ylabel("score, % of the expert")
  axes.legend(frameon=False, title="taken out", loc="center left", bbox_to_anchor=(1.01, 0.5), alignment="left")
  _save(figure, path)


def frames(heads: Sequence[Head], pictures: Mapping[str, np.ndarray], path: pathlib.Path, most: int = 12) -> None:
  """A row a frame: the frame, then each head's weights over it.

  Args:
    heads, pictures: of attention.look; the first `most` frames are drawn.
  """
  shown = list(dict.fromkeys((row.task, row.frame) for row in heads))[:most]
  number = 1 + max(row.head for row in heads)
  columns = 2 if len(shown) > 4 else 1  # frames side by side
  lines = -(-len(shown) // columns)
  figure = Figure(figsize=(1.55 * columns * (number + 1), 1.75 * lines))
  grid = figure.subplots(lines, columns * (number + 1), squeeze=False)
  for axes in grid.ravel():
    axes.set_axis_off()
  for index, (task, frame) in enumerate(shown):
    cells = grid[index % lines, (index // lines) * (number + 1) :]
    picture, weights = pictures[f"frame_{index}"], pictures[f"weights_{index}"]
    height, width = picture.shape[:2]
    cells[0].imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    cells[0].set_title(task.replace(".", "\n", 1), fontsize=6.5)
    shares = {row.head: row.on_patches for row in heads if (row.task, row.frame) == (task, frame)}
    grey = picture.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8) // 2
    for head, axes in enumerate(cells[1 : number + 1]):
      axes.imshow(grey, extent=(0, width, height, 0), interpolation="nearest")
      own = weights[head] / weights[head].max()
      axes.imshow(
        own, extent=(0, width, height, 0), cmap="inferno", vmin=0, vmax=1, alpha=0.75, interpolation="nearest"
      )
      axes.set_title(f"head {head + 1}\n{shares[head]:.0%} on the frame", fontsize=6.5)
  figure.subplots_adjust(wspace=0.08, hspace=0.35)
  _save(figure, path, dpi=72)


def states(points: Sequence[Point], path: pathlib.Path) -> None:
  """t-SNE's map: a colour a domain, a marker a task, a black edge and its name where the task never trained."""
  figure = Figure(figsize=(8.6, 6.2))
  axes = figure.subplots()
  axes.set(xticks=[], yticks=[])
  axes.spines[:].set_color("#cccccc")
  tasks = sorted({point.task for point in points})
  domains = sorted({task.split(".", 1)[0] for task in tasks})
  for domain, color in zip(domains, COLORS * (1 + len(domains) // len(COLORS)), strict=False):
    for turn, task in enumerate(task for task in tasks if task.split(".", 1)[0] == domain):
      here = [point for point in points if point.task == task]
      trained = here[0].trained
      axes.scatter(
        [point.x for point in here], [point.y for point in here], s=16 if trained else 30, color=color,
        marker=_MARKERS[turn % len(_MARKERS)], edgecolor="none" if trained else INK,
        linewidth=0 if trained else 0.9, alpha=0.75 if trained else 0.95, zorder=2 if trained else 3,
        label=task if trained else f"{task} (never trained)",
      )  # fmt: skip
  axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, markerscale=1.2)
  _save(figure, path, dpi=110)


def _line(
  axes: Axes, rows: Sequence[Probe], color: str, style: object, label: str, bars: bool = True, offset: float = 0.0
) -> None:
  rows = sorted(rows, key=lambda row: row.layer)
  x = np.arange(len(rows)) + (offset if bars else 0.0)
  values = [row.accuracy for row in rows]
  if bars:
    axes.errorbar(
      x, values, _errors(rows), color=color, linestyle=style, marker="o", markersize=3, linewidth=1.4, elinewidth=0.9,
      label=label,
    )  # fmt: skip
  else:
    axes.plot(x, values, color=color, linestyle=style, linewidth=1.2, label=label)


def _errors(rows: Sequence[Probe]) -> np.ndarray:
  """[2, n], below and above: a bootstrap interval may miss its own point by rounding."""
  return np.maximum([[row.accuracy - row.low for row in rows], [row.high - row.accuracy for row in rows]], 0.0)


def _flat(layer: int) -> str:
  return place(layer).replace("-\n", "").replace("\n", " ")


def _panels(number: int, width: float, height: float) -> tuple[Figure, np.ndarray]:
  figure = Figure(figsize=(width, height))
  panels = figure.subplots(1, number, sharey=True)
  for axes in panels:
    _plain(axes)
    axes.set_ylim(0, 1.03)
  panels[0].set_ylabel("accuracy on other episodes")
  return figure, panels


def _plain(axes: Axes) -> None:
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(True, color="#dddddd", linewidth=0.6)
  axes.set_axisbelow(True)
  axes.tick_params(labelsize=8)


def _finish(figure: Figure, panels: np.ndarray, path: pathlib.Path) -> None:
  handles, labels = panels[0].get_legend_handles_labels()
  shown = [axes for axes in panels if axes.get_visible()]
  shown[-1].legend(handles, labels, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8)
  for axes in panels:
    axes.title.set_fontsize(9.5)
  figure.subplots_adjust(wspace=0.08)
  _save(figure, path)


def _save(figure: Figure, path: pathlib.Path, dpi: int = DPI) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=dpi, bbox_inches="tight", facecolor="white")
