"""Turns raw logs into RLDS datasets, one process, no simulator: python -m experiments.build --config=...

What is built is kept; a dataset with fewer episodes than there are logs is built again.
"""

import tqdm

from experiments import cli
from rlds_builders import _builder


def main(experiment: cli.Experiment) -> None:
  built = 0
  bar = tqdm.tqdm(experiment.tasks, unit="dataset", desc="build", dynamic_ncols=True)
  for domain, task in bar:
    bar.set_postfix_str(f"{domain.name}.{task}")
    built += _builder.build(domain, task, experiment.raw, experiment.tfds)
  print(f"build: {built} of {len(experiment.tasks)} datasets built, the others were there, in {experiment.tfds}")


if __name__ == "__main__":
  cli.run(main)
