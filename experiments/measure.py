"""Measures a checkpoint where nothing is played: python -m experiments.measure --config=...

Document tasks, on their validation split: bits per byte, chrF and BLEU-4, exact match and VQA accuracy
(<workdir>/language.jsonl). Recorded tasks, on episodes held out of training (data.hold_out): the error of each number
of the action (<workdir>/actions.jsonl). Rows that exist are not measured again; experiments.report shows them.
"""

import sys

from absl import flags

from experiments import cli
from gato_jax import agent, lock, results
from gato_jax.data import records
from gato_jax.errors import GatoError
from gato_jax.language import held_out, measure
from gato_jax.mixture import MixtureConfig
from gato_jax.recorded import measure as recorded
from gato_jax.recorded import rows
from gato_jax.report import action_scores, language_scores, language_table

_DOCUMENTS = flags.DEFINE_integer("documents", 200, "Of each task, drawn from its validation split.", 2)
_EPISODES = flags.DEFINE_integer("episodes", 50, "Of each recorded task, drawn from those held out.", 2)
_STEPS = flags.DEFINE_integer("steps_an_episode", 50, "That are measured of each of them, drawn.", 1)
_STEP = flags.DEFINE_integer("step", None, "Of the checkpoint; the newest by default.")


def main(experiment: cli.Experiment) -> None:
  asked = [(domain, task) for domain, task in experiment.all_tasks if domain.documents or domain.sources]
  built = [(domain, task) for domain, task in asked if experiment.dataset(domain, task).exists()]
  missing = [cli.name_of(*one) for one in asked if one not in built]
  if missing:
    print(f"not built, so not measured (experiments.build): {', '.join(missing)}", file=sys.stderr)
  if not built:
    raise GatoError(
      f"{experiment.config.name} has no texts, captions, questions or recorded episodes that are built; name their "
      "domains in the config, and run python -m experiments.build"
    )

  policy = agent.Policy(experiment.workdir, _STEP.value)
  documents = [cli.name_of(domain, task) for domain, task in built if domain.documents]
  episodes = [cli.name_of(domain, task) for domain, task in built if domain.sources]
  with lock.only_writer(experiment.workdir, "measure"):
    if documents:
      measure_documents(experiment, policy, documents)
    if episodes:
      measure_episodes(experiment, policy, episodes)


def measure_documents(experiment: cli.Experiment, policy: agent.Policy, tasks: list[str]) -> None:
  """Texts, captions and answers."""
  directories = {task: records.directory_of(experiment.tfds, task) for task in tasks}
  held_out.run(policy.reader(), policy.step, directories, experiment.workdir, _DOCUMENTS.value)
  path = experiment.workdir / measure.ROWS
  found = language_scores.newest(results.read(path, measure.Row), policy.step)
  language_table.show(language_scores.scores({task: rows for task, rows in found.items() if task in directories}))
  print(f"measure: checkpoint {policy.step}, rows of {len(directories)} tasks are in {path}")


def measure_episodes(experiment: cli.Experiment, policy: agent.Policy, tasks: list[str]) -> None:
  """The actions of recorded tasks."""
  act = experiment.section(agent.ActConfig, "act")
  config = experiment.section(MixtureConfig, "data")
  recorded.run(policy, act, experiment.tfds, tasks, config, experiment.workdir, _EPISODES.value, _STEPS.value)
  found = action_scores.scores(recorded.read(experiment.workdir), policy.step)
  action_scores.show([score for score in found if score.task in tasks])
  path = experiment.workdir / rows.ROWS
  print(f"measure: checkpoint {policy.step}, rows of {len(tasks)} recorded tasks are in {path}")


if __name__ == "__main__":
  cli.run(main)
