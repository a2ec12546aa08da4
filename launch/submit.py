"""Runs an experiment anywhere: python -m launch submit --on=BACKEND --config=experiments/configs/NAME.py --name=NAME

Settings of the experiment are changed as for training: --config.train.steps=1000. --dry_run shows all that would be
sent and sends nothing. For TPU slices the training step is compiled first, and what does not fit is refused
(--nopreflight submits it all the same). Backends and their settings: docs/launch.md.
"""

import sys

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from launch import jobs, settings

_ON = flags.DEFINE_enum("on", None, list(settings.BACKENDS), "Where to run.")
_NAME = flags.DEFINE_string("name", None, "Of the job; its workdir is work/NAME. a-z, 0-9 and '-'.")
_VERB = flags.DEFINE_enum("verb", "train", jobs.VERBS, "What to run: experiments.VERB.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "Shows everything that would be sent, and sends nothing.")
_PREFLIGHT = flags.DEFINE_bool(
  "preflight", True, "Compiles the step for the slice first, and refuses what does not fit."
)
_VERB_FLAGS = flags.DEFINE_multi_string("flag", [], "Of the verb, e.g. --flag=--follow; may be given several times.")
settings.define_flags()


def main(experiment: cli.Experiment) -> None:
  del experiment  # parsed, so that a wrong override is an error here and not there
  if _ON.value is None or _NAME.value is None:
    raise GatoError(f"--on=BACKEND ({', '.join(settings.BACKENDS)}) and --name=NAME are needed")
  config = [a.removeprefix("--config=") for a in sys.argv if a.startswith("--config=")]
  if not config:
    raise GatoError("--config=experiments/configs/NAME.py is missing")
  overrides = [a for a in sys.argv if a.startswith("--config.")]
  job = jobs.Job(_NAME.value, config[-1], (*overrides, *_VERB_FLAGS.value), _VERB.value)
  backend = settings.backend(_ON.value)
  if _DRY_RUN.value:
    for title, text in backend.render(job).items():
      print(f"--- {title}\n{text}", end="" if text.endswith("\n") else "\n")
    return
  record = jobs.submit(backend, job)
  print(f"{job.name} is on {backend.name}: {record.handle}; python -m launch status --name={job.name}")


if __name__ == "__main__":
  cli.run(main)
