"""Above the expert: each run's network against the episodes of the experts it imitated."""

import pathlib
from collections.abc import Sequence

from matplotlib.figure import Figure

from gato_jax.errors import GatoError
from gato_jax.report import above_expert, figures, study_page

_CLIP = 60  # points of score; what lies further is drawn at the edge


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """The comparison of every run that was played; GatoError where no expert's episodes are among the rows."""
  keep = study.config["data"]["keep"]
  text, drawn, tables = [__doc__.split(": ", 1)[1].capitalize().strip()], [], {}
  for played in study.with_scores():
    found = above_expert.compare(played.rows, played.scores, keep=keep)
    if not found:
      raise GatoError(f"{played.folder}: no episodes of experts in its rows; evaluate with baselines=logs or measure")
    text.append(f"{played.run.name}: {above_expert.summary(found)}.")
    tables[played.run.name] = above_expert.table(found)
    path = out / f"above_expert_{played.run.name}.png"
    _draw(found, path)
    caption = (
      f"{played.run.name}: mean return of the network minus the expert's, in points of score, with 95 % intervals; "
      f"filled: above, Holm-corrected; what is beyond {_CLIP} points is drawn at the edge"
    )
    drawn.append((path, caption))
  return study_page.Section("Above the expert", text, drawn, tables)


def _draw(found: Sequence[above_expert.Comparison], path: pathlib.Path) -> None:
  """A task a line: against all undisturbed episodes of the expert, and against those that trained."""
  ordered = sorted(found, key=lambda one: one.everything.effect)
  figure = Figure(figsize=(7.2, 1.1 + 0.3 * len(ordered)))
  axes = figure.subplots()
  for shift, name, color in ((0.14, "everything", figures.COLORS[0]), (-0.14, "kept", figures.COLORS[5])):
    for y, one in enumerate(ordered):
      against = getattr(one, name)
      ends = [min(max(value, -_CLIP), _CLIP) for value in (against.low, against.high)]
      axes.plot(ends, [y + shift] * 2, color=color, linewidth=1.2, solid_capstyle="butt")
      axes.plot(
        min(max(against.effect, -_CLIP), _CLIP), y + shift, "o", markersize=4.5, color=color,
        markerfacecolor=color if against.is_above else "white",
        label={"everything": "all its episodes", "kept": "those that trained"}[name] if not y else None,
      )  # fmt: skip
  axes.axvline(0, color=figures.INK, linewidth=0.8)
  axes.set_yticks(range(len(ordered)), [one.task for one in ordered], fontsize=8.5)
  axes.set_xlabel("network minus expert, points of score")
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(True, axis="x", color="#dddddd", linewidth=0.6)
  axes.legend(frameon=False, loc="lower right", fontsize=8)
  figure.savefig(path, dpi=100, bbox_inches="tight", facecolor="white")
