"""Trains one network on the config's mixture: python -m experiments.train --config=experiments/configs/demo.py

Started again it continues from the newest checkpoint in <workdir>/checkpoints, with the same losses as if it had
never stopped.
"""

import json

import numpy as np

from experiments import cli
from gato_jax import agent
from gato_jax.data import episodes, pipeline
from gato_jax.errors import GatoError
from gato_jax.mixture import MixtureConfig
from gato_jax.model import GatoConfig
from gato_jax.tokens import codec
from gato_jax.train import loop, optimizer

_DEMONSTRATIONS = 4  # a task
_DEMONSTRATION_STEPS = 64  # more than a prompt of any demo layout takes


def refuse_changes(experiment: cli.Experiment) -> None:
  """A run continues with the config it started with; GatoError names the first setting that differs."""
  path = experiment.workdir / "config.json"
  ours = {
    k: v for k, v in json.loads(experiment.config.to_json()).items() if k in ("domains", "data", "model", "train")
  }
  if path.exists():
    theirs = json.loads(path.read_text())
    for section, settings in ours.items():
      for key, value in settings.items():
        if theirs.get(section, {}).get(key) != value:
          raise GatoError(
            f"{path}: this run was started with {section}.{key}={theirs.get(section, {}).get(key)}, now it is {value}; "
            "choose another --config.workdir or go back"
          )
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(json.dumps(ours, indent=1))


def put_demonstrations_aside(experiment: cli.Experiment, inputs: pipeline.Input) -> None:
  """The best episodes' first steps, for prompting: acting has no TensorFlow to read datasets with."""
  for name, data in inputs.datasets.items():
    if isinstance(data, episodes.Episodes):
      best = data.kept[np.argsort(-data.returns[data.kept], kind="stable")[:_DEMONSTRATIONS]]
      pieces = [data.window(int(i), 0, min(_DEMONSTRATION_STEPS, int(data.lengths[i]))) for i in best]
      agent.write_demonstrations(experiment.workdir / "demonstrations" / f"{name}.npz", pieces)


def main(experiment: cli.Experiment) -> None:
  model_config = experiment.section(GatoConfig, "model")
  train_config = experiment.section(loop.TrainConfig, "train")
  text = codec.default_text_codec()
  data = experiment.section(MixtureConfig, "data", name=experiment.config.name, weights=experiment.weights)
  inputs = pipeline.Input(data, experiment.tfds, train_config.batch_size, text, model_config.max_local_positions)
  refuse_changes(experiment)
  put_demonstrations_aside(experiment, inputs)
  meta = {
    "name": experiment.config.name,
    "model": model_config.to_json(),
    "specs": {name: spec.to_json() for name, spec in inputs.task_specs.items()},
    "shares": inputs.shares,
    "input": inputs.fingerprint(),
  }
  loop.train(
    model_config=model_config,
    train_config=train_config,
    optimizer_config=experiment.section(optimizer.OptimizerConfig, "optimizer"),
    batches=inputs.batches,
    meta=meta,
    tokenizer=text.model,
    workdir=experiment.workdir,
    component_names=inputs.names,
  )


if __name__ == "__main__":
  cli.run(main)
