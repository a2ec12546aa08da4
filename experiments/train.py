"""Trains one network on the config's mixture: python -m experiments.train --config=experiments/configs/demo.py

Started again it continues from the newest checkpoint in <workdir>/checkpoints, with the same losses as if it had
never stopped.
"""

import json

from experiments import cli
from gato_jax import demonstrations
from gato_jax.data import episodes, pipeline
from gato_jax.mixture import MixtureConfig
from gato_jax.model import GatoConfig
from gato_jax.tokens import codec
from gato_jax.train import loop, optimizer, resume


def main(experiment: cli.Experiment) -> None:
  config, workdir = experiment.config, experiment.workdir
  model_config = experiment.section(GatoConfig, "model")
  train_config = experiment.section(loop.TrainConfig, "train")
  mixture = experiment.section(MixtureConfig, "data", name=config.name, weights=experiment.weights)
  text = codec.default_text_codec()
  inputs = pipeline.Input(mixture, experiment.tfds, train_config.batch_size, text, model_config.max_local_positions)
  settings = json.loads(config.to_json())
  resume.refuse_changes(
    workdir, {section: settings[section] for section in ("domains", "data", "model", "train")}, inputs.task_specs
  )
  for name, data in inputs.datasets.items():
    if isinstance(data, episodes.Episodes):
      demonstrations.write(workdir, name, data.best_starts())
  loop.train(
    model_config=model_config,
    train_config=train_config,
    optimizer_config=experiment.section(optimizer.OptimizerConfig, "optimizer"),
    batches=inputs.batches,
    meta={
      "name": config.name,
      "specs": {name: spec.to_json() for name, spec in inputs.task_specs.items()},
      "shares": inputs.shares,
      "input": inputs.fingerprint(),
    },
    tokenizer=text.model,
    workdir=workdir,
    component_names=inputs.names,
  )


if __name__ == "__main__":
  cli.run(main)
