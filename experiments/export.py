"""Writes a trained network as a folder to hand out: python -m experiments.export --config=...

The folder has the parameters without the optimizer, the config, the specs, the tokenizer and a few
demonstrations for prompts, with checksums, and nothing in it is ever executed. It stands wherever a
run's folder does: agent.Policy("pretrained/demo"), --checkpoint=pretrained/demo,
--config.fine_tune.start=pretrained/demo.

To score the weights that were packed, and to put the table into MODEL_CARD.md:
python -m experiments.evaluate --checkpoint=pretrained/demo --results=work/packed
python -m experiments.export --config=... --results=work/packed
"""

import pathlib

import jax
from absl import flags

from experiments import cli
from experiments.analysis import model_card
from gato_jax.data import demonstrations
from gato_jax.errors import GatoError
from gato_jax.storage import files
from gato_jax.train import checkpoint, export

_OUTPUT = flags.DEFINE_string("output", "", "Folder to write; pretrained/<name> by default.")
_PRECISION = flags.DEFINE_enum(
  "precision",
  "int8",
  export.PRECISIONS,
  "Of matrices: int8 with a scale a row, bfloat16, or float32.",
)
_STEP = flags.DEFINE_integer(
  "step", None, "Training step of the checkpoint; the newest that can be read by default."
)
_EPISODES = flags.DEFINE_integer(
  "episodes", 1, "Demonstrations of each task, for prompts; 0 for none.", 0
)
_STEPS = flags.DEFINE_integer("steps", 20, "Longest demonstration, in steps.", 1)
_RESULTS = flags.DEFINE_string(
  "results", "", "Folder of the results whose table MODEL_CARD.md shows; none by default."
)
_MAX_MIB = flags.DEFINE_float(
  "max_mib", 16.0, "Fails if the folder is larger, so that it can be handed out.", 0.0
)


def main(experiment: cli.Experiment) -> None:
  output = pathlib.Path(_OUTPUT.value or f"pretrained/{experiment.config.name}")
  params, meta, step = checkpoint.load_for_acting(experiment.workdir / "checkpoints", _STEP.value)
  sizes = export.write(
    output,
    jax.device_get(params),
    meta,
    precision=_PRECISION.value,
    episodes=_demonstrations(experiment.workdir, sorted(meta["specs"])),
  )
  card = model_card.render(
    meta,
    output,
    workdir=experiment.workdir,
    precision=_PRECISION.value,
    results=pathlib.Path(_RESULTS.value) if _RESULTS.value else None,
  )
  files.write(output / "MODEL_CARD.md", card)

  parts = ", ".join(f"{name} {size / 2**20:.2f}" for name, size in sizes.items())
  mib = sum(sizes.values()) / 2**20
  print(f"export: step {step} of {experiment.workdir} is in {output}: {mib:.2f} MiB ({parts})")

  if mib > _MAX_MIB.value:
    raise GatoError(
      f"{output} has {mib:.2f} MiB, more than --max_mib={_MAX_MIB.value:g}: choose a lower "
      "--precision, fewer --episodes or --steps, or a higher --max_mib"
    )


def _demonstrations(
  workdir: pathlib.Path, tasks: list[str]
) -> dict[str, list[demonstrations.Demonstration]]:
  """Returns the beginnings of a few demonstrations of each task that has some."""
  if not _EPISODES.value:
    return {}

  shortened = {}
  for task in tasks:
    # Documents have none.
    if demonstrations.exist(workdir, task):
      shortened[task] = [
        (
          {name: column[: _STEPS.value] for name, column in observation.items()},
          action[: _STEPS.value],
        )
        for observation, action in demonstrations.read(workdir, task)[: _EPISODES.value]
      ]
  return shortened


if __name__ == "__main__":
  cli.run(main, buckets=True)
