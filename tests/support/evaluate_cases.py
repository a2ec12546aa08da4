"""Rows and processes that tests of the evaluation share."""

import dataclasses
import json
import os
import pathlib
import time

import broken_domain
from evaluate_process import STEP, Wanderer

import rlds_builders
from gato_jax.env.sequential import play

ROOT = pathlib.Path(__file__).resolve().parents[2]


SUPPORT = ROOT / "tests" / "support"


DUMMY = rlds_builders.get("dummy")


def facts(rows):
  """Rows without their times, sorted; duplicates are kept."""
  return sorted(dataclasses.astuple(dataclasses.replace(row, seconds=0.0)) for row in rows)


def sequential(tasks, seeds, step=STEP):
  """Plays the same episodes in this process, one after the other."""

  class Actor:
    def __init__(self, task):
      self._engine, self._task = Wanderer(), task

    def reset(self, slot, seed):
      self._engine.start(slot, self._task, seed)

    def act(self, timesteps):
      observations = {slot: t.observation for slot, t in timesteps.items()}
      return self._engine.act({slot: {"clock": o["clock"]} for slot, o in observations.items()})

  domain = broken_domain.DOMAIN
  return [
    row
    for t in tasks
    for row in play(domain, t, lambda _, t=t: Actor(t), "gato", seeds, 1, step=step)
  ]


def failures(workdir):
  return [json.loads(line) for line in (workdir / "failures.jsonl").read_text().splitlines()]


def children_of(workdir) -> list[str]:
  """Simulator processes that log into the workdir."""
  found = []

  for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
      if b"gato_jax.evaluate.simulator_process" in (process / "cmdline").read_bytes():
        if os.readlink(process / "fd" / "2") == str(workdir / "simulators.log"):
          found.append(process.name)
    except OSError:  # it ended meanwhile
      continue

  return found


def wait(condition, seconds=600.0):
  until = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < until, "waited in vain"
    time.sleep(0.01)
