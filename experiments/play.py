"""Lets a trained network play, to be watched: python -m experiments.play

The network plays a task of every domain whose simulator is installed, and a page shows a video of
each beside the scores of random actions and of the expert. The page is written again after every
domain, and the same command continues where it was interrupted.

Chosen tasks:               --task=babyai.GoToObj,meta_world.reach-v3 --episodes=10
In a window, in real time:  --task=babyai.GoToObj --show [--attention]
Another network:            --checkpoint=work/demo (by default pretrained/generalist)
"""

import collections
import importlib.metadata
import pathlib
import sys

import numpy as np
from absl import flags
from packaging import requirements

import rlds_builders
from experiments import cli
from experiments.analysis.report import page, table
from gato_jax import agent, evaluate
from gato_jax.domain import SimulatedDomain
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines, evaluation, jobs, scores, simulator_pool
from gato_jax.model import abstract_params, count_parameters
from gato_jax.storage import lock

SHIPPED = "pretrained/generalist"

_TASK = flags.DEFINE_list(
  "task",
  [],
  "Tasks to play, as domain.task, with * and ? for any letters; by default one of each domain, "
  "drawn by --seed.",
)
_EPISODES = flags.DEFINE_integer("episodes", 3, "Episodes of each task.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed that draws the task of each domain.", 0)
_OUT = flags.DEFINE_string("out", "", "Folder of the page; work/play/<name> by default.")
_SHOW = flags.DEFINE_bool("show", False, "Plays one task in a window instead, until Esc is hit.")
_ATTENTION = flags.DEFINE_bool(
  "attention", False, "With --show: lights up what the first layer attends to in the image."
)


def main(experiment: cli.Experiment) -> None:
  policy = agent.Policy(experiment.workdir)
  chosen = _chosen(experiment, policy)

  if _SHOW.value:
    _show(experiment, policy, [task for of_domain in chosen.values() for task in of_domain])
  elif _ATTENTION.value:
    raise GatoError("--attention lights up the image in a window: give --show as well")
  else:
    _play(experiment, policy, chosen)


def _chosen(experiment: cli.Experiment, policy: agent.Policy) -> dict[str, jobs.Tasks]:
  """Returns domain name -> the tasks that are played, and prints what cannot be.

  Raises:
    GatoError: No task is left.
  """
  tasks = experiment.matching(_TASK.value, "--task") if _TASK.value else experiment.control_tasks
  known: dict[str, list[tuple[SimulatedDomain, str]]] = collections.defaultdict(list)
  for domain, task in tasks:
    if isinstance(domain, SimulatedDomain) and cli.name_of(domain, task) in policy.tasks:
      known[domain.name].append((domain, task))
  if not known:
    wanted = f"--task={','.join(_TASK.value)}" if _TASK.value else "any control task"
    domains = sorted({task.partition(".")[0] for task in policy.tasks})
    raise GatoError(
      f"the network in {experiment.workdir} was not trained on {wanted}; it knows tasks of "
      f"{', '.join(domains)}"
    )

  random = np.random.default_rng(_SEED.value)
  chosen: dict[str, jobs.Tasks] = {}
  for name, of_domain in known.items():
    drawn = of_domain if _TASK.value else [of_domain[random.integers(len(of_domain))]]
    if lacking := missing_packages(name):
      print(
        f"play: {name} is left out, pip install {' '.join(map(repr, lacking))}", file=sys.stderr
      )
    else:
      chosen[name] = drawn

  if not chosen:
    raise GatoError("play: the simulators of these tasks are not installed")
  return chosen


def missing_packages(domain: str) -> list[str]:
  """Returns the requirements of a domain whose packages are not installed."""
  path = rlds_builders.scores_path(domain).with_name("requirements.txt")
  if not path.exists():
    return []

  lacking = []
  for line in path.read_text().splitlines():
    requirement = line.partition("#")[0].strip()
    # Options of pip and addresses name no package.
    if not requirement or requirement.startswith("-"):
      continue
    try:
      importlib.metadata.distribution(requirements.Requirement(requirement).name)
    except importlib.metadata.PackageNotFoundError:
      lacking.append(requirement)

  return lacking


def _play(
  experiment: cli.Experiment, policy: agent.Policy, by_domain: dict[str, jobs.Tasks]
) -> None:
  """Plays domain by domain, and writes the page after each."""
  out = pathlib.Path(_OUT.value or f"work/play/{experiment.config.name}")
  act = experiment.section(agent.ActConfig, "act")

  # No more slots than are used: the engine compiles a program for every size of a batch.
  most = _EPISODES.value * max(map(len, by_domain.values()))
  workers = min(most, simulator_pool.default_workers())
  config = evaluate.EvaluateConfig(episodes=_EPISODES.value, baselines="scores", workers=workers)

  failed: list[str] = []
  scored: list[scores.TaskScore] = []
  with (
    lock.only_writer(out, "play"),
    simulator_pool.Simulators(config, out / "simulators.log") as simulators,
  ):
    for number, (name, of_domain) in enumerate(by_domain.items(), 1):
      run = evaluation.Evaluation(of_domain, out, config=config, simulators=simulators)
      run.check_settings(act)
      run.baselines(
        lambda domain, task: [],
        rlds_builders.scores,
      )

      run.play(run.missing(policy.step), f"[{number}/{len(by_domain)}] {name}", policy, act=act)
      run.record_videos(policy, act)
      failed += [failure.task for failure in run.failures]

      if any(row.actor == results.POLICY for row in run.rows):
        first = not scored
        index, scored = _write_page(experiment, policy, act, out)
        if first:
          print(f"play: the first videos are in {index.resolve()}, more follow", file=sys.stderr)

  if not scored:
    raise GatoError(f"no episode could be played; {out / 'simulators.log'} says why")
  table.show(scored, [])
  print(f"play: {index.resolve()}")
  if failed:
    raise GatoError(
      f"{len(failed)} episodes failed, of {', '.join(sorted(set(failed)))}; see "
      f"{out / 'failures.jsonl'}, the same command plays them again"
    )


def _write_page(
  experiment: cli.Experiment, policy: agent.Policy, act: agent.ActConfig, out: pathlib.Path
) -> tuple[pathlib.Path, list[scores.TaskScore]]:
  """Writes the page of what has been played; returns its path and its scores."""
  facts = {
    "network": str(experiment.workdir),
    "parameters": count_parameters(abstract_params(policy.model_config)),
    "sampling": f"temperature {act.temperature}, prompt: {act.prompt}",
    "commands": [f"python -m experiments.play --checkpoint={experiment.workdir}"],
  }
  return page.write(
    out / "report",
    out / "results.jsonl",
    experiment.workdir / "metrics.jsonl",
    out / "videos",
    facts,
    step=policy.step,
    baselines=baselines.read(out),
  )


def _show(experiment: cli.Experiment, policy: agent.Policy, tasks: jobs.Tasks) -> None:
  """Plays one task in a window, episode after episode."""
  if len(tasks) != 1 or not _TASK.value:
    raise GatoError("--show plays one task: name it, as --task=babyai.GoToObj")

  # Imports pygame, which greets.
  from experiments.analysis import window

  ((domain, task),) = tasks
  name = cli.name_of(domain, task)
  act = experiment.section(agent.ActConfig, "act")
  overlay = None
  if _ATTENTION.value:
    overlay = window.AttentionOverlay(experiment.workdir, policy.layout(name))

  episodes = window.play(domain, task, policy.actor(name, 1, act), _EPISODES.value, overlay)
  for episode in episodes:
    print(f"play: seed {episode.seed}: return {episode.episode_return:.4g}, {episode.length} steps")


if __name__ == "__main__":
  cli.run(main, plays=True, default_checkpoint=SHIPPED, buckets=True)
