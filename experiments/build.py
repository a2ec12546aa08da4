"""Raw logs -> RLDS datasets, prepared for training, one process, no simulator: python -m experiments.build --config=...

What is there is kept; a dataset with fewer episodes than there are logs is built again, a prepared form that does not
fit its dataset is written again.
"""

import tqdm

from experiments import cli
from gato_jax.data import prepare
from gato_jax.tokens import codec
from rlds_builders import _builder


def main(experiment: cli.Experiment) -> None:
  built = prepared = 0
  text = codec.default_text_codec()
  bar = tqdm.tqdm(experiment.tasks, unit="dataset", desc="build", dynamic_ncols=True)
  for domain, task in bar:
    bar.set_postfix_str(f"{domain.name}.{task}")
    built += _builder.build(domain, task, experiment.raw, experiment.tfds)
    prepared += prepare.prepare(experiment.tfds, f"{domain.name}.{task}", text)
  total = len(experiment.tasks)
  print(f"build: {built} of {total} datasets built, {prepared} prepared, the others were there, in {experiment.tfds}")


if __name__ == "__main__":
  cli.run(main)
