"""Turns raw logs into RLDS datasets, one process, no simulator: python -m experiments.build --config=...

What is built is kept; a dataset with fewer episodes than there are logs is built again.
"""

import importlib
import os
import pathlib
import shutil

import tensorflow_datasets as tfds
import tqdm

from experiments import cli
from gato_jax import logs, specs


def is_current(directory: pathlib.Path, domain: specs.Domain, task: str, raw: pathlib.Path) -> bool:
  """Whether the dataset holds every logged episode."""
  if not (directory / "dataset_info.json").exists():
    return False
  built = tfds.builder_from_directory(directory).info.splits["train"].num_examples
  return not domain.environment or built == len(logs.rows(logs.task_directory(raw, domain.name, task)))


def main(experiment: cli.Experiment) -> None:
  os.environ["GATO_RAW_DIR"] = str(experiment.raw)
  tfds.disable_progress_bar()
  built = 0
  bar = tqdm.tqdm(experiment.tasks, unit="dataset", desc="build", dynamic_ncols=True)
  for domain, task in bar:
    bar.set_postfix_str(f"{domain.name}.{task}")
    module = importlib.import_module(f"rlds_builders.{domain.name}.{domain.name}_dataset_builder")
    builder = module.Builder(config=task, data_dir=experiment.tfds)
    directory = pathlib.Path(builder.data_dir)
    if is_current(directory, domain, task, experiment.raw):
      continue
    if directory.exists():
      shutil.rmtree(directory)
      builder = module.Builder(config=task, data_dir=experiment.tfds)
    builder.download_and_prepare()
    built += 1
  print(f"build: {built} of {len(experiment.tasks)} datasets built, the others were there, in {experiment.tfds}")


if __name__ == "__main__":
  cli.run(main)
