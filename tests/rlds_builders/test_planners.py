"""Planners on a cart that has to stop at 1 m: they get there, are repeatable and keep bounds.

Also rollouts and the tree search.
"""

import mujoco
import numpy as np
import pytest

from rlds_builders.planners import lqr, rollouts, sampling, search

_XML = """
<mujoco>
  <option timestep="0.01" gravity="0 0 0"/>
  <worldbody>
    <body name="cart">
      <joint name="x" type="slide" axis="1 0 0" damping="0.5"/>
      <geom size="0.1" mass="1"/>
      <site name="front" pos="0.1 0 0"/>
    </body>
  </worldbody>
  <actuator><motor joint="x" ctrlrange="-2 1" gear="3"/></actuator>
  <sensor><framepos name="front.pos" objtype="site" objname="front"/></sensor>
</mujoco>
"""
_SUBSTEPS = 4
_BASE = sampling.Settings(horizon=30, knot_interval=6, samples=24, noise=0.8)
_KINDS = {
  "mppi": {},
  "predictive sampling": {"temperature": 0.0},
  "cem": {"elites": 6, "iterations": 2},
  "cubic": {"spline": "cubic"},
  "coarse": {"coarse": 2},
  "spread and fresh": {"spread": 5.0, "fresh": 0.25},
}


def _model():
  return mujoco.MjModel.from_xml_string(_XML)


def _score(t):
  return -np.abs(t.qpos[..., 0] - 1) - 0.02 * np.abs(t.qvel[..., 0])


def _drive(planner, model, steps=60):
  """Positions [T] and actions [T, A] of one episode from rest at 0."""
  data = mujoco.MjData(model)
  positions, actions = [], []

  for _ in range(steps):
    data.ctrl[:] = planner.act(data)
    mujoco.mj_step(model, data, _SUBSTEPS)
    positions.append(data.qpos[0])
    actions.append(data.ctrl.copy())

  return np.array(positions), np.array(actions)


@pytest.mark.parametrize("kind", _KINDS)
def test_a_planner_gets_there_within_bounds_and_repeats_itself(kind):
  model = _model()
  settings = sampling.Settings(**{**_BASE.__dict__, **_KINDS[kind]})
  planner = sampling.SamplingPlanner(model, _score, settings, _SUBSTEPS)
  planner.reset(3)
  positions, actions = _drive(planner, model)

  assert np.all(np.abs(positions[-10:] - 1) < 0.1)
  assert actions.min() >= -2 and actions.max() <= 1

  planner.reset(3)

  np.testing.assert_array_equal(_drive(planner, model)[0], positions)

  planner.reset(4)

  assert np.any(_drive(planner, model)[0] != positions)


def test_a_planner_reads_the_models_parameters_at_reset():
  model = _model()
  planner = sampling.SamplingPlanner(
    model, _score, sampling.Settings(**{**_BASE.__dict__, "coarse": 2}), _SUBSTEPS
  )
  planner.reset(0)
  strong, _ = _drive(planner, model)
  model.actuator_gear[0, 0] = -1  # weaker, and the other way round
  planner.reset(0)
  weak, _ = _drive(planner, model, 120)

  assert np.argmax(weak > 0.5) > np.argmax(strong > 0.5)
  assert np.all(np.abs(weak[-10:] - 1) < 0.15)


def test_around_a_law_plans_are_differences_from_it():
  model = _model()
  gain = lqr.gain(model, np.zeros(1), np.array([10.0, 1.0]), 1.0, _SUBSTEPS)

  def law(qpos, qvel):
    return -gain @ np.concatenate([qpos - 1, qvel])

  def flat(t):
    return np.zeros(t.qpos.shape[:2])  # no plan beats another

  settings = sampling.Settings(**{**_BASE.__dict__, "noise": 0.0})
  alone, actions = _drive(sampling.SamplingPlanner(model, flat, settings, _SUBSTEPS, law), model)

  assert abs(alone[-1] - 1) < 0.05

  data = mujoco.MjData(model)

  assert actions[0] == np.clip(law(data.qpos, data.qvel), -2, 1)

  faster, _ = _drive(sampling.SamplingPlanner(model, _score, _BASE, _SUBSTEPS, law), model)

  assert np.abs(faster - 1).sum() < np.abs(alone - 1).sum()


def test_rollouts_are_the_steps_of_the_simulator():
  model = _model()
  data = mujoco.MjData(model)
  data.qvel[0] = 0.3
  actions = np.random.default_rng(0).uniform(-2, 1, (3, 5, 1))
  state = rollouts.full_state(model, data)
  played = rollouts.simulate(model, mujoco.MjData(model), state, actions, _SUBSTEPS)

  for b in range(3):
    mujoco.mj_setState(model, data, state, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    for t in range(5):
      data.ctrl[:] = actions[b, t]
      mujoco.mj_step(model, data, _SUBSTEPS)
      mujoco.mj_forward(model, data)

      np.testing.assert_allclose(played.qpos[b, t], data.qpos)
      np.testing.assert_allclose(played.qvel[b, t], data.qvel)
      np.testing.assert_allclose(
        played.sensor("front.pos")[b, t], data.site("front").xpos, atol=1e-12
      )


def test_the_regulators_cost_to_go_falls_along_its_path():
  model = _model()
  gain, cost = lqr.regulator(model, np.zeros(1), np.array([10.0, 1.0]), 1.0)
  data = mujoco.MjData(model)
  data.qpos[0] = 0.05
  costs = []

  for _ in range(20):
    state = np.concatenate([data.qpos, data.qvel])
    costs.append(state @ cost @ state)
    data.ctrl[:] = -gain @ state
    mujoco.mj_step(model, data)

  assert np.all(np.diff(costs) < 0)


def test_search_finds_a_policy_that_gets_there():
  model = _model()
  starts = np.zeros((4, len(rollouts.full_state(model, mujoco.MjData(model)))))
  starts[:, 1] = [-0.5, 0, 0.5, 2]
  settings = search.SearchSettings(iterations=25, directions=12, steps=40, trial=0.2, move=0.2)

  def features(qpos, qvel):
    return np.concatenate([qpos, qvel], axis=-1)

  found = list(search.search(model, starts, features, _score, settings, _SUBSTEPS))
  first, last = (np.mean([score for _, score in part]) for part in (found[:5], found[-5:]))

  assert last > 0.75 * first  # scores are negative distances

  policy, score = found[-1]
  again = list(search.search(model, starts, features, _score, settings, _SUBSTEPS))[-1]

  assert again[1] == score
  assert policy(np.zeros((3, 2))).shape == (3, 1)
