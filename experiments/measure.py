"""Measures a checkpoint on held-out texts, captions and questions: python -m experiments.measure --config=...

Every document task of the config, on its validation split: bits per byte, chrF and BLEU-4, exact match and VQA
accuracy. Rows go to <workdir>/language.jsonl, those that exist are not measured again; experiments.report shows them.
"""

import sys

from absl import flags

from experiments import cli
from gato_jax import agent, lock, results
from gato_jax.data import records
from gato_jax.errors import GatoError
from gato_jax.language import held_out, measure
from gato_jax.report import language_scores, language_table

_DOCUMENTS = flags.DEFINE_integer("documents", 200, "Of each task, drawn from its validation split.", 2)
_STEP = flags.DEFINE_integer("step", None, "Of the checkpoint; the newest by default.")


def main(experiment: cli.Experiment) -> None:
  directories, missing = {}, []
  for domain, task in experiment.all_tasks:
    if domain.documents and experiment.dataset(domain, task).exists():
      directories[f"{domain.name}.{task}"] = records.directory_of(experiment.tfds, f"{domain.name}.{task}")
    elif domain.documents:
      missing.append(f"{domain.name}.{task}")
  if missing:
    print(f"not built, so not measured (experiments.build): {', '.join(missing)}", file=sys.stderr)
  if not directories:
    raise GatoError(f"{experiment.config.name} has no texts, captions or questions that are built; name their domains")
  policy = agent.Policy(experiment.workdir, _STEP.value)
  with lock.only_writer(experiment.workdir, "measure"):
    held_out.run(policy.reader(), policy.step, directories, experiment.workdir, _DOCUMENTS.value)
  path = experiment.workdir / measure.ROWS
  found = language_scores.newest(results.read(path, measure.Row), policy.step)
  language_table.show(language_scores.scores({task: rows for task, rows in found.items() if task in directories}))
  print(f"measure: checkpoint {policy.step}, rows of {len(directories)} tasks are in {path}")


if __name__ == "__main__":
  cli.run(main)
