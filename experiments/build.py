"""Raw logs -> RLDS datasets, prepared for training: python -m experiments.build --config=...

Runs in one process without a simulator. A dataset that still agrees with its sources is kept. One
whose logs, declaration, code or files changed is built again, which is reported; one of another
origin is moved aside. A prepared form that does not fit its dataset is written again.

With --corrections it builds what experiments.dagger logged of a run instead.

A task without anything to build from is an error, or with --config.leave_out_missing a line that
says how to get its data.
"""

import sys

from absl import flags

from experiments import cli
from gato_jax import progress
from gato_jax.data import prepare
from gato_jax.documents import ImageConfig
from gato_jax.domain import DocumentDomain
from gato_jax.env import logs
from gato_jax.errors import GatoError, MissingData
from rlds_builders.base import rlds_builder

_FILE_FORMAT = flags.DEFINE_enum(
  "file_format",
  None,
  rlds_builder.FILE_FORMATS,
  "Format of the RLDS records: tfrecord (default), which every reader of TFDS opens, or "
  "array_record, which is read by index. Only where it is given are recorded episodes, too, copied "
  "into RLDS.",
)
_CORRECTIONS = flags.DEFINE_bool(
  "corrections", False, "Builds the corrections of the run's policy, in its workdir."
)


def main(experiment: cli.Experiment) -> None:
  if _CORRECTIONS.value:
    build_corrections(experiment)
  else:
    build(experiment)


def build_corrections(experiment: cli.Experiment) -> None:
  """Builds a dataset of each task that has corrections."""
  raw, tfds_dir = experiment.corrections / "raw", experiment.corrections / "tfds"
  tasks = [
    (domain, task)
    for domain, task in experiment.control_tasks
    if logs.shards(logs.task_directory(raw, domain.name, task))
  ]
  if not tasks:
    raise GatoError(f"no corrections in {raw}; run python -m experiments.dagger")

  text = experiment.text_codec()
  for domain, task in progress.Bar(tasks, unit="dataset", desc="build"):
    rlds_builder.build(domain, task, raw=raw, tfds_dir=tfds_dir)
    prepare.prepare(tfds_dir, cli.name_of(domain, task), text)

  print(f"build: corrections of {len(tasks)} tasks are in {tfds_dir}")


def build(experiment: cli.Experiment) -> None:
  built = prepared = 0
  missing: dict[str, list[str]] = {}  # name of a domain or a task -> why there is no data
  text = experiment.text_codec()
  image_side = experiment.section(ImageConfig, "images").side

  bar = progress.Bar(experiment.all_tasks, unit="dataset", desc="build")
  for domain, task in bar:
    name = cli.name_of(domain, task)
    bar.set_postfix_str(name)

    try:
      built += rlds_builder.build(
        domain,
        task,
        raw=experiment.raw,
        tfds_dir=experiment.tfds,
        side=image_side,
        file_format=_FILE_FORMAT.value,
        copy_recorded=_FILE_FORMAT.value is not None,
      )
    except MissingData as e:
      if not experiment.config.leave_out_missing:
        raise

      # Document tasks have sources of their own; the tasks of a simulator are all obtained alike,
      # so that one line for the domain is enough.
      missing_name = name if isinstance(domain, DocumentDomain) else domain.name
      missing.setdefault(missing_name, []).append(str(e))

      # A dataset that was built elsewhere needs no sources here.
      if not experiment.dataset(domain, task).exists():
        continue

    source = rlds_builder.episode_source(domain, task)
    prepared += prepare.prepare(experiment.tfds, name, text, source=source)

  for name, reasons in missing.items():
    others = f" (and {len(reasons) - 1} more tasks)" if len(reasons) > 1 else ""
    print(f"left out: {name}: {reasons[0]}{others}", file=sys.stderr)

  total = len(experiment.all_tasks)
  left_out = sum(map(len, missing.values()))
  others = f"{left_out} left out, the others" if missing else "the others"
  print(
    f"build: {built} of {total} datasets built, {prepared} prepared, {others} were there, "
    f"in {experiment.tfds}"
  )


if __name__ == "__main__":
  cli.run(main)
