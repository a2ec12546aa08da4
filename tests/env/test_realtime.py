"""Control at a fixed rate, on a clock that the test sets.

Deadlines that are met or missed, and what the world does meanwhile.
"""

import re

import commands
import dm_env
import numpy as np
import pytest
from dm_env import specs

from gato_jax.env import realtime
from gato_jax.errors import GatoError


class Clock:
  """A clock whose time passes only when a test advances it."""

  def __init__(self):
    self.time = 100.0

  def now(self) -> float:
    return self.time

  def sleep(self, seconds: float) -> None:
    assert seconds >= 0
    self.time += seconds


class World:
  """Environment that rewards each action by its value and keeps the actions."""

  def __init__(self, clock: Clock, length: int = 1000, step_seconds: float = 0.0):
    self._clock, self._length, self._step_seconds = clock, length, step_seconds
    self.taken: list[float] = []
    self.seeds: list[int] = []

  def seed(self, seed):
    self.seeds.append(seed)

  def reset(self):
    self._left = self._length
    return dm_env.restart(np.float32(0))

  def action_spec(self):
    return specs.BoundedArray((), np.float32, 0, 100)

  def step(self, action):
    self._clock.time += self._step_seconds
    self.taken.append(float(action))
    self._left -= 1
    return (dm_env.transition if self._left else dm_env.termination)(
      reward=float(action), observation=np.float32(0)
    )


class Slow:
  """Actor that returns the count of its calls; each takes the next of `seconds`."""

  def __init__(self, clock: Clock, seconds: list[float]):
    self._clock, self._seconds, self.asked = clock, seconds, 0

  def reset(self, slot, seed):
    pass

  def act(self, timesteps):
    self._clock.time += self._seconds[self.asked]
    self.asked += 1
    return dict.fromkeys(timesteps, np.float32(self.asked))


def run(seconds, hz=10.0, **world):
  clock = Clock()
  environment = World(clock, **world)
  result = realtime.control(
    environment, Slow(clock, seconds), hz, len(seconds), 5, now=clock.now, sleep=clock.sleep
  )
  return result, environment, clock.time - 100.0


def test_actions_in_time_meet_every_deadline():
  result, world, passed = run([0.05] * 20)
  assert (result.met, result.requested, result.world_steps) == (20, 20, 20)
  assert world.taken == list(range(1, 21))
  assert passed == pytest.approx(
    0.05 + 20 * 0.1
  )  # the first action is waited for, then ten steps a second


def test_while_an_action_is_late_the_world_goes_on_with_the_one_before():
  result, world, passed = run([0.05, 0.05, 0.25, 0.05, 0.11])
  assert world.taken == [1, 2, 2, 2, 3, 4, 4, 5]
  assert (result.met, result.requested, result.world_steps) == (3, 5, 8)
  assert passed == pytest.approx(0.05 + 8 * 0.1)


def test_the_first_action_of_an_episode_is_waited_for():
  result, world, _ = run([0.95, 0.01, 0.95, 0.01], length=2)
  assert world.taken == [1, 2, 3, 4] and world.seeds == [5, 6, 7]
  assert result.met == 2 and result.returns == [3, 7]


def test_a_slow_simulator_is_not_counted_against_the_actor():
  result, world, _ = run([0.05] * 10, step_seconds=0.5)
  assert result.met == 10 and world.taken == list(range(1, 11))


def test_an_episode_that_ends_while_an_action_is_late_does_not_take_it():
  _, world, _ = run([0.01, 0.35, 0.01], length=3)
  assert world.taken == [1, 1, 1, 3]


def test_the_summary_says_what_was_met():
  result, *_ = run([0.05, 0.05, 0.25, 0.05], length=4)
  assert "met 3 of 4 deadlines at 10 Hz (75.00 %)" in str(
    result
  ) and "at most 250.00 ms of 100.0" in str(result)


def test_held_actions_are_asked_for_in_every_kth_step_of_each_slot():
  clock = Clock()
  inner = Slow(clock, [0.0] * 10)
  actor = realtime.ActionRepeat(inner, 3)
  timestep = dm_env.restart(np.float32(0))
  actor.reset(0, 0)
  first = [float(actor.act({0: timestep})[0]) for _ in range(4)]

  assert first == [1, 1, 1, 2] and inner.asked == 2

  actor.reset(1, 0)

  assert {slot: float(a) for slot, a in actor.act({0: timestep, 1: timestep}).items()} == {
    0: 2,
    1: 3,
  }

  actor.reset(0, 0)

  assert float(actor.act({0: timestep})[0]) == 4


@pytest.mark.parametrize("hz, steps", [(0, 5), (-1, 5), (20, 0)])
def test_a_rate_that_is_none_is_refused(hz, steps):
  clock = Clock()
  with pytest.raises(GatoError, match="both must be positive"):
    realtime.control(World(clock), Slow(clock, []), hz, steps, 0, now=clock.now, sleep=clock.sleep)
  with pytest.raises(GatoError, match="held for at least 1 step, not 0"):
    realtime.ActionRepeat(Slow(clock, []), 0)


def verb(workdir, *flags):
  config = ("--config=experiments/configs/dummy.py", f"--config.workdir={workdir}")
  return commands.run("experiments.realtime", *config, "--config.act.prompt=none", *flags)


def test_the_verb_controls_an_environment(small_workdir):
  done = verb(
    small_workdir, "--task=dummy.reach", "--hz=100", "--steps=60", "--config.act.action_steps=2"
  )
  assert done.returncode == 0, done.stderr
  assert re.search(r"met \d+ of 60 deadlines at 100 Hz", done.stdout), done.stdout


@pytest.mark.parametrize(
  "flags, message",
  [
    (["--task=reach"], "--task='reach' is no task; it looks like"),
    (
      ["--task=dummy.reech", "--hz=20"],
      "unknown task of domain dummy: 'reech'; did you mean 'reach'",
    ),
    (
      ["--task=dummy.reach", "--hz=20", "--server=ws://127.0.0.1:1"],
      "nobody listens; is the port right",
    ),
  ],
)
def test_mistakes_end_in_one_line(small_workdir, flags, message):
  done = verb(small_workdir, *flags)
  assert done.returncode == 1 and message in done.stderr and "Traceback" not in done.stderr, (
    done.stderr
  )
