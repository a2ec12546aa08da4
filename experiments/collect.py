"""Collects the expert episodes that are missing: python -m experiments.collect --config=experiments/configs/demo.py"""

import tqdm

from experiments import cli
from gato_jax import collect


def main(experiment: cli.Experiment) -> None:
  config = experiment.section(collect.CollectConfig, "collect")
  missing = {
    f"{domain.name}.{task}": sum(
      len(seeds) for _, seeds in collect.missing_shards(domain, task, experiment.raw, config)
    )
    for domain, task in experiment.control_tasks
  }
  total = sum(missing.values())
  if not total:
    print(f"collect: nothing to do, all episodes of {len(missing)} tasks are in {experiment.raw}")
    return
  with tqdm.tqdm(total=total, unit="episode", desc="collect", dynamic_ncols=True) as bar:
    for task, episodes in collect.collect(experiment.control_tasks, experiment.raw, config):
      missing[task] -= episodes
      bar.update(episodes)
      bar.set_postfix_str(f"{task}, {sum(n > 0 for n in missing.values())} tasks left")


if __name__ == "__main__":
  cli.run(main)
