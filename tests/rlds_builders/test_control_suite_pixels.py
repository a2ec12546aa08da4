"""The control suite from pixels: one small image a step, the benchmark's tasks.

Experts see the state.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import rlds_builders
from gato_jax.env import loop
from rlds_builders import control_suite_pixels
from rlds_builders.worlds.suite import environment as control_suite

DOMAIN = control_suite_pixels.DOMAIN


def test_tasks_are_the_benchmark():
  benchmark = control_suite.suite.BENCHMARKING
  assert (
    sorted(DOMAIN.tasks) == sorted("-".join(task) for task in benchmark) and len(DOMAIN.tasks) == 28
  )
  assert "cartpole-swingup" in DOMAIN.held_out and set(DOMAIN.held_out) < set(DOMAIN.tasks)


@pytest.mark.parametrize("task", DOMAIN.tasks)
def test_pictures_are_there_and_move(task):
  environment = DOMAIN.make_environment(task)
  ((name, spec),) = environment.observation_spec().items()
  environment.seed(1)
  timesteps = [environment.reset()]
  action = environment.action_spec().maximum
  timesteps += [environment.step(action) for _ in range(10)]
  environment.close()
  frames = [t.observation["pixels"] for t in timesteps]

  assert name == "pixels" and all(list(t.observation) == ["pixels"] for t in timesteps)

  for frame in frames:
    spec.validate(frame)

  assert frames[0].shape == (64, 64, 3) and frames[0].dtype == np.uint8
  assert frames[0].std() > 5 and frames[0].mean() > 20  # no black picture
  assert np.any(frames[0] != frames[-1])


def test_a_picture_depends_on_its_seed_only():
  environment = DOMAIN.make_environment("reacher-easy")

  def first(seed):
    environment.seed(seed)
    return environment.reset().observation["pixels"].copy()

  frame, other, again = first(1), first(2), first(1)
  environment.close()

  np.testing.assert_array_equal(frame, again)
  assert np.any(frame != other)


def test_the_expert_acts_on_the_state_behind_the_pixels():
  environment = DOMAIN.make_environment("cartpole-balance")
  expert = DOMAIN.make_expert(environment, "cartpole-balance")

  def play(actor, steps=150):
    environment.seed(1)
    timestep = environment.reset()
    actor.reset(1)
    total = 0.0
    for _ in range(steps):
      timestep = environment.step(actor.act(timestep))
      total += timestep.reward

    return total

  good, chance = play(expert), play(loop.RandomExpert(environment.action_spec(), "test"))
  environment.close()

  assert good > 145 > 130 > chance

  environment = control_suite.make("cartpole-balance")

  assert good == play(
    DOMAIN.make_expert(environment, "cartpole-balance")
  )  # pictures change nothing


def test_the_scores_are_the_suites():
  """Neither experts nor random actions see the image, so the returns are exactly the same."""
  pixels, states = (
    json.loads(rlds_builders.scores_path(name).read_text())
    for name in (DOMAIN.name, "control_suite")
  )
  assert pixels == {**{task: states[task] for task in DOMAIN.tasks}, "how": pixels["how"]}


def test_without_a_display_it_says_what_to_install():
  code = "from rlds_builders import control_suite_pixels as p; p.DOMAIN.make_environment('pendulum-swingup').reset()"
  done = subprocess.run(
    [sys.executable, "-c", code],
    env={**os.environ, "MUJOCO_GL": "disable"},
    capture_output=True,
    text=True,
  )
  last = done.stderr.strip().splitlines()

  assert done.returncode == 1 and any(
    "control_suite_pixels: cannot render" in line for line in last
  ), done.stderr
