"""Collects the expert episodes that are missing: python -m experiments.collect --config=experiments/configs/demo.py

The same command again goes on where a kill, a crash or Ctrl-C ended it. Where a task is no longer what its episodes
were collected of (another spec, agent_id, expert, environment, disturbance, or changed code in its folder), they are
moved aside and it is collected anew; --accept_changes keeps them instead.
"""

import sys
import time

import tqdm

from experiments import cli
from gato_jax import collect
from gato_jax.errors import GatoError


def run(collection: collect.Collection) -> None:
  """Collects with a bar; a line for each attempt that failed and for each task that is done.

  Raises:
    GatoError: of tasks that were given up, when all others are collected.
  """
  missing = collection.missing
  done, failures = dict.fromkeys(missing, 0), 0
  with tqdm.tqdm(total=sum(missing.values()), unit="episode", desc="collect", dynamic_ncols=True) as bar:
    for task, outcome in collection.play():
      if isinstance(outcome, int):
        done[task] += outcome
        bar.update(outcome)
      elif isinstance(outcome, collect.Changed):
        say = f"{outcome.what}; the old episodes are in {outcome.aside}, collecting {outcome.episodes} anew"
        bar.write(say, file=sys.stderr)
        bar.total += outcome.episodes
        done[task] = 0
      else:
        failures += 1
        bar.write(f"{task}, seed {outcome.seed}: {outcome.reason}", file=sys.stderr)
      over = {other: n + collection.skipped[other] for other, n in done.items()}
      rate = done[task] / (time.monotonic() - collection.began[task])
      text = f"{task} {over[task]}/{missing[task]}, {rate:.3g}/s"
      if over[task] == missing[task]:
        bar.write(f"{text}, {collection.skipped[task]} skipped", file=sys.stderr)
      if rate:
        text += f", {tqdm.tqdm.format_interval((missing[task] - over[task]) / rate)} left"
      tasks_left = sum(n > over[other] for other, n in missing.items())
      bar.set_postfix_str(f"{text}; {tasks_left} tasks left, {failures} failures")
  skipped = {task: n for task, n in collection.skipped.items() if task not in collection.given_up}
  if skipped:
    which = ", ".join(f"{n} of {task}" for task, n in skipped.items())
    print(
      f"collect: {sum(skipped.values())} episodes were skipped ({which}); failures.jsonl beside their logs says why"
    )
  if collection.given_up:
    task, reason = next(iter(collection.given_up.items()))
    raise GatoError(
      f"{len(collection.given_up)} tasks were given up after failures in a row, {task}: {reason}; see {collection.log} "
      "and failures.jsonl beside the logs, the same command goes on with them"
    )


def main(experiment: cli.Experiment) -> None:
  tasks = [(domain, task) for domain, task in experiment.all_tasks if domain.environment]
  config = experiment.section(collect.CollectConfig, "collect")
  collection = collect.Collection(tasks, experiment.raw, config, accept=cli.ACCEPT.value)
  run(collection)
  if collection.is_complete:
    print(f"collect: nothing to do, all episodes of {len(collection.missing)} tasks are in {experiment.raw}")


if __name__ == "__main__":
  cli.run(main)
