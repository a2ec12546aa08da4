"""Writes datasets in the formats of others: python -m experiments.convert --config=... --to=lerobot

Each control task becomes a LeRobotDataset of version 3.0 of its own, <out>/<domain>.<task>, with
the steps that have an action. Images become videos, the first text becomes the task in words, and
actions are those that were executed. A dataset that is complete is kept; one that was interrupted
is written again.
"""

import pathlib
import shutil

from absl import flags

from experiments import cli
from gato_jax import progress
from gato_jax.domain import DocumentDomain
from gato_jax.errors import GatoError
from gato_jax.storage import disk

_TO = flags.DEFINE_enum("to", "lerobot", ["lerobot"], "Format of the datasets.")
_OUT = flags.DEFINE_string("out", "", "Folder of the datasets; <data_dir>/<format> by default.")
_TASK = flags.DEFINE_list(
  "task", [], "Tasks to convert, as domain.task, with * and ? for any letters; all by default."
)


def main(experiment: cli.Experiment) -> None:
  # TensorFlow, which --help does without.
  from experiments.analysis import lerobot_export
  from gato_jax.data import records
  from rlds_builders.base import rlds_builder

  chosen = experiment.matching(_TASK.value, "--task") if _TASK.value else experiment.tasks
  tasks = [(d, task) for d, task in chosen if not isinstance(d, DocumentDomain)]
  if not tasks:
    raise GatoError(f"{experiment.config.name} has no control tasks; name some by --task=")

  out = pathlib.Path(_OUT.value or pathlib.Path(experiment.config.data_dir) / _TO.value)
  written = 0
  for domain, task in progress.Bar(tasks, desc="convert", unit="dataset"):
    name = cli.name_of(domain, task)
    folder = out / name
    if (folder / "meta/info.json").exists():
      continue

    episodes = records.open_episodes(
      experiment.dataset(domain, task).parent, rlds_builder.episode_source(domain, task)
    )
    shutil.rmtree(folder, ignore_errors=True)
    with disk.writing(folder):
      lerobot_export.export(episodes, folder)
    written += 1

  print(f"convert: {written} of {len(tasks)} datasets written, the others were there, in {out}")


if __name__ == "__main__":
  cli.run(main)
