"""The control suite without velocities: the same episodes, one field less."""

import json

import numpy as np
import pytest

import rlds_builders
from rlds_builders import control_suite, control_suite_positions

DOMAIN = control_suite_positions.DOMAIN


@pytest.mark.parametrize("task", DOMAIN.tasks)
def test_only_velocities_are_missing(task):
  hidden, full = DOMAIN.make_environment(task), control_suite.DOMAIN.make_environment(task)
  action = full.action_spec().maximum

  def observations(environment):
    environment.seed(3)
    timesteps = [environment.reset()]
    timesteps += [environment.step(action) for _ in range(5)]
    environment.close()
    return [timestep.observation for timestep in timesteps]

  spec = full.observation_spec()
  del spec["velocity"]

  assert hidden.observation_spec().keys() == spec.keys() and spec

  for ours, suites in zip(observations(hidden), observations(full), strict=True):
    assert ours.keys() == spec.keys()
    for key in spec:
      np.testing.assert_array_equal(ours[key], suites[key])


def test_the_scores_are_the_suites():
  """Neither experts nor random actions see the observation, so the returns are the same."""
  ours, suites = (
    json.loads(rlds_builders.scores_path(name).read_text())
    for name in (DOMAIN.name, "control_suite")
  )
  assert ours == {**{task: suites[task] for task in DOMAIN.tasks}, "how": ours["how"]}
