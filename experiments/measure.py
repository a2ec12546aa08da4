"""Measures a checkpoint where nothing is played: python -m experiments.measure --config=...

Document tasks are measured on their validation split: bits per byte, chrF and BLEU-4, exact match
and VQA accuracy (<workdir>/language.jsonl). Recorded tasks are measured on the episodes of their
validation split (their own, or data.validation_every): the error of each number of the action
(<workdir>/actions.jsonl), and a video of predicted beside recorded actions
(<workdir>/recorded). Rows that exist are not measured again. experiments.report shows them.

With --cloning it measures the control tasks along the expert's episodes instead: the loss by place
in the window, and how often the most likely action is a copy of the last one
(<workdir>/cloning.jsonl, docs/history.md).
"""

import sys
from collections.abc import Callable

from absl import flags

from experiments import cli
from experiments.analysis.cloning import measure as cloning
from experiments.analysis.cloning import rows as cloning_rows
from experiments.analysis.language import measure, validation
from experiments.analysis.recorded import measure as recorded
from experiments.analysis.recorded import rows
from experiments.analysis.report import (
  action_scores,
  language_scores,
  language_table,
  recorded_video,
)
from gato_jax import agent, progress
from gato_jax.data import records
from gato_jax.data.mixture import MixtureConfig
from gato_jax.domain import DocumentDomain, RecordedDomain, SimulatedDomain
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.storage import lock
from gato_jax.tokens import codec
from gato_jax.train import checkpoint, export

_DOCUMENTS = flags.DEFINE_integer(
  "documents",
  200,
  "Number of documents to measure of each task, drawn from its validation split.",
  2,
)
_EPISODES = flags.DEFINE_integer(
  "episodes",
  50,
  "Number of episodes to measure of each recorded task, drawn from its validation split.",
  2,
)
_STEPS = flags.DEFINE_integer(
  "steps_an_episode", 50, "Number of steps to measure of each of these episodes, drawn.", 1
)
_STEP = flags.DEFINE_integer(
  "step", None, "Training step of the checkpoint to measure; the newest by default."
)
_EVERY_CHECKPOINT = flags.DEFINE_bool(
  "every_checkpoint",
  False,
  "Measures recorded tasks at every checkpoint that the workdir has, not only at the newest.",
)
_CLONING = flags.DEFINE_bool(
  "cloning", False, "Measures control tasks along the expert's episodes instead."
)


def main(experiment: cli.Experiment) -> None:
  if _CLONING.value:
    with lock.only_writer(experiment.workdir, "measure"):
      measure_cloning(experiment)
    return

  candidates = [
    (domain, task)
    for domain, task in experiment.all_tasks
    if not isinstance(domain, SimulatedDomain)
  ]
  built = [task for task in candidates if experiment.dataset(*task).exists()]
  missing = [cli.name_of(*task) for task in candidates if task not in built]
  if missing:
    print(f"not built, so not measured (experiments.build): {', '.join(missing)}", file=sys.stderr)
  if not built:
    raise GatoError(
      f"{experiment.config.name} has no texts, captions, questions or recorded episodes that are "
      "built; name their domains in the config, and run python -m experiments.build"
    )

  documents = [cli.name_of(*task) for task in built if isinstance(task[0], DocumentDomain)]
  episodes = [cli.name_of(*task) for task in built if isinstance(task[0], RecordedDomain)]

  policy = agent.Policy(experiment.workdir, _STEP.value)
  with lock.only_writer(experiment.workdir, "measure"):
    if documents:
      measure_documents(experiment, policy, documents)
    if episodes:
      steps = [policy.step]
      if _EVERY_CHECKPOINT.value:
        steps = sorted(checkpoint.saved_steps(experiment.workdir / "checkpoints"))
      for step in steps:
        earlier = policy if step == policy.step else agent.Policy(experiment.workdir, step)
        # Videos are of the newest one.
        film = recorded_video.write if step == policy.step else None
        measure_episodes(experiment, earlier, episodes, film)


def measure_cloning(experiment: cli.Experiment) -> None:
  """Measures the control tasks that train along the expert's episodes, and prints their rates."""
  tasks = [
    cli.name_of(domain, task)
    for domain, task in experiment.tasks
    if isinstance(domain, SimulatedDomain)
  ]
  if not tasks:
    raise GatoError(f"{experiment.config.name} trains no control task, so there is no clone")

  params, meta, step = export.load(experiment.workdir, _STEP.value)
  mixture = experiment.section(MixtureConfig, "data", name=f"{experiment.config.name}.cloning")

  rows_of_tasks: list[cloning_rows.CloningRow] = []
  for task in progress.Bar(tasks, desc="measure", unit="task"):
    rows_of_tasks += cloning.measure(
      params,
      GatoConfig.from_json(meta["model"]),
      mixture,
      task,
      tfds_dir=experiment.tfds,
      text=codec.TextCodec(meta["tokenizer"]),
      step=step,
    )

  # Measured as one: rows of another checkpoint or split would not compare.
  path = experiment.workdir / cloning_rows.ROWS
  path.unlink(missing_ok=True)
  results.append(path, rows_of_tasks)

  for line in cloning_rows.by_task(rows_of_tasks):
    print("  ".join(f"{name} {_cell(value)}" for name, value in line.items()))
  print(f"measure: checkpoint {step}, {len(rows_of_tasks)} rows are in {path}")


def _cell(value: object) -> str:
  return f"{value:.3g}" if isinstance(value, float) else str(value)


def measure_documents(experiment: cli.Experiment, policy: agent.Policy, tasks: list[str]) -> None:
  """Measures texts, captions and answers, and prints their scores."""
  directories = {task: records.directory_of(experiment.tfds, task) for task in tasks}
  validation.run(
    policy.text_generator(),
    policy.step,
    directories=directories,
    workdir=experiment.workdir,
    documents=_DOCUMENTS.value,
  )

  # The file may also have rows of other tasks, measured with another config.
  path = experiment.workdir / measure.ROWS
  rows_by_task = language_scores.newest(results.read(path, measure.DocumentRow), policy.step)
  rows_by_task = {task: rows_by_task[task] for task in rows_by_task if task in directories}
  language_table.show(language_scores.scores(rows_by_task))
  print(f"measure: checkpoint {policy.step}, rows of {len(directories)} tasks are in {path}")


def measure_episodes(
  experiment: cli.Experiment,
  policy: agent.Policy,
  tasks: list[str],
  film: Callable[..., None] | None,
) -> None:
  """Measures the actions of recorded tasks, writes videos by `film`, and prints the errors."""
  recorded.run(
    policy,
    experiment.section(agent.ActConfig, "act"),
    tfds_dir=experiment.tfds,
    tasks=tasks,
    config=experiment.section(MixtureConfig, "data"),
    workdir=experiment.workdir,
    episodes=_EPISODES.value,
    steps=_STEPS.value,
    film=film,
  )

  scores = action_scores.scores(recorded.read(experiment.workdir), policy.step)
  action_scores.show([score for score in scores if score.task in tasks])
  path = experiment.workdir / rows.ROWS
  print(f"measure: checkpoint {policy.step}, rows of {len(tasks)} recorded tasks are in {path}")


if __name__ == "__main__":
  cli.run(main)
