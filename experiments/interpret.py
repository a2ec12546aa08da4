"""Looks into a checkpoint: python -m experiments.interpret --config=...    (docs/interpret.md)

Probes for domain and task, directions that tell the task (act.remove takes them out), attention over patches, a map of
states. Files go to <results>/interpretation/; config.interpret says which.
"""

from experiments import cli
from gato_jax import checkpoint, interpret
from gato_jax.data import episodes
from gato_jax.interpret import interpretation, rows
from gato_jax.mixture import MixtureConfig
from gato_jax.model import GatoConfig
from gato_jax.tokens import codec


def main(experiment: cli.Experiment) -> None:
  config = experiment.section(interpret.InterpretConfig, "interpret")
  mixture = experiment.section(MixtureConfig, "data", name=experiment.config.name, weights=experiment.weights)
  trained = sorted(cli.name_of(*one) for one in experiment.tasks)
  names = sorted({*trained, *(cli.name_of(*one) for one in experiment.looked_at)})
  datasets = {name: episodes.load(experiment.tfds, name, mixture.keep, mixture.returns) for name in names}
  params, meta, step = checkpoint.load_for_acting(experiment.workdir / "checkpoints")
  network = interpretation.Network(
    GatoConfig.from_json(meta["model"]), params, codec.TextCodec(meta["tokenizer"]), step
  )
  out = experiment.results / rows.FOLDER
  interpretation.run(network, datasets, trained, mixture, config, out)
  print(f"interpret: checkpoint {step}, {len(names)} tasks, {', '.join(config.parts)} are in {out}")


if __name__ == "__main__":
  cli.run(main)
