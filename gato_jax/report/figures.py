"""The figures of a report, as PNGs: Figure 5 of the paper for our tasks, scores per task, learning curves."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # no pyplot: no global state, no display

from gato_jax.report import metrics as training
from gato_jax.report import scores as scoring

# Okabe and Ito's palette, told apart by colour-blind readers; hatches tell a second round from the first.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#555555")
HATCHES = ("", "///", "...", "xx")
LINES = ("-", "--", ":", "-.")
CLIP = (-50, 200)  # per cent: a bar beyond these is cut and its number still says the score
DPI = 150
INK = "#222222"
PLATE = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}  # behind numbers, so that no line crosses them
THRESHOLD = 50  # per cent of the expert

Styles = Mapping[str, tuple[str, str, str]]


def styles(*domains: str) -> dict[str, tuple[str, str, str]]:
  """Domain -> (colour, hatch, line style); every figure of a page takes one such table."""
  table = {}
  for index, domain in enumerate(sorted(set(domains))):
    turn = index // len(COLORS)
    table[domain] = COLORS[index % len(COLORS)], HATCHES[turn % len(HATCHES)], LINES[turn % len(LINES)]
  return table


def figure5(scores: Sequence[scoring.TaskScore], path: pathlib.Path, style: Styles) -> None:
  """Number of tasks at or above x per cent of the expert, stacked by domain (the paper's Figure 5)."""
  domains = scoring.by_domain(scores)
  x = np.linspace(0, 100, 1001)
  counts = [np.sum([[s.score >= v for v in x] for s in of_domain], axis=0) for of_domain in domains.values()]
  figure, axes = _axes(7.2, 4.4)
  bottom = np.zeros_like(x)
  for domain, count in zip(domains, counts, strict=True):
    color, hatch, _ = style[domain]
    label = f"{domain} ({len(domains[domain])})"
    axes.fill_between(
      x, bottom, bottom + count, step="pre", facecolor=color, hatch=hatch, edgecolor="white", linewidth=0.6, label=label
    )
    bottom = bottom + count
  low, high = scoring.interval(scores, lambda values: np.stack([np.sum(values >= v, axis=0) for v in x], axis=-1))
  for edge, label in ((low, "95 % interval"), (high, None)):
    axes.step(x, edge, where="pre", color=INK, linewidth=0.9, linestyle=(0, (1, 1.2)), label=label)
  reached, tasks = scoring.bar(scores, THRESHOLD)
  axes.plot([THRESHOLD, THRESHOLD], [0, tasks * 1.04], color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
  axes.annotate(
    f"{reached} of {tasks} tasks at {THRESHOLD} %",
    (THRESHOLD, tasks * 1.04),
    xytext=(5, -2),
    textcoords="offset points",
    va="center",
    color=INK,
    bbox=PLATE,
  )
  axes.set(xlim=(0, 100), ylim=(0, tasks * 1.1), xlabel="score, % of the expert (0 = random)")
  axes.set_ylabel("tasks at or above")
  axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  axes.xaxis.set_major_locator(ticker.MultipleLocator(10))
  handles, labels = axes.get_legend_handles_labels()  # reversed: top of the legend is the top of the stack
  axes.legend(handles[::-1], labels[::-1], frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
  _save(figure, path)


def task_bars(scores: Sequence[scoring.TaskScore], path: pathlib.Path, style: Styles) -> None:
  """One bar a task with its 95 % interval, grouped by domain; ticks at 0, 50 and 100 per cent of the expert."""
  figure, axes = _axes(7.2, 1.1 + 0.27 * len(scores))
  ordered = sorted(scores, key=lambda s: (s.domain, -s.score))
  for y, score in enumerate(ordered):
    color, hatch, _ = style[score.domain]
    axes.barh(y, score.score, height=0.7, color=color, hatch=hatch, edgecolor="white", linewidth=0.4)
    ends = [score.score]
    if score.has_interval:
      ends += [score.low, score.high]
      axes.plot(ends[1:], [y, y], color=INK, linewidth=1.3, marker="|", markersize=5, solid_capstyle="butt")
    text = f"{score.score:.0f}{' *' if score.score > 100 else ''}"
    end = min(max(*ends, 0), CLIP[1])
    axes.annotate(
      text, (end, y), xytext=(6, 0), textcoords="offset points", va="center", fontsize=8, color=INK, bbox=PLATE
    )
  for x in (THRESHOLD, 100):
    axes.axvline(x, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
  axes.axvline(0, color=INK, linewidth=0.8)
  every = [v for s in scores for v in ([s.score, s.low, s.high] if s.has_interval else [s.score])]
  axes.set_xlim(max(min([0.0, *every]), CLIP[0]), 1.08 * min(max([110.0, *every]), CLIP[1]))
  axes.xaxis.set_major_locator(ticker.MultipleLocator(25))
  axes.set_yticks(range(len(ordered)), [s.task for s in ordered], fontsize=8.5)
  axes.set_ylim(len(ordered) - 0.4, -0.6)
  axes.set_xlabel(
    "score, % of the expert, with 95 % interval" + (" (* above 100 %)" if any(s.score > 100 for s in scores) else "")
  )
  axes.tick_params(axis="y", length=0)
  axes.grid(False, axis="y")
  _save(figure, path)


def score_curves(by_task: Mapping[str, Mapping[int, float]], path: pathlib.Path, style: Styles) -> bool:
  """Mean score of each domain over the checkpoints that were played; False, and no file, for fewer than two of them.

  A task that was not played at a checkpoint counts with its last score, so that a mean never moves because other tasks
  are in it; a domain's line begins where all of its tasks have one.
  """
  steps = sorted({step for by_step in by_task.values() for step in by_step})
  if len(steps) < 2:
    return False
  figure, axes = _axes(7.2, 4.4)
  last = {task: [_last(by_step, step) for step in steps] for task, by_step in by_task.items()}
  for domain in sorted({task.split(".", 1)[0] for task in by_task}):
    color, _, line = style[domain]
    of_domain = [scores for task, scores in last.items() if task.split(".", 1)[0] == domain]
    means = np.mean(of_domain, axis=0)
    label = f"{domain} ({len(of_domain)})  {means[-1]:.0f}"
    axes.plot(steps, means, color=color, linestyle=line, linewidth=1.5, marker="o", markersize=3.5, label=label)
  means = np.mean(list(last.values()), axis=0)
  label = f"all tasks ({len(last)})  {means[-1]:.0f}"
  axes.plot(steps, means, color=INK, linewidth=1.1, linestyle=(0, (1, 1)), label=label)
  axes.axhline(100, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
  axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  axes.set_xlabel("training step")
  axes.set_ylabel("mean score over tasks, % of the expert")
  axes.legend(frameon=False, title="last value", loc="center left", bbox_to_anchor=(1.01, 0.5), alignment="left")
  _save(figure, path)
  return True


def _last(by_step: Mapping[int, float], step: int) -> float:
  """The score at the last step played until then, NaN before the first."""
  known = [at for at in by_step if at <= step]
  return by_step[max(known)] if known else np.nan


def learning_curves(
  metrics: training.Metrics, path: pathlib.Path, style: Styles, x: str = "tokens", log_x: bool = True
) -> bool:
  """Loss by domain against `x` ("tokens" or "step"); False, and no file, where fewer than two steps were logged."""
  if len(training.column(metrics, "loss", x)[0]) < 2:
    return False
  figure, axes = _axes(7.2, 4.4)
  for domain in training.domains(metrics):
    color, _, line = style[domain]
    at, loss = training.column(metrics, f"loss/{domain}", x)
    if len(at):
      axes.plot(at, loss, color=color, linestyle=line, linewidth=1.5, label=f"{domain}  {loss[-1]:.2f}")
  at, loss = training.column(metrics, "loss", x)
  axes.plot(at, loss, color=INK, linewidth=1.1, linestyle=(0, (1, 1)), label=f"all  {loss[-1]:.2f}")
  if log_x and at[at > 0].size > 1:
    axes.set_xscale("log")
  axes.set_ylim(bottom=0)
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  axes.set_xlabel({"tokens": "tokens processed", "step": "training step"}.get(x, x))
  axes.set_ylabel("loss, nats a target token")
  axes.legend(frameon=False, title="last value", loc="center left", bbox_to_anchor=(1.01, 0.5), alignment="left")
  _save(figure, path)
  return True


def _styles_of(runs: Mapping[str, Any]) -> list[tuple[str, str, str]]:
  """One a run, in their order."""
  return list(styles(*(f"{index:03}" for index in range(len(runs)))).values())


def losses_of_runs(runs: Mapping[str, training.Metrics], path: pathlib.Path) -> bool:
  """Training loss against tokens, a line a run; False, and no file, where no run logged two steps."""
  columns = {label: training.column(metrics, "loss", "tokens") for label, metrics in runs.items()}
  if all(len(at) < 2 for at, _ in columns.values()):
    return False
  figure, axes = _axes(7.2, 4.4)
  for (label, (at, loss)), (color, _, line) in zip(columns.items(), _styles_of(runs), strict=True):
    if len(at):
      axes.plot(at, loss, color=color, linestyle=line, linewidth=1.3, label=f"{label}  {loss[-1]:.2f}")
  axes.set_xscale("log")
  axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  axes.set(xlabel="tokens processed", ylabel="loss, nats a target token")
  axes.legend(frameon=False, title="last value", loc="center left", bbox_to_anchor=(1.01, 0.5), alignment="left")
  _save(figure, path)
  return True


def scores_of_runs(runs: Mapping[str, Mapping[str, float]], path: pathlib.Path) -> bool:
  """Mean score of each domain, a bar a run; False, and no file, where no run was played."""
  if not runs:
    return False
  domains = sorted({domain for means in runs.values() for domain in means})
  figure, axes = _axes(7.2, 1.1 + 0.2 * len(domains) * (len(runs) + 1))
  for turn, ((label, means), (color, hatch, _)) in enumerate(zip(runs.items(), _styles_of(runs), strict=True)):
    places = [index * (len(runs) + 1) + turn for index, domain in enumerate(domains) if domain in means]
    values = [means[domain] for domain in domains if domain in means]
    axes.barh(places, values, height=0.85, color=color, hatch=hatch, edgecolor="white", linewidth=0.4, label=label)
  axes.set_yticks([index * (len(runs) + 1) + (len(runs) - 1) / 2 for index in range(len(domains))], domains)
  axes.invert_yaxis()
  axes.axvline(100, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
  axes.axvline(0, color=INK, linewidth=0.8)
  axes.set_xlabel("mean score over tasks, % of the expert")
  axes.tick_params(axis="y", length=0)
  axes.grid(False, axis="y")
  axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
  _save(figure, path)
  return True


def arm_bars(
  arms: Mapping[str, Mapping[str, tuple[float, float, float]]], rows: Sequence[str], path: pathlib.Path
) -> None:
  """A group of bars a row, a bar an arm: arm -> row -> (score, low, high), low and high NaN where there is no interval.

  A row that an arm lacks leaves its place empty; bars are thinner where there are many, and then without numbers.
  """
  bars = len(rows) * len(arms)
  inches = 0.17 if bars <= 70 else 0.1  # a bar
  figure, axes = _axes(7.2, 1.2 + inches * len(rows) * (len(arms) + 0.8))
  span = len(arms) + 0.8
  for turn, ((arm, scores), (color, hatch, _)) in enumerate(zip(arms.items(), _styles_of(arms), strict=True)):
    places = [index * span + turn for index, row in enumerate(rows) if row in scores]
    known = [scores[row] for row in rows if row in scores]
    values = [value for value, _, _ in known]
    axes.barh(places, values, height=0.9, color=color, hatch=hatch, edgecolor="white", linewidth=0.3, label=arm)
    for y, (value, *ends) in zip(places, known, strict=True):
      end = max(0.0, *(v for v in (value, *ends) if not np.isnan(v)))
      if not np.isnan(ends[0]):
        axes.plot(ends, [y, y], color=INK, linewidth=0.9 if inches > 0.15 else 0.7, solid_capstyle="butt")
      if inches > 0.15 or value > CLIP[1]:
        text = dict(xytext=(4, 0), textcoords="offset points", va="center", fontsize=6.5, color=INK, bbox=PLATE)
        axes.annotate(f"{value:.0f}", (min(end, CLIP[1]), y), **text)
  every = [v for scores in arms.values() for row in rows for v in scores.get(row, ()) if not np.isnan(v)]
  axes.set_xlim(max(min([0.0, *every]), CLIP[0]), 1.08 * min(max([100.0, *every]), CLIP[1]))
  axes.set_yticks([index * span + (len(arms) - 1) / 2 for index in range(len(rows))], rows, fontsize=8)
  axes.set_ylim(len(rows) * span - 0.9, -0.9)
  for x in (0, 100):
    axes.axvline(x, color=INK, linewidth=0.8, linestyle="-" if x == 0 else (0, (4, 3)))
  axes.set_xlabel("score, % of the expert (0 = random), with 95 % interval")
  axes.tick_params(axis="y", length=0)
  axes.grid(False, axis="y")
  columns = min(len(arms), 3)
  axes.legend(frameon=False, fontsize=8, ncols=columns, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
  _save(figure, path)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
  figure = Figure(figsize=(width, height))
  axes = figure.subplots()
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(True, color="#dddddd", linewidth=0.6)
  axes.set_axisbelow(True)
  return figure, axes


def _save(figure: Figure, path: pathlib.Path) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  figure.savefig(path, dpi=DPI, bbox_inches="tight", facecolor="white")
