"""Figures of one run, as PNGs: the paper's Figure 5 for our tasks, scores by task and curves."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import ticker

from experiments.analysis import run_metrics
from experiments.analysis.report import drawing
from experiments.analysis.report.drawing import CLIP, DASHED, DOTTED, INK
from experiments.analysis.report.table import THRESHOLD
from gato_jax.evaluate import scores as scoring


def figure5(scores: Sequence[scoring.TaskScore], path: pathlib.Path, style: drawing.Styles) -> None:
  """Draws the number of tasks at or above x per cent of the expert, stacked by domain.

  This is the paper's Figure 5.
  """
  domains = scoring.by_domain(scores)
  x = np.linspace(0, 100, 1001)
  figure, axes = drawing.new_axes()

  bottom = np.zeros_like(x)
  for domain, of_domain in domains.items():
    counts = np.sum([[score.score >= value for value in x] for score in of_domain], axis=0)
    axes.fill_between(
      x,
      bottom,
      bottom + counts,
      step="pre",
      facecolor=style[domain].color,
      hatch=style[domain].hatch,
      edgecolor="white",
      linewidth=0.6,
      label=f"{domain} ({len(of_domain)})",
    )
    bottom = bottom + counts

  def counts_of(values: np.ndarray) -> np.ndarray:
    return np.stack([np.sum(values >= value, axis=0) for value in x], axis=-1)

  # The interval of every point of the curve, with the same resamples.
  low, high = scoring.interval(scores, counts_of)
  for edge, label in ((low, "95 % interval"), (high, None)):
    axes.step(x, edge, where="pre", color=INK, linewidth=0.9, linestyle=(0, (1, 1.2)), label=label)

  reached, tasks = scoring.bar(scores, THRESHOLD)
  top = tasks * 1.04
  axes.plot([THRESHOLD, THRESHOLD], [0, top], color=INK, linewidth=0.9, linestyle=DASHED)
  drawing.write_beside_line(axes, f"{reached} of {tasks} tasks at {THRESHOLD} %", THRESHOLD, y=top)

  axes.set(xlim=(0, 100), ylim=(0, tasks * 1.1), xlabel="score, % of the expert (0 = random)")
  axes.set_ylabel("tasks at or above")
  axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
  axes.xaxis.set_major_locator(ticker.MultipleLocator(10))

  # Reversed, so that the legend is in the order of the stack.
  handles, labels = axes.get_legend_handles_labels()
  axes.legend(
    handles[::-1], labels[::-1], frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5)
  )
  drawing.save(figure, path)


def task_bars(
  scores: Sequence[scoring.TaskScore], path: pathlib.Path, style: drawing.Styles
) -> None:
  """Draws a bar with a 95 % interval for each task, grouped by domain.

  Lines mark 0, 50 and 100 per cent of the expert.
  """
  figure, axes = drawing.new_axes(7.2, 1.1 + 0.27 * len(scores))
  ordered = sorted(scores, key=lambda score: (score.domain, -score.score))
  all_values: list[float] = []
  for y, score in enumerate(ordered):
    drawing.bars(axes, y, score.score, style[score.domain])
    values = [score.score]
    if score.has_interval:
      interval = [score.low, score.high]
      values += interval
      axes.plot(
        interval, [y, y], color=INK, linewidth=1.3, marker="|", markersize=5, solid_capstyle="butt"
      )
    all_values += values

    # The number stands behind the bar and its interval, or behind 0.
    text = f"{score.score:.0f}{' *' if score.score > 100 else ''}"
    end = min(max(*values, 0), CLIP[1])
    drawing.write_number(axes, text, end, y, offset=6, size=8)

  for x in (THRESHOLD, 100):
    drawing.reference(axes, x, zorder=0)
  drawing.reference(axes, 0, dashed=False)
  axes.set_xlim(*drawing.clipped_limits(all_values, least_high=110.0))
  axes.xaxis.set_major_locator(ticker.MultipleLocator(25))
  drawing.label_rows(axes, range(len(ordered)), [score.task for score in ordered], fontsize=8.5)
  # From large to small, so that the first task is at the top.
  axes.set_ylim(len(ordered) - 0.4, -0.6)

  footnote = " (* above 100 %)" if any(score.score > 100 for score in scores) else ""
  axes.set_xlabel("score, % of the expert, with 95 % interval" + footnote)
  drawing.save(figure, path)


def score_curves(
  by_task: Mapping[str, Mapping[int, float]], path: pathlib.Path, style: drawing.Styles
) -> bool:
  """Draws the mean score of each domain over the checkpoints that were played.

  A task that was not played at a checkpoint counts with its last score, so that a mean never
  changes because it is over other tasks. A domain's line begins when all of its tasks have a score.

  Returns:
    False, without writing a file, if fewer than two checkpoints were played.
  """
  steps = sorted({step for by_step in by_task.values() for step in by_step})
  if len(steps) < 2:
    return False

  figure, axes = drawing.new_axes()
  filled = {task: [_last(by_step, step) for step in steps] for task, by_step in by_task.items()}
  for domain in sorted({task.split(".", 1)[0] for task in by_task}):
    of_domain = [scores for task, scores in filled.items() if task.split(".", 1)[0] == domain]
    means = np.mean(of_domain, axis=0)
    axes.plot(
      steps,
      means,
      color=style[domain].color,
      linestyle=style[domain].line,
      linewidth=1.5,
      marker="o",
      markersize=3.5,
      label=f"{domain} ({len(of_domain)})  {means[-1]:.0f}",
    )

  means = np.mean(list(filled.values()), axis=0)
  label = f"all tasks ({len(filled)})  {means[-1]:.0f}"
  axes.plot(steps, means, color=INK, linewidth=1.1, linestyle=DOTTED, label=label)
  axes.axhline(100, color=INK, linewidth=0.8, linestyle=DASHED)

  # 0 is the random actor, of which a network may fall short.
  axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
  drawing.use_units(axes)
  axes.set_xlabel("training step")
  axes.set_ylabel("mean score over tasks, % of the expert")
  axes.legend(title="last value", **drawing.BESIDE)
  drawing.save(figure, path)
  return True


def _last(by_step: Mapping[int, float], step: int) -> float:
  """Returns the score at the last step played up to `step`, NaN if there is none."""
  known = [played for played in by_step if played <= step]
  return by_step[max(known)] if known else np.nan


def learning_curves(
  metrics: run_metrics.Metrics,
  path: pathlib.Path,
  style: drawing.Styles,
  x: str = "tokens",
  log_x: bool = True,
) -> bool:
  """Draws the training loss by domain.

  Args:
    metrics: Of the run.
    path: Of the PNG.
    style: Of the domains.
    x: "tokens" or "step".
    log_x: True for a logarithmic axis.

  Returns:
    False, without writing a file, if fewer than two steps were logged.
  """
  if len(run_metrics.column(metrics, "loss", x)[0]) < 2:
    return False

  figure, axes = drawing.new_axes()
  for domain in run_metrics.domains(metrics):
    at, loss = run_metrics.column(metrics, f"loss/{domain}", x)
    if len(at):
      axes.plot(
        at,
        loss,
        color=style[domain].color,
        linestyle=style[domain].line,
        linewidth=1.5,
        label=f"{domain}  {loss[-1]:.2f}",
      )

  at, loss = run_metrics.column(metrics, "loss", x)
  label = f"all  {loss[-1]:.2f}"
  axes.plot(at, loss, color=INK, linewidth=1.1, linestyle=DOTTED, label=label)

  # A logarithmic axis needs two positive values.
  if log_x and at[at > 0].size > 1:
    axes.set_xscale("log")
  axes.set_ylim(bottom=0)
  drawing.use_units(axes)
  axes.set_xlabel({"tokens": "tokens processed", "step": "training step"}.get(x, x))
  axes.set_ylabel("loss, nats per target token")
  axes.legend(title="last value", **drawing.BESIDE)
  drawing.save(figure, path)
  return True
