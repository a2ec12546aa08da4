"""Prints the resolved config, the parameters, the tokens of a batch and the layout of every task.

python -m experiments.describe --config=experiments/configs/demo.py
"""

import json
import pathlib

from experiments import cli
from gato_jax import logs, specs
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.tokens import codec, layout


def records_path(experiment: cli.Experiment, domain: specs.Domain, task: str) -> pathlib.Path:
  """What TFDS keeps beside the records, readable without TensorFlow: simulators may be in this process."""
  return experiment.tfds / domain.name / task / "1.0.0" / "metadata.json"


def task_spec(experiment: cli.Experiment, domain: specs.Domain, task: str) -> specs.TaskSpec:
  """From the raw logs, from the live environment where nothing is collected yet, or of recorded episodes as built."""
  if domain.sources:
    built = records_path(experiment, domain, task)
    if not built.exists():
      raise GatoError(f"no dataset of {domain.name}.{task}: its spec follows from it; run python -m experiments.build")
    return specs.TaskSpec.from_json(json.loads(built.read_text())["spec"])
  directory = logs.task_directory(experiment.raw, domain.name, task)
  if (directory / "spec.json").exists():
    return logs.read_spec(directory)
  return specs.environment_task_spec(domain, task, domain.make_environment(task))


def main(experiment: cli.Experiment) -> None:
  config = experiment.config
  model = experiment.section(GatoConfig, "model")
  print(config)
  print(f"parameters: {count_parameters(abstract_params(model)):,}")
  rows, length = config.train.batch_size, config.data.sequence_length
  print(f"tokens a batch: {rows} rows x {length} = {rows * length:,}\n")
  total = sum(experiment.weights.values())
  for domain, task in experiment.tasks:
    share = experiment.weights[f"{domain.name}.{task}"] / total
    if domain.environment or domain.sources:
      table = layout.TokenLayout(task_spec(experiment, domain, task), codec.default_text_codec())
      steps = length // table.length
      print(f"{table.describe()}\nshare of sequences: {share:.2%}, {steps} steps a row\n")
    else:
      print(f"{domain.name}.{task}: text documents, every token a target\nshare of sequences: {share:.2%}\n")


if __name__ == "__main__":
  cli.run(main)
