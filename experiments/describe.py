"""Prints the resolved config, the parameters, the mixture's rows, and the layout of every task that trains.

python -m experiments.describe --config=experiments/configs/demo.py
"""

import dataclasses
import json
import multiprocessing
import pathlib
from collections.abc import Iterable

import rich.console
import rich.table

from experiments import cli
from gato_jax import logs, specs
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.tokens import layout

Counts = dict[str, tuple[int, int, int]]  # "domain.task" -> census.Count
_WIDTH = 110  # characters, at least


def task_spec(experiment: cli.Experiment, domain: specs.Domain, task: str) -> specs.TaskSpec:
  """Returns the spec that training would use: the dataset's, else that of the raw logs or of the live environment."""
  built = experiment.dataset(domain, task)
  if built.exists():
    return specs.TaskSpec.from_json(json.loads(built.read_text())["spec"])
  if domain.sources:
    raise GatoError(f"no dataset of {domain.name}.{task}: its spec follows from it; run python -m experiments.build")

  directory = logs.task_directory(experiment.raw, domain.name, task)
  if (directory / "spec.json").exists():
    return dataclasses.replace(logs.read_spec(directory), max_text_tokens=domain.text_tokens(task))
  return specs.environment_task_spec(domain, task, domain.make_environment(task))


def count(tfds: pathlib.Path, tasks: list[str], keep: float) -> tuple[Counts, dict[str, str]]:
  """Runs in its own process: TensorFlow and simulators do not share one."""
  from gato_jax.data import census

  return census.count_all(tfds, tasks, keep)


def counted(experiment: cli.Experiment) -> tuple[Counts, dict[str, str]]:
  """What there is of the tasks that have a dataset, and what is wrong with the others of them."""
  built = [f"{domain.name}.{task}" for domain, task in experiment.tasks if experiment.dataset(domain, task).exists()]
  if not built:
    return {}, {}
  with multiprocessing.get_context("spawn").Pool(1) as pool:
    return pool.apply(count, (experiment.tfds, built, experiment.config.data.keep))


def rows_table(experiment: cli.Experiment, numbers: Counts) -> rich.table.Table:
  """The mixture's rows: what is here, and the share of sequences asked for and used, in per cent."""
  weights = experiment.weights
  asked, used = sum(row.weight for row in experiment.rows.values()), sum(weights.values())
  table = rich.table.Table(box=None, header_style="bold", padding=(0, 2, 0, 0), show_footer=True)
  totals = _few_of_all(numbers.values())
  everything = f"{sum(name in numbers for name in weights)} of {len(experiment.all_tasks)}"
  headers = ("row", "tasks with data", "episodes", "tokens", "weight asked", "weight used")
  feet = ("all", everything, *totals, f"{asked:.2f}", f"{100 if used else 0:.2f} %")
  for header, foot in zip(headers, feet, strict=True):
    table.add_column(header, foot, justify="left" if header == "row" else "right", no_wrap=True)
  for name, row in experiment.rows.items():
    tasks = [f"{domain.name}.{task}" for domain, task in row.tasks]
    here = [numbers[task] for task in tasks if task in numbers]
    share = 100 * sum(weights.get(task, 0.0) for task in tasks) / (used or 1)
    counts = _few_of_all(here) if here else ("-", "-")
    shares = f"{row.weight:.2f}", f"{share:.2f} %" if share else "-"
    table.add_row(name, f"{len(here)} of {len(tasks)}", *counts, *shares)
  return table


def _few_of_all(counts: Iterable[tuple[int, int, int]]) -> tuple[str, str]:
  """Returns the episodes that count, and of how many where some are filtered out, and their tokens, as text."""
  kept, tokens, episodes = (sum(column) for column in zip((0, 0, 0), *counts, strict=True))
  return f"{kept:,}" + (f" of {episodes:,}" if kept < episodes else ""), f"{tokens:,}"


def main(experiment: cli.Experiment) -> None:
  config = experiment.config
  model = experiment.section(GatoConfig, "model")
  print(config)
  print(f"parameters: {count_parameters(abstract_params(model)):,}")
  rows, length = config.train.batch_size, config.data.sequence_length
  print(f"tokens a batch: {rows} rows x {length} = {rows * length:,}\n")
  console = rich.console.Console()
  console = console if console.width >= _WIDTH else rich.console.Console(width=_WIDTH)
  numbers, faults = counted(experiment)
  console.print(rows_table(experiment, numbers))
  left_out = experiment.left_out() if experiment.tasks else ["nothing is here: run experiments.collect and .build"]
  filtered = sum(episodes - kept for kept, _, episodes in numbers.values())
  notes = [f"not counted: {why}" for why in faults.values()]
  for domain, task in experiment.tasks:
    if why := experiment.stale(domain, task):
      notes.append(f"stale: {domain.name}.{task}: {why}; run python -m experiments.collect and .build")
  if filtered:
    notes.append(f"filtered: {filtered:,} episodes have less than data.keep={config.data.keep:g} of the expert return")
  print("", *left_out, *notes, "", sep="\n")
  total = sum(experiment.weights.values())
  for domain, task in experiment.tasks:
    share = experiment.weights[f"{domain.name}.{task}"] / total
    if domain.environment or domain.sources:
      spec = task_spec(experiment, domain, task)
      if experiment.config.data.returns:
        spec = spec.with_return_to_go(1.0)  # its unit changes no layout
      table = layout.TokenLayout(spec, experiment.text_codec())
      steps = length // table.length
      print(f"{table.describe()}\nshare of sequences: {share:.2%}, {steps} steps a row\n")
    else:
      print(
        f"{domain.name}.{task}: {domain.document_kind}, every text token a target\nshare of sequences: {share:.2%}\n"
      )


if __name__ == "__main__":
  cli.run(main)
