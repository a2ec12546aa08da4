"""Plays a checkpoint in its environments, random actions beside it: python -m experiments.evaluate --config=...

Rows go to <workdir>/results.jsonl; those that exist are not played again. Expert rows are those of collection.
"""

import functools

import tqdm

from experiments import cli
from gato_jax import agent, evaluate, logs, results
from gato_jax.errors import GatoError
from gato_jax.report import videos


def main(experiment: cli.Experiment) -> None:
  config = experiment.section(evaluate.EvaluateConfig, "evaluate")
  act = experiment.section(agent.ActConfig, "act")
  policy = agent.Policy(experiment.workdir)
  path = experiment.workdir / "results.jsonl"
  present = {(row.task, row.actor, row.seed) for row in results.read(path)}
  jobs = []
  for domain, task in experiment.control_tasks:
    name = f"{domain.name}.{task}"
    expert = logs.rows(logs.task_directory(experiment.raw, domain.name, task))
    if not expert:
      raise GatoError(f"no expert episodes of {name} in {experiment.raw}; run python -m experiments.collect")
    results.append(path, [row for row in expert if (row.task, row.actor, row.seed) not in present])
    for actor, step, episodes in (("random", 0, config.random_episodes), ("gato", policy.step, config.episodes)):
      seeds = evaluate.missing_seeds(path, name, actor, step, episodes)
      if seeds:
        jobs.append((domain, task, actor, step, seeds))
  with tqdm.tqdm(total=sum(len(j[-1]) for j in jobs), unit="episode", desc="evaluate", dynamic_ncols=True) as bar:
    for domain, task, actor, step, seeds in jobs:
      name = f"{domain.name}.{task}"
      bar.set_postfix_str(f"{name}, {actor}")
      keywords = {}
      make_actor = evaluate.random_actor
      if actor == "gato":
        make_actor = lambda environments, name=name: policy.actor(name, len(environments), act)  # noqa: E731
        keywords["check_spec"] = policy.check_environment
        if config.videos:
          keywords["on_frames"] = functools.partial(videos.write_rollout, experiment.workdir / "videos", name)
      for row in evaluate.play(domain, task, make_actor, actor, seeds, config.slots, step=step, **keywords):
        results.append(path, [row])
        bar.update()
  print(f"evaluate: rows of {len(experiment.control_tasks)} tasks are in {path}")


if __name__ == "__main__":
  cli.run(main)
