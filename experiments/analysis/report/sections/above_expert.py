"""Above the expert: each run's network against the episodes of the experts that it imitated."""

import pathlib
from collections.abc import Sequence

from experiments.analysis.report import above_expert, drawing, study_page
from gato_jax.errors import GatoError

_CLIP = 60  # points of score


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Compares every run that was played with its experts.

  Raises:
    GatoError: If the rows have no episodes of experts.
  """
  # The return filter of the training data, which all runs of the study share.
  keep = study.config["data"]["keep"]
  text = ["Each run's network against the episodes of the experts that it imitated."]
  drawn, tables = [], {}
  for played in study.with_scores():
    comparisons = above_expert.compare(played.rows, played.scores, keep=keep)
    if not comparisons:
      raise GatoError(
        f"{played.directory}: no episodes of experts in its rows; evaluate with baselines=logs or"
        " measure"
      )

    name = played.run.name
    text.append(f"{name}: {above_expert.summary(comparisons)}.")
    tables[name] = above_expert.table(comparisons)

    path = out / f"above_expert_{name}.png"
    _draw(comparisons, path)
    caption = (
      f"{name}: mean return of the network minus the expert's, in points of score, with 95 %"
      f" intervals. Filled: above, Holm-corrected. Differences beyond {_CLIP} points are drawn at"
      " the edge."
    )
    drawn.append((path, caption))

  return study_page.Section("Above the expert", text, figures=drawn, tables=tables)


def _draw(comparisons: Sequence[above_expert.Comparison], path: pathlib.Path) -> None:
  """Draws two differences per task: to all of the expert's episodes, and to the kept ones."""
  ordered = sorted(comparisons, key=lambda comparison: comparison.everything.effect)
  figure, axes = drawing.new_axes(7.2, 1.1 + 0.3 * len(ordered))
  for shift, name, color, label in (
    (0.14, "everything", drawing.COLORS[0], "all its episodes"),
    (-0.14, "kept", drawing.COLORS[5], "those that were trained on"),
  ):
    # `shift` separates the two differences of a task.
    for index, comparison in enumerate(ordered):
      against = getattr(comparison, name)
      y = index + shift
      effect, low, high = (
        min(max(value, -_CLIP), _CLIP) for value in (against.effect, against.low, against.high)
      )
      axes.plot([low, high], [y, y], color=color, linewidth=1.2, solid_capstyle="butt")
      axes.plot(
        effect,
        y,
        "o",
        markersize=4.5,
        color=color,
        markerfacecolor=color if against.is_above else "white",
        label=label if index == 0 else None,  # once in the legend
      )

  axes.axvline(0, color=drawing.INK, linewidth=0.8)
  axes.set_yticks(range(len(ordered)), [comparison.task for comparison in ordered], fontsize=8.5)
  axes.grid(False, axis="y")
  axes.set_xlabel("network minus expert, points of score")
  axes.legend(frameon=False, loc="lower right", fontsize=8)
  drawing.save(figure, path, dpi=100)
