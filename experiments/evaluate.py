"""Plays a checkpoint in its environments, random actions beside it: python -m experiments.evaluate --config=...

Rows go to <workdir>/results.jsonl; those that exist are not played again. Expert rows are those of collection.
"""

import functools
import pathlib

import tqdm

from experiments import cli
from gato_jax import agent, environment_loop, evaluate, logs, results
from gato_jax.errors import GatoError
from gato_jax.report import videos

_FRAMES_A_SECOND = 8  # of videos of tasks without time


def write_video(folder: pathlib.Path, task: str, episode: environment_loop.Episode, frame_seconds: float) -> None:
  fps = 1 / frame_seconds if frame_seconds else _FRAMES_A_SECOND
  facts = dict(seed=episode.seed, episode_return=episode.episode_return, success=episode.success)
  videos.write_rollout(folder, task, episode.frames, fps, **facts)


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
    clean = [row for row in expert if row.actor == "expert"]  # the disturbed ones are for training only
    results.append(path, [row for row in clean if (row.task, row.actor, row.seed) not in present])
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
          keywords["on_frames"] = functools.partial(write_video, experiment.workdir / "videos", name)
      for row in evaluate.play(domain, task, make_actor, actor, seeds, config.slots, step=step, **keywords):
        results.append(path, [row])
        bar.update()
  print(f"evaluate: rows of {len(experiment.control_tasks)} tasks are in {path}")


if __name__ == "__main__":
  cli.run(main)
