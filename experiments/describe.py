"""Prints the resolved config, the parameters, the mixture and the layout of each training task.

python -m experiments.describe --config=experiments/configs/demo.py
"""

import dataclasses
import json
import multiprocessing
import pathlib
from collections.abc import Iterable, Mapping

import rich.table

from experiments import cli
from experiments.analysis.report import console as terminal
from gato_jax.domain import DocumentDomain, Domain, SimulatedDomain, environment_task_spec
from gato_jax.env import logs, returns
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.task import TaskSpec
from gato_jax.tokens import layout

# A plain tuple stands for census.Count, whose module imports TensorFlow.
Counts = Mapping[str, tuple[int, int, int]]  # "domain.task" -> kept, tokens, episodes


def task_spec(experiment: cli.Experiment, domain: Domain, task: str) -> TaskSpec:
  """Returns the spec that training would use.

  It comes from the dataset, else from the raw logs, else from the live environment.
  """
  metadata = experiment.dataset(domain, task)
  if metadata.exists():
    return TaskSpec.from_json(json.loads(metadata.read_text())["spec"])

  if not isinstance(domain, SimulatedDomain):
    raise GatoError(
      f"no dataset of {domain.name}.{task}: its spec follows from it; "
      "run python -m experiments.build"
    )

  directory = logs.task_directory(experiment.raw, domain.name, task)
  if (directory / "spec.json").exists():
    spec = logs.read_spec(directory)
    # The reserved text tokens are a setting of the domain and may have changed since.
    return dataclasses.replace(spec, max_text_tokens=domain.text_tokens(task))

  return environment_task_spec(domain, task, domain.make_environment(task))


def count(tfds: pathlib.Path, tasks: list[str], keep: float) -> tuple[Counts, dict[str, str]]:
  """Counts datasets, in a process of its own: TensorFlow and simulators do not share one."""
  from gato_jax.data import census

  return census.count_all(tfds, tasks, keep)


def count_datasets(experiment: cli.Experiment) -> tuple[Counts, dict[str, str]]:
  """Returns the counts of the datasets that exist, and "domain.task" -> problem of the others."""
  built = [
    cli.name_of(domain, task)
    for domain, task in experiment.tasks
    if experiment.dataset(domain, task).exists()
  ]
  if not built:
    return {}, {}

  with multiprocessing.get_context("spawn").Pool(1) as pool:
    return pool.apply(count, (experiment.tfds, built, experiment.config.data.keep))


def rows_table(experiment: cli.Experiment, counts: Counts) -> rich.table.Table:
  """Returns a table of the mixture's rows: their data, and their weights as asked for and used.

  The weight used is the share of sequences in per cent, after rows without data are left out.
  """
  weights = experiment.weights
  total_requested = sum(row.weight for row in experiment.rows.values())
  total_used = sum(weights.values())

  headers = ("row", "tasks with data", "episodes", "tokens", "weight asked", "weight used")
  with_data = sum(name in counts for name in weights)
  footers = (
    "all",
    f"{with_data} of {len(experiment.all_tasks)}",
    *_sums(counts.values()),
    f"{total_requested:.2f}",
    f"{100 if total_used else 0:.2f} %",
  )

  table = rich.table.Table(box=None, header_style="bold", padding=(0, 2, 0, 0), show_footer=True)
  for header, footer in zip(headers, footers, strict=True):
    table.add_column(header, footer, justify="left" if header == "row" else "right", no_wrap=True)

  for row_name, row in experiment.rows.items():
    tasks = [cli.name_of(*task) for task in row.tasks]
    row_counts = [counts[task] for task in tasks if task in counts]
    episodes, tokens = _sums(row_counts) if row_counts else ("-", "-")
    # Only tasks that train have a weight: the share of a row without data is 0.
    share = 100 * sum(weights.get(task, 0.0) for task in tasks) / (total_used or 1)

    table.add_row(
      row_name,
      f"{len(row_counts)} of {len(tasks)}",
      episodes,
      tokens,
      f"{row.weight:.2f}",
      f"{share:.2f} %" if share else "-",
    )

  return table


def _sums(counts: Iterable[tuple[int, int, int]]) -> tuple[str, str]:
  """Returns the episodes that are kept, "of" all where some are not, and their tokens, as text."""
  kept, tokens, episodes = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
  episodes_text = f"{kept:,} of {episodes:,}" if kept < episodes else f"{kept:,}"

  return episodes_text, f"{tokens:,}"


def notes_of(experiment: cli.Experiment, counts: Counts, problems: Mapping[str, str]) -> list[str]:
  """Returns a line for each row, dataset or group of episodes that does not train as it could."""
  if experiment.tasks:
    notes = experiment.left_out()
  else:
    notes = ["nothing is here: run experiments.collect and .build"]

  notes += [f"not counted: {problem}" for problem in problems.values()]

  for domain, task in experiment.tasks:
    if reason := experiment.stale(domain, task):
      notes.append(
        f"stale: {domain.name}.{task}: {reason}; run python -m experiments.collect and .build"
      )

  filtered = sum(episodes - kept for kept, _, episodes in counts.values())
  if filtered:
    notes.append(
      f"filtered: {filtered:,} episodes have less than "
      f"data.keep={experiment.config.data.keep:g} of the expert return"
    )

  return notes


def describe_task(experiment: cli.Experiment, domain: Domain, task: str, share: float) -> str:
  """Returns the layout of a task's tokens and its share of sequences, as text."""
  if isinstance(domain, DocumentDomain):
    return (
      f"{domain.name}.{task}: {domain.document_kind}, every text token a target\n"
      f"share of sequences: {share:.2%}\n"
    )

  spec = task_spec(experiment, domain, task)
  if experiment.config.data.returns:
    # The unit of the return does not change the layout.
    spec = returns.with_return_to_go(spec, 1.0)

  token_layout = layout.TokenLayout(spec, experiment.text_codec())
  steps = experiment.config.data.sequence_length // token_layout.length

  return f"{token_layout.describe()}\nshare of sequences: {share:.2%}, {steps} steps a row\n"


def main(experiment: cli.Experiment) -> None:
  config = experiment.config
  model_config = experiment.section(GatoConfig, "model")
  rows, length = config.train.batch_size, config.data.sequence_length

  print(config)
  print(f"parameters: {count_parameters(abstract_params(model_config)):,}")
  print(f"tokens a batch: {rows} rows x {length} = {rows * length:,}\n")

  counts, problems = count_datasets(experiment)
  shown = rows_table(experiment, counts)
  terminal.fitting(None, shown).print(shown)
  print("", *notes_of(experiment, counts, problems), "", sep="\n")

  total = sum(experiment.weights.values())
  for domain, task in experiment.tasks:
    share = experiment.weights[cli.name_of(domain, task)] / total
    print(describe_task(experiment, domain, task, share=share))


if __name__ == "__main__":
  cli.run(main)
