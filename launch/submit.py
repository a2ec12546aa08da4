"""Runs an experiment anywhere: python -m launch submit --on=BACKEND --config=experiments/configs/NAME.py --name=NAME

Settings of the experiment are changed as for training: --config.train.steps=1000. --dry_run shows all that would be
sent and sends nothing. For TPU slices the training step is compiled first, and what does not fit is refused
(--nopreflight submits it all the same). Backends and their settings: docs/launch.md.
"""

import json
import subprocess
import sys

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from gato_jax.hardware import GIB
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
flags.adopt_module_key_flags(settings)  # --help shows them


def preflight(backend: jobs.Backend, job: jobs.Job) -> None:
  """Raises GatoError where the step does not fit the slices that the backend asks for; others are not looked at."""
  topology = getattr(backend, "topology", "")
  if not topology:
    return
  slices = f"{backend.slices}*{topology}" if backend.slices > 1 else topology
  config = [f"--config={job.config}", *(o for o in job.overrides if o.startswith("--config."))]
  command = [sys.executable, "-m", "launch", "preflight", *config, f"--topology={slices}", "--json"]
  print(f"compiling the training step for {slices} (--nopreflight leaves this out) ...", file=sys.stderr, flush=True)
  done = subprocess.run(command, cwd=jobs.ROOT, capture_output=True, text=True)
  if not done.stdout.startswith("{"):
    raise GatoError(f"pre-flight failed: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
  found = json.loads(done.stdout)
  need = f"{found['total'] / GIB:.1f} GiB a device of {found['device_usable'] / GIB:.1f} usable"
  if not found["fits"]:
    ways = [" ".join(f"--config.{s}" for s in " ".join(c["settings"]).split()) for c in found["changes"]]
    advice = f"try {' or '.join(ways)}, or a larger slice" if ways else "take a larger slice"
    raise GatoError(f"{job.name} does not fit {slices}: {need}; {advice}; --nopreflight submits it all the same")
  print(f"fits: {need}", file=sys.stderr)


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
  if _PREFLIGHT.value and job.verb == "train":
    preflight(backend, job)
  record = jobs.submit(backend, job)
  print(f"{job.name} is on {backend.name}: {record.handle}; python -m launch status --name={job.name}")


if __name__ == "__main__":
  cli.run(main)
