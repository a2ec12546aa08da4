"""Interprets a checkpoint: python -m experiments.interpret --config=...    (docs/interpret.md)

Fits probes for domain and task, finds the directions that tell the tasks apart (act.remove takes
them out), and draws attention over image patches and a map of states. config.interpret says which
of them. The files go to <results>/interpretation/.
"""

from experiments import cli
from experiments.analysis import interpret
from experiments.analysis.interpret import interpretation, rows
from gato_jax.data import prepared
from gato_jax.data.mixture import MixtureConfig
from gato_jax.model import GatoConfig
from gato_jax.tokens import codec
from gato_jax.train import export


def main(experiment: cli.Experiment) -> None:
  config = experiment.section(interpret.InterpretConfig, "interpret")
  mixture = experiment.section(
    MixtureConfig, "data", name=experiment.config.name, weights=experiment.weights
  )

  # Other tasks are looked at beside those that the network was trained on.
  trained = sorted(cli.name_of(*task) for task in experiment.tasks)
  names = sorted({*trained, *(cli.name_of(*task) for task in experiment.looked_at)})
  datasets = {
    name: prepared.load(experiment.tfds, name, keep=mixture.keep, with_returns=mixture.returns)
    for name in names
  }

  # Sizes and tokenizer are the checkpoint's own, whatever the config says by now.
  params, meta, step = export.load(experiment.workdir)
  network = interpretation.Network(
    GatoConfig.from_json(meta["model"]),
    params,
    text=codec.TextCodec(meta["tokenizer"]),
    step=step,
  )

  out = experiment.results / rows.FOLDER
  interpretation.run(network, datasets, trained=trained, mixture=mixture, config=config, out=out)
  print(f"interpret: checkpoint {step}, {len(names)} tasks, {', '.join(config.parts)} are in {out}")


if __name__ == "__main__":
  cli.run(main)
