"""Raw logs -> RLDS datasets, prepared for training, one process, no simulator: python -m experiments.build --config=...

What is there and still of its sources is kept. A dataset whose logs, declaration, code or files changed is built again,
which is said; one of another origin is moved aside. A prepared form that does not fit its dataset is written again. A
task that there is nothing to build from is an error, or with --config.leave_out_missing a line that says how to get its
data.
"""

import sys

import tqdm

from experiments import cli
from gato_jax.data import prepare
from gato_jax.documents import PictureConfig
from gato_jax.errors import MissingData
from rlds_builders import _builder


def main(experiment: cli.Experiment) -> None:
  built = prepared = 0
  missing: dict[str, list[str]] = {}
  text, side = experiment.text_codec(), experiment.section(PictureConfig, "pictures").side
  bar = tqdm.tqdm(experiment.all_tasks, unit="dataset", desc="build", dynamic_ncols=True)
  for domain, task in bar:
    bar.set_postfix_str(f"{domain.name}.{task}")
    try:
      built += _builder.build(domain, task, experiment.raw, experiment.tfds, side)
    except MissingData as e:
      if not experiment.config.leave_out_missing:
        raise
      # Sets of documents come from here and there; the tasks of a simulator are all got alike.
      missing.setdefault(f"{domain.name}.{task}" if domain.documents else domain.name, []).append(str(e))
      if not experiment.dataset(domain, task).exists():  # else it was built where its data is
        continue
    prepared += prepare.prepare(experiment.tfds, f"{domain.name}.{task}", text)
  for name, reasons in missing.items():
    others = f" (and {len(reasons) - 1} more tasks)" if len(reasons) > 1 else ""
    print(f"left out: {name}: {reasons[0]}{others}", file=sys.stderr)
  total, left_out = len(experiment.all_tasks), sum(map(len, missing.values()))
  others = f"{left_out} left out, the others" if missing else "the others"
  print(f"build: {built} of {total} datasets built, {prepared} prepared, {others} were there, in {experiment.tfds}")


if __name__ == "__main__":
  cli.run(main)
