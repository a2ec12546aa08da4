"""Runs an experiment anywhere: python -m launch submit --on=BACKEND --config=FILE --name=NAME

FILE is experiments/configs/NAME.py. Settings of the experiment are changed as for training:
--config.train.steps=1000. --dry_run shows all that would be sent and sends nothing. For TPU slices
the training step is compiled first, and a step that does not fit is refused (--nopreflight submits
it all the same). Backends and their settings: docs/launch.md.
"""

import json
import subprocess
import sys

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from gato_jax.train.hardware import GIB
from launch import image, jobs, notify, settings, watch
from launch.jobs import JobState

_ON = flags.DEFINE_enum("on", None, list(settings.BACKENDS), "Where to run.")
_NAME = flags.DEFINE_string("name", None, "Of the job; its workdir is work/NAME. a-z, 0-9 and '-'.")
_VERB = flags.DEFINE_enum("verb", "train", jobs.VERBS, "What to run: experiments.VERB.")
_DRY_RUN = flags.DEFINE_bool(
  "dry_run", False, "Shows everything that would be sent, and sends nothing."
)
_PREFLIGHT = flags.DEFINE_bool(
  "preflight", True, "Compiles the step for the slice first, and refuses what does not fit."
)
_WAIT = flags.DEFINE_bool(
  "wait", False, "Waits until the job is over, and exits with 1 unless it is done."
)
_EVERY = flags.DEFINE_integer("every", 10, "With --wait: seconds between two looks.", 1)
_NOTIFY = flags.DEFINE_string(
  "notify", "", "With --wait: URL that is told when the job is over (JSON, with a text for chats)."
)
_STRICT = flags.DEFINE_bool(
  "strict", False, "Refuses an image whose code is not that of this checkout (launch image --push)."
)
_VERB_FLAGS = flags.DEFINE_multi_string(
  "flag", [], "Of the verb, e.g. --flag=--follow; may be given several times."
)

# So that --help shows the flags of the settings, too.
settings.define_flags()
flags.adopt_module_key_flags(settings)


def preflight(backend: jobs.Backend, job: jobs.Job) -> None:
  """Compiles the step for the slices that the backend asks for; other backends are not checked.

  Raises:
    GatoError: The step does not fit.
  """
  topology = getattr(backend, "topology", "")
  if not topology:
    return

  count = getattr(backend, "slices", 1)
  slices = f"{count}*{topology}" if count > 1 else topology

  # In a process of its own: libtpu is loaded there, and its memory is returned.
  config = [f"--config={job.config}", *(o for o in job.overrides if o.startswith("--config."))]
  command = [sys.executable, "-m", "launch", "preflight", *config, f"--topology={slices}", "--json"]
  print(
    f"compiling the training step for {slices} (--nopreflight leaves this out) ...",
    file=sys.stderr,
    flush=True,
  )
  done = subprocess.run(command, cwd=jobs.ROOT, capture_output=True, text=True)

  # The exit status is 1 in both cases: JSON tells a step that does not fit from a failure.
  if not done.stdout.startswith("{"):
    lines = done.stderr.strip().splitlines() or ["it says nothing"]
    raise GatoError(f"pre-flight failed: {lines[-1]}")

  facts = json.loads(done.stdout)
  total = facts["total"] / GIB
  usable = facts["device_usable"] / GIB
  need = f"{total:.1f} GiB a device of {usable:.1f} usable"
  if facts["fits"]:
    print(f"fits: {need}", file=sys.stderr)
    return

  advice = "take a larger slice"
  if facts["changes"]:
    # A change has several settings, some of which are two in one string.
    ways = []
    for change in facts["changes"]:
      names = " ".join(change["settings"]).split()
      ways.append(" ".join(f"--config.{name}" for name in names))
    advice = f"try {' or '.join(ways)}, or a larger slice"

  raise GatoError(
    f"{job.name} does not fit {slices}: {need}; {advice}; --nopreflight submits it all the same"
  )


def main(experiment: cli.Experiment) -> None:
  # It was parsed, so that a wrong override is an error here and not on the backend.
  del experiment

  if _ON.value is None or _NAME.value is None:
    raise GatoError(f"--on=BACKEND ({', '.join(settings.BACKENDS)}) and --name=NAME are needed")

  # The backend needs the arguments as they were given, not their values.
  configs = [a.removeprefix("--config=") for a in sys.argv if a.startswith("--config=")]
  overrides = [a for a in sys.argv if a.startswith("--config.")]
  if not configs:
    raise GatoError("--config=experiments/configs/NAME.py is missing")

  job = jobs.Job(
    _NAME.value,
    configs[-1],
    overrides=(*overrides, *_VERB_FLAGS.value),
    verb=_VERB.value,
  )
  if _NOTIFY.value and not _WAIT.value:
    raise GatoError("--notify needs --wait: it is this command that tells")
  if _NOTIFY.value and not _NOTIFY.value.startswith(("http://", "https://")):
    raise GatoError(f"--notify={_NOTIFY.value}: give the URL of a web hook, https://...")

  backend = image.chosen(settings.backend(_ON.value), _STRICT.value)
  if _DRY_RUN.value:
    for title, text in backend.render(job).items():
      print(f"--- {title}\n{text}", end="" if text.endswith("\n") else "\n")
    return

  if _PREFLIGHT.value and job.verb == "train":
    preflight(backend, job)

  steps = jobs.saved_steps(job)
  record = jobs.submit(backend, job)
  print(
    f"{job.name} is on {backend.name}: {record.handle}; python -m launch status --name={job.name}",
    flush=True,
  )
  if steps and job.verb == "train":
    print(f"{job.name} goes on from step {max(steps)}", flush=True)

  if _WAIT.value:
    state = JobState.UNKNOWN
    for state in watch.states(backend, record.handle, _EVERY.value):
      print(f"{job.name}: {state}", flush=True)
    if _NOTIFY.value:
      workdir = jobs.workdir_of(job, getattr(backend, "bucket", ""))
      notify.send(_NOTIFY.value, job, state=state, workdir=str(workdir))
    sys.exit(state != JobState.DONE)


if __name__ == "__main__":
  # The job's account reads and writes its buckets; whoever submits it may not be allowed to.
  cli.run(main, buckets=True, reaches=False)
