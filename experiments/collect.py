"""Collects the expert episodes that are missing: python -m experiments.collect --config=...

The same command continues after a kill, a crash or Ctrl-C. A task may no longer be the one that
its episodes were collected from (another spec, agent_id, expert, environment, disturbance, or
changed code in its folder). Its episodes are then moved aside and collected anew;
--accept_changes keeps them instead.
"""

import sys
import time

from experiments import cli
from gato_jax import progress
from gato_jax.domain import SimulatedDomain
from gato_jax.env import collect
from gato_jax.errors import GatoError


def run(collection: collect.Collection) -> None:
  """Collects with a progress bar, and prints a line for each failed attempt and each finished task.

  Raises:
    GatoError: Tasks were given up; all others are collected.
  """
  missing = collection.missing
  done = dict.fromkeys(missing, 0)
  failures = 0

  with progress.Bar(total=sum(missing.values()), unit="episode", desc="collect") as bar:
    for task, outcome in collection.play():
      if isinstance(outcome, int):
        done[task] += outcome
        bar.update(outcome)
      elif isinstance(outcome, collect.MovedAside):
        bar.write(
          f"{outcome.reason}; the old episodes are in {outcome.aside}, "
          f"collecting {outcome.episodes} anew",
          file=sys.stderr,
        )
        # What was counted of this task lies aside now and has to be collected again.
        bar.total += outcome.episodes
        done[task] = 0
      else:
        failures += 1
        bar.write(f"{task}, seed {outcome.seed}: {outcome.reason}", file=sys.stderr)

      # Skipped episodes are finished too, but they say nothing about the rate.
      finished = {name: count + collection.skipped[name] for name, count in done.items()}
      rate = done[task] / (time.monotonic() - collection.began[task])

      text = f"{task} {finished[task]}/{missing[task]}, {rate:.3g}/s"
      if finished[task] == missing[task]:
        bar.write(f"{text}, {collection.skipped[task]} skipped", file=sys.stderr)
      if rate:
        seconds_left = (missing[task] - finished[task]) / rate
        text += f", {progress.Bar.format_interval(seconds_left)} left"

      tasks_left = sum(count > finished[name] for name, count in missing.items())
      bar.set_postfix_str(f"{text}; {tasks_left} tasks left, {failures} failures")

  skipped = {
    task: count for task, count in collection.skipped.items() if task not in collection.given_up
  }
  if skipped:
    counts = ", ".join(f"{count} of {task}" for task, count in skipped.items())
    print(
      f"collect: {sum(skipped.values())} episodes were skipped ({counts}); "
      "failures.jsonl beside their logs says why"
    )

  if collection.given_up:
    task, reason = next(iter(collection.given_up.items()))
    raise GatoError(
      f"{len(collection.given_up)} tasks were given up after failures in a row, {task}: {reason}; "
      f"see {collection.log} and failures.jsonl beside the logs, the same command goes on with them"
    )


def main(experiment: cli.Experiment) -> None:
  tasks = [
    (domain, task) for domain, task in experiment.all_tasks if isinstance(domain, SimulatedDomain)
  ]
  config = experiment.section(collect.CollectConfig, "collect")
  collection = collect.Collection(tasks, experiment.raw, config, accept=cli.ACCEPT.value)

  run(collection)

  if collection.is_complete:
    print(
      f"collect: nothing to do, all episodes of {len(collection.missing)} tasks "
      f"are in {experiment.raw}"
    )


if __name__ == "__main__":
  cli.run(main)
