"""A domain for tests of collecting: dummy's environments with the faults of simulators.

The task's name and the seed decide which fault occurs, in the third step of the episodes of
BAD_SEEDS.
"""

import dataclasses
import os
import pathlib
import signal
import time

import rlds_builders
from rlds_builders.dummy import environment, expert

BAD_SEEDS = (9, 11)
# a folder; a task with "once" in its name fails in an episode only one time
ONCE = "FAILING_DOMAIN_ONCE"
TASKS = ("fine", "slow", "crash", "hang", "eat", "raise", "slow_once_crash", "never")
DOMAIN = dataclasses.replace(
  rlds_builders.get("dummy"),
  name="failing",
  tasks=TASKS,
  environment="failing_domain:make",
  held_out=(),
)


class Failing(environment.Reach):
  def __init__(self, task: str):
    super().__init__(discrete=False)
    self._task, self._seed, self._eaten = task, 0, []

  def seed(self, seed: int) -> None:
    super().seed(seed)
    self._seed = seed
    if os.environ.get("FAILING_DOMAIN_PLAYED"):
      with open(os.environ["FAILING_DOMAIN_PLAYED"], "a") as file:
        file.write(f"{self._task} {seed}\n")

  def step(self, action):
    timestep = super().step(action)
    if "slow" in self._task:
      time.sleep(0.04)
    if self._seed in BAD_SEEDS and timestep.observation["clock"][0] == 3 and not self._spared():
      self._go_wrong()
    return timestep

  def _spared(self) -> bool:
    if "once" not in self._task:
      return False
    note = pathlib.Path(os.environ[ONCE]) / f"{self._task}-{self._seed}"
    known = note.exists()
    note.touch()
    return known

  def _go_wrong(self) -> None:
    if "crash" in self._task:
      os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in self._task:
      time.sleep(1e6)

    if self._task == "eat":
      while True:
        self._eaten.append(bytearray(b"x") * 50_000_000)
        time.sleep(0.05)

    if self._task == "raise":
      raise ValueError("the simulator\nis broken")


def make(task: str) -> Failing:
  if task == "never":
    raise OSError("no display")
  return Failing(task)


def make_other(task: str) -> environment.Reach:
  del task
  return environment.Reach(discrete=False)


def make_expert(reach: environment.Reach, task: str):
  return expert.make(reach, task)
