"""Collecting with simulators that crash, hang, raise and exhaust memory, and a killed collector."""

import collections
import os
import pathlib
import subprocess
import sys

import collect_process
import failing_domain
import numpy as np
import pytest

from experiments import collect as verb
from gato_jax.env import collect, logs, results
from gato_jax.env.results import Failure
from gato_jax.errors import GatoError

pytestmark = pytest.mark.alone  # limits the memory of processes

EPISODES = 15


def collection(raw, *tasks, **changes):
  settings = dict(episodes=EPISODES, workers=2, episode_seconds=60.0, memory_gb=0.6)
  config = collect.CollectConfig(**(settings | changes))
  return collect.Collection([(failing_domain.DOMAIN, task) for task in tasks], raw, config)


def directory(raw, task):
  return logs.task_directory(raw, "failing", task)


def seeds(raw, task):
  return [row.seed for row in logs.rows(directory(raw, task))]


def failures(raw, task):
  return list(results.read(directory(raw, task) / "failures.jsonl", Failure))


def assert_logs_are_whole(raw, task):
  """Asserts that the logs hold every row's episode, with its own seed."""
  environment = failing_domain.make("fine")

  for shard in logs.shards(directory(raw, task)):
    for row, columns in logs.read_shard(shard):
      environment.seed(row.seed)
      np.testing.assert_array_equal(
        columns["observation/camera"][0], environment.reset().observation["camera"]
      )

  assert not list(directory(raw, task).glob("*.partial"))


@pytest.mark.parametrize(
  ("task", "reason"),
  [
    ("crash", "ended by signal SIGSEGV"),
    ("hang", "no end after 10 s"),
    ("eat", "more than 0.6 GB of memory"),
    ("raise", "ValueError: the simulator is broken"),
  ],
)
def test_a_simulator_that_fails_costs_its_episode_only(tmp_path, capsys, task, reason):
  seconds = (
    10.0 if task == "hang" else 60.0
  )  # an episode of the other tasks may take long on a busy machine
  verb.run(collection(tmp_path, task, "fine", episode_seconds=seconds))
  expected = [seed for seed in range(EPISODES) if seed not in failing_domain.BAD_SEEDS]

  assert seeds(tmp_path, task) == expected and seeds(tmp_path, "fine") == list(range(EPISODES))
  assert collections.Counter(f.seed for f in failures(tmp_path, task)) == dict.fromkeys(
    failing_domain.BAD_SEEDS, 2
  )
  assert all(reason in f.reason and f.task == f"failing.{task}" for f in failures(tmp_path, task))
  assert_logs_are_whole(tmp_path, task)

  said = capsys.readouterr()

  assert f"collect: 2 episodes were skipped (2 of failing.{task})" in said.out
  assert f"failing.{task} 15/15" in said.err and "4 failures" in said.err
  assert collection(tmp_path, task, "fine").is_complete


def test_an_episode_that_fails_once_is_not_lost(tmp_path, monkeypatch):
  monkeypatch.setenv(failing_domain.ONCE, str(tmp_path))
  one = collection(tmp_path / "raw", "slow_once_crash")
  verb.run(one)

  assert (
    seeds(tmp_path / "raw", "slow_once_crash") == list(range(EPISODES)) and not one.skipped
  )  # nor repeated
  assert sorted(f.seed for f in failures(tmp_path / "raw", "slow_once_crash")) == list(
    failing_domain.BAD_SEEDS
  )
  assert_logs_are_whole(tmp_path / "raw", "slow_once_crash")


def test_a_task_that_always_fails_is_left_for_the_next_run(tmp_path):
  with pytest.raises(
    GatoError,
    match="1 tasks were given up after failures in a row, failing.never: OSError: no disp",
  ):
    verb.run(collection(tmp_path, "never", "fine"))
  assert seeds(tmp_path, "fine") == list(range(EPISODES))
  assert (
    6 <= len(failures(tmp_path, "never")) <= 8
  )  # two attempts at three episodes, and at one of the other worker
  assert collection(tmp_path, "never").missing == {"failing.never": EPISODES}


def played(path):
  return collections.Counter(path.read_text().splitlines())


def test_a_killed_collector_goes_on_without_losing_or_repeating_an_episode(tmp_path):
  """The collector is killed again and again, and its workers die with it.

  Only episodes that were running, or in a part not yet written, are played again.
  """
  raw, note = tmp_path / "raw", tmp_path / "played"
  paths = os.pathsep.join([str(pathlib.Path(collect_process.__file__).parent), *sys.path])
  environment = {**os.environ, "PYTHONPATH": paths, "FAILING_DOMAIN_PLAYED": str(note)}
  command = [sys.executable, collect_process.__file__, raw, "24", "slow"]
  safe: list[int] = []

  for _ in range(3):
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    process.stdout.readline()  # some are safe
    process.kill()
    process.communicate()
    kept = [row for index in range(3) for row in logs.partial_rows(directory(raw, "slow"), index)]
    kept = [row.seed for row in kept] + seeds(raw, "slow")

    assert len(set(kept)) == len(kept) and set(safe) < set(kept)

    begun = played(note)
    again = subprocess.run(
      command[:2] + [raw, "0", "slow"], env=environment, check=True, capture_output=True
    )

    assert played(note) == begun and not again.stdout  # no worker went on

    note.write_text("")

    assert not {int(line.split()[1]) for line in begun} & set(
      safe
    )  # what was safe is not played again

    safe = kept

  subprocess.run(command, env=environment, check=True, capture_output=True)

  assert seeds(raw, "slow") == list(range(24))
  assert_logs_are_whole(raw, "slow")


def test_two_collectors_do_not_write_the_same_shards(tmp_path):
  one, other = collection(tmp_path, "slow"), collection(tmp_path, "slow")
  running = one.play()
  next(running)

  with pytest.raises(
    GatoError, match=r"another process collects failing.slow into .*; wait for it, or end it"
  ):
    list(other.play())

  running.close()
  for _ in collection(tmp_path, "slow").play():
    pass

  assert seeds(tmp_path, "slow") == list(range(EPISODES))
