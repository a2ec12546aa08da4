"""Figures of the sections `probes` and `embeddings`: probes by depth, attention, maps of states."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.interpret.rows import (
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
  MapPoint,
  Probe,
)
from experiments.analysis.report import drawing
from experiments.analysis.report.drawing import COLORS, DOTTED, INK

_STATES = {LAST: "separator", STEP: "mean of the step"}
_REMOVED = {
  NOTHING: ("nothing", "#555555"),
  OF_TASKS: ("directions of the tasks", "#D55E00"),
  WITHIN_TASKS: ("most variance within tasks", "#56B4E9"),
  RANDOM: ("random directions", "#bbbbbb"),
}
_HATCHES = ("", "//", "..", "xx")
_MARKERS = "osD^vPX*"


def layer_name(layer: int, split: bool = False) -> str:
  """Returns the name of Probe.layer, in two lines if `split`."""
  if layer == RAW:
    return "raw\ntokens" if split else "raw tokens"
  if layer == EMBEDDING:
    return "embed-\nding" if split else "embedding"
  return f"layer\n{layer}" if split else f"layer {layer}"


def is_plain(row: Probe) -> bool:
  """True for a linear probe of whole states, with the right labels."""
  return row.probe == "linear" and not (row.components or row.signs or row.shuffled)


def depth(rows: Sequence[Probe], path: pathlib.Path) -> None:
  """Draws the accuracy from raw tokens to the last layer.

  There is a panel for each target and a line for each state and probe.
  """
  figure, panels = _new_panels(3, 10.5)
  of_whole_states = [row for row in rows if not row.components and not row.signs]
  for axes, target in zip(panels, (DOMAIN, TASK, WITHIN_DOMAIN), strict=True):
    of_target = [row for row in of_whole_states if row.target == target]
    if not of_target:
      axes.set_visible(False)
      continue

    for state, color in ((LAST, COLORS[0]), (STEP, COLORS[1])):
      for probe, dashes, probe_name in (
        ("linear", "-", "linear"),
        ("mlp", (0, (3, 2)), "one hidden layer"),
      ):
        line = _by_layer(of_target, state=state, probe=probe, shuffled=False)
        # The four lines are moved apart, so that their intervals do not cover each other.
        turn = 2 * (state == STEP) + (probe == "mlp")
        _draw_line(
          axes,
          line,
          np.arange(len(line)) + 0.08 * (turn - 1.5),
          color=color,
          linestyle=dashes,
          marker="o",
          markersize=3,
          label=f"{_STATES[state]}, {probe_name}",
        )

    for state, style in ((LAST, ":"), (STEP, "-.")):
      line = _by_layer(of_target, state=state, shuffled=True)
      accuracy = [row.accuracy for row in line]
      label = f"{_STATES[state]}, labels shuffled"
      axes.plot(
        range(len(line)), accuracy, color="#999999", linestyle=style, linewidth=1.2, label=label
      )

    _draw_majority(axes, of_target)
    layers = sorted({row.layer for row in of_target})
    axes.set_xticks(range(len(layers)), [layer_name(layer, split=True) for layer in layers])
    title = f"{target} ({of_target[0].classes} classes)"
    axes.set_title("task, when the domain is given" if target == WITHIN_DOMAIN else title)

  _finish(figure, panels, path)


def components(rows: Sequence[Probe], path: pathlib.Path) -> None:
  """Draws the accuracy of linear probes for the task by what is kept of the state.

  That is a number of principal components, or only the signs. There is a panel for each state.
  """
  figure, panels = _new_panels(2, 8.4)
  linear = [
    row for row in rows if row.target == TASK and row.probe == "linear" and not row.shuffled
  ]
  # 0, for all components, comes last.
  numbers = [*sorted({row.components for row in linear} - {0}), 0]
  for axes, state in zip(panels, (LAST, STEP), strict=True):
    of_state = [row for row in linear if row.state == state]
    layers = sorted({row.layer for row in of_state})
    for layer, color, marker in zip(layers, COLORS, _MARKERS, strict=False):
      accuracy = {
        (row.components, row.signs): row.accuracy for row in of_state if row.layer == layer
      }
      style: dict[str, Any] = {"color": color, "marker": marker}
      values = [accuracy[number, False] for number in numbers]
      axes.plot(
        range(len(numbers)),
        values,
        markersize=4,
        linewidth=1.4,
        label=layer_name(layer),
        **style,
      )
      if (0, True) in accuracy:
        axes.plot([len(numbers)], [accuracy[0, True]], markersize=5, linestyle="", **style)

    _draw_majority(axes, of_state)
    labels = [*map(str, numbers[:-1]), "all", "signs\nof all"]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_title(f"task, from the {_STATES[state]}")
    axes.set_xlabel("principal components kept")

  _finish(figure, panels, path)


def by_tokens(rows: Sequence[Probe], path: pathlib.Path) -> None:
  """Draws the accuracy of linear probes of means over more and more tokens.

  There is a panel for the domain and one for the task.
  """
  figure, panels = _new_panels(2, 8.4)
  for axes, target in zip(panels, (DOMAIN, TASK), strict=True):
    of_target = [row for row in rows if row.target == target and is_plain(row)]
    if not of_target:
      axes.set_visible(False)
      continue

    # In the order of the rows, which is that of the numbers of tokens.
    states = list(dict.fromkeys(row.state for row in of_target))
    layers = sorted({row.layer for row in of_target})
    for layer, color, marker in zip(layers, COLORS, _MARKERS, strict=False):
      line = [row for row in of_target if row.layer == layer]
      line.sort(key=lambda row: states.index(row.state))
      _draw_line(
        axes,
        line,
        np.arange(len(line)) + 0.06 * (layer - 1),
        color=color,
        marker=marker,
        markersize=4,
        label=layer_name(layer),
      )

    _draw_majority(axes, of_target)
    axes.set_xticks(range(len(states)), states)
    axes.set_title(f"{target} ({of_target[0].classes} classes)")
    axes.set_xlabel("mean over the first")

  _finish(figure, panels, path)


def removal(
  bars: Mapping[tuple[str, int], Mapping[str, tuple[float, float, float]]], path: pathlib.Path
) -> None:
  """Draws the scores of each group of tasks, one bar per removal.

  Args:
    bars: (kind, directions) -> group ("all tasks" or a domain) -> score, low, high. Low and high
      are NaN without an interval.
    path: Of the PNG.
  """
  groups = list(next(iter(bars.values())))
  figure, axes = drawing.new_axes(10.5, 3.8)
  axes.tick_params(labelsize=8)
  width = 0.86 / len(bars)
  # Numbers of directions differ in their hatches, kinds in their colours.
  numbers = sorted({number for _, number in bars} - {0})
  for turn, ((kind, number), scores) in enumerate(bars.items()):
    label, color = _REMOVED[kind]
    hatch = ""
    if number:
      label += f", {number}"
      hatch = _HATCHES[numbers.index(number)]

    x = np.arange(len(groups)) + (turn - (len(bars) - 1) / 2) * width
    values, lows, highs = np.array([scores[group] for group in groups]).T
    axes.bar(
      x,
      values,
      0.9 * width,
      color=color,
      edgecolor="white",
      hatch=hatch,
      linewidth=0.5,
      label=label,
    )
    known = ~np.isnan(lows)
    axes.vlines(x[known], lows[known], highs[known], color=INK, linewidth=1.1)

    # Numbers stand above the bar and its interval, or above 0. fmax ignores NaN.
    tops = np.maximum(np.fmax(values, highs), 0)
    for at, value, top in zip(x, values, tops, strict=True):
      axes.annotate(
        f"{value:.0f}",
        (at, top),
        xytext=(0, 2),
        textcoords="offset points",
        ha="center",
        fontsize=7,
      )

  axes.axhline(0, color=INK, linewidth=0.8)
  axes.set_xticks(range(len(groups)), groups)
  axes.grid(False, axis="x")
  axes.set_ylabel("score, % of the expert")
  axes.legend(title="removed", **drawing.BESIDE)
  drawing.save(figure, path)


def attention(
  heads: Sequence[Head], arrays: Mapping[str, np.ndarray], path: pathlib.Path, most: int = 12
) -> None:
  """Draws each image, and beside it the weights of each head over it.

  Args:
    heads: Rows of attention.look.
    arrays: Its arrays, "frame_I" and "weights_I".
    path: Of the PNG.
    most: Number of images to draw, the first ones.
  """
  shown = list(dict.fromkeys((row.task, row.frame) for row in heads))[:most]
  number = 1 + max(row.head for row in heads)
  shares = {(row.task, row.frame, row.head): row.on_patches for row in heads}

  # A cell for the image and one for each head; many images stand in two columns.
  cells_per_image = number + 1
  columns = 2 if len(shown) > 4 else 1
  lines = -(-len(shown) // columns)  # rounded up
  figure = Figure(figsize=(1.55 * columns * cells_per_image, 1.75 * lines))
  grid = figure.subplots(lines, columns * cells_per_image, squeeze=False)
  for axes in grid.ravel():
    axes.set_axis_off()

  for index, (task, frame) in enumerate(shown):
    image, weights = arrays[f"frame_{index}"], arrays[f"weights_{index}"]
    height, width = image.shape[:2]
    # The weights have fewer pixels than the image, and are drawn over the same area.
    area: dict[str, Any] = {"extent": (0, width, height, 0), "interpolation": "nearest"}
    dark = image.mean(-1, keepdims=True).repeat(3, -1).astype(np.uint8) // 2

    column = (index // lines) * cells_per_image
    cells = grid[index % lines, column : column + cells_per_image]
    cells[0].imshow(image, **area)
    cells[0].set_title(task.replace(".", "\n", 1), fontsize=6.5)
    for head, axes in enumerate(cells[1:]):
      axes.imshow(dark, **area)
      # Each head has its own scale: most weights are far below the largest one of all.
      relative = weights[head] / weights[head].max()
      axes.imshow(relative, cmap="inferno", vmin=0, vmax=1, alpha=0.75, **area)
      share = shares[task, frame, head]
      axes.set_title(f"head {head + 1}\n{share:.0%} on the image", fontsize=6.5)

  figure.subplots_adjust(wspace=0.08, hspace=0.35)
  drawing.save(figure, path, dpi=72)


def states(points: Sequence[MapPoint], path: pathlib.Path) -> None:
  """Draws the map of t-SNE: a colour per domain, a marker per task.

  Tasks that the network was not trained on have black edges.
  """
  figure = Figure(figsize=(8.6, 6.2))
  axes = figure.subplots()
  axes.set(xticks=[], yticks=[])
  axes.spines[:].set_color("#cccccc")

  by_task: dict[str, list[MapPoint]] = {}
  for point in points:
    by_task.setdefault(point.task, []).append(point)
  tasks_of_domain: dict[str, list[str]] = {}
  for task in sorted(by_task):
    tasks_of_domain.setdefault(task.split(".", 1)[0], []).append(task)

  for color_index, domain in enumerate(sorted(tasks_of_domain)):
    for marker_index, task in enumerate(tasks_of_domain[domain]):
      of_task = by_task[task]
      style: dict[str, Any] = {"s": 16, "edgecolor": "none", "alpha": 0.75, "label": task}
      if not of_task[0].trained:
        # Larger and in front of the others.
        style = {"s": 30, "edgecolor": INK, "linewidth": 0.9, "alpha": 0.95, "zorder": 3}
        style["label"] = f"{task} (not trained on)"
      axes.scatter(
        [point.x for point in of_task],
        [point.y for point in of_task],
        color=COLORS[color_index % len(COLORS)],
        marker=_MARKERS[marker_index % len(_MARKERS)],
        **({"linewidth": 0, "zorder": 2} | style),
      )

  axes.legend(
    frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=7.5, markerscale=1.2
  )
  drawing.save(figure, path, dpi=110)


def _by_layer(rows: Sequence[Probe], **fields: Any) -> list[Probe]:
  """Returns the rows with these values of their fields, ordered by layer."""
  selected = [
    row for row in rows if all(getattr(row, name) == value for name, value in fields.items())
  ]
  return sorted(selected, key=lambda row: row.layer)


def _draw_line(axes: Axes, rows: Sequence[Probe], x: np.ndarray, **style: Any) -> None:
  """Draws accuracies with their intervals."""
  accuracy = np.array([row.accuracy for row in rows])
  below = accuracy - [row.low for row in rows]
  above = [row.high for row in rows] - accuracy
  # A bootstrap interval may miss its own point by rounding.
  lengths = np.maximum([below, above], 0.0)
  axes.errorbar(x, accuracy, lengths, linewidth=1.4, elinewidth=0.9, **style)


def _draw_majority(axes: Axes, rows: Sequence[Probe]) -> None:
  """Draws the accuracy of always naming the most frequent class."""
  majority = rows[0].majority
  axes.axhline(majority, color=INK, linewidth=0.8, linestyle=DOTTED, label="most frequent class")


def _new_panels(number: int, width: float) -> tuple[Figure, np.ndarray]:
  """Returns a figure with `number` panels side by side, all of accuracies."""
  figure = Figure(figsize=(width, 3.6))
  panels = figure.subplots(1, number, sharey=True)
  for axes in panels:
    drawing.clean(axes)
    axes.tick_params(labelsize=8)
    axes.set_ylim(0, 1.03)

  panels[0].set_ylabel("accuracy on other episodes")
  return figure, panels


def _finish(figure: Figure, panels: np.ndarray, path: pathlib.Path) -> None:
  """Adds one legend for all panels, at the right of the last visible one, and writes the file."""
  handles, labels = panels[0].get_legend_handles_labels()
  visible = [axes for axes in panels if axes.get_visible()]
  visible[-1].legend(
    handles, labels, frameon=False, loc="center left", bbox_to_anchor=(1.02, 0.5), fontsize=8
  )
  for axes in panels:
    axes.title.set_fontsize(9.5)

  figure.subplots_adjust(wspace=0.08)
  drawing.save(figure, path)
