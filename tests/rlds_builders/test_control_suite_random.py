"""The randomised suites: scaled bodies that follow from the seed, and experts that plan on them."""

import json
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from dm_control import suite

from gato_jax.env import loop
from rlds_builders import control_suite_random_large, control_suite_random_small
from rlds_builders.control_suite_random_large import environment as large
from rlds_builders.planners import rollouts
from rlds_builders.worlds.suite import environment as control_suite
from rlds_builders.worlds.suite import randomised

_TASKS = control_suite_random_small.DOMAIN.tasks
# Reed et al. 2022, appendix F.3; docs/paper.md
_SUITES = {
  "small": (control_suite_random_small.DOMAIN, ((0.9, 0.95), (1.05, 1.1))),
  "large": (control_suite_random_large.DOMAIN, ((0.6, 0.8), (1.2, 1.4))),
}
_KINDS = {"gear", "range", "stiffness", "damping", "size", "density"}


def _bits(model: mujoco.MjModel) -> bytes:
  buffer = np.empty(mujoco.mj_sizeModel(model), np.uint8)
  mujoco.mj_saveModel(model, None, buffer)
  return buffer.tobytes()


def _inside(scales, intervals) -> np.ndarray:
  return np.any([(scales > low - 1e-4) & (scales < high + 1e-4) for low, high in intervals], axis=0)


def test_tasks_are_the_benchmark_without_finger_turns():
  benchmark = {"-".join(task) for task in suite.BENCHMARKING}
  assert set(_TASKS) == benchmark - {"finger-turn_easy", "finger-turn_hard"} and len(_TASKS) == 26
  for domain, _ in _SUITES.values():
    assert domain.tasks == _TASKS and "cartpole-swingup" in domain.held_out
    assert domain.name in domain.environment


@pytest.mark.parametrize(
  ("which", "task"), [*(("large", task) for task in _TASKS), ("small", "humanoid-walk")]
)
def test_each_ratio_lies_in_the_intervals_and_is_the_episodes(which, task):
  domain, intervals = _SUITES[which]
  nominal = control_suite.make(task).physics.model.ptr
  environment = domain.make_environment(task)
  environment.seed(5)
  environment.reset()
  varied, info = environment.physics.model.ptr, environment.episode_info()["variation"]

  assert json.loads(json.dumps(info)) == info and set(info) <= _KINDS

  seen = {kind: 0 for kind in _KINDS}

  def compare(kind, names, ours, theirs, of):
    for i in np.flatnonzero(np.any(theirs.reshape(of, -1) != 0, axis=1)):
      mine, other = ours.reshape(of, -1)[i], theirs.reshape(of, -1)[i]
      ratios = mine[other != 0] / other[other != 0]
      assert np.all(_inside(ratios, intervals)), (kind, i, ratios)
      np.testing.assert_allclose(ratios, info[kind][names(i).name or str(seen[kind])], rtol=1e-4)
      seen[kind] += 1

  compare("gear", nominal.actuator, varied.actuator_gear, nominal.actuator_gear, nominal.nu)
  compare("range", nominal.joint, varied.jnt_range, nominal.jnt_range, nominal.njnt)
  compare("stiffness", nominal.joint, varied.jnt_stiffness, nominal.jnt_stiffness, nominal.njnt)

  for i in range(nominal.njnt):
    address = nominal.jnt_dofadr[i]
    name = nominal.joint(i).name

    if task == "finger-spin" and name == "hinge":
      assert varied.dof_damping[address] == 0.03  # the task itself sets it
    elif nominal.dof_damping[address]:
      ratio = varied.dof_damping[address] / nominal.dof_damping[address]
      assert _inside(ratio, intervals)
      assert ratio == pytest.approx(info["damping"][name or str(i)], rel=1e-4)

  moving = nominal.body_weldid[nominal.geom_bodyid] > 0
  sizes = np.where(moving[:, None], nominal.geom_size, 0)
  compare("size", nominal.geom, varied.geom_size, sizes, nominal.ngeom)
  planes = (
    nominal.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
  )  # no task touches these, unlike its targets

  np.testing.assert_array_equal(varied.geom_size[planes], nominal.geom_size[planes])
  assert seen["gear"] == nominal.nu and seen["size"] == moving.sum() == len(info["density"])
  assert np.all(_inside(np.array(list(info["density"].values())), intervals))


def test_the_density_scales_the_mass():
  """Compares a body of one sphere, a capsule with explicit mass, and the cheetah.

  The cheetah's file gives its total mass.
  """
  for task, body, geom, power in (
    ("ball_in_cup-catch", "ball", "ball", 3),
    ("cartpole-balance", "cart", "cart", 0),
  ):
    environment = large.make(task)
    environment.seed(2)
    environment.reset()
    info = environment.episode_info()["variation"]
    ratio = (
      environment.physics.model.ptr.body(body).mass
      / control_suite.make(task).physics.model.ptr.body(body).mass
    )

    assert ratio[0] == pytest.approx(info["density"][geom] * info["size"][geom] ** power, rel=1e-3)

  nominal = control_suite.make("cheetah-run").physics.model.ptr
  spec = randomised.nominal_spec(nominal)

  np.testing.assert_allclose(spec.compile().body_mass, nominal.body_mass, rtol=1e-4)


@pytest.mark.parametrize("task", ["humanoid-walk", "fish-swim"])
def test_the_model_follows_from_the_seed_bit_for_bit(task):
  one, two = large.make(task), large.make(task)

  def drawn(environment, seed):
    environment.seed(seed)
    timestep = environment.reset()
    return _bits(environment.physics.model.ptr), environment.episode_info(), timestep.observation

  drawn(two, 8)  # what was played before must not matter
  (bits, info, observation), (again, info_again, observation_again) = drawn(one, 7), drawn(two, 7)

  assert bits == again and info == info_again

  for key, value in observation.items():
    np.testing.assert_array_equal(value, observation_again[key])
  two.reset()

  assert (
    _bits(two.physics.model.ptr) != bits and two.episode_info() != info
  )  # redrawn every episode


@pytest.mark.parametrize("task", ["reacher-easy", "walker-walk"])
def test_experts_plan_on_the_episodes_body(task):
  """The planner's prediction in the second episode is what the environment then does."""
  domain = control_suite_random_large.DOMAIN
  environment = domain.make_environment(task)
  expert = domain.make_expert(environment, task)

  for seed in (1, 2):
    environment.seed(seed)
    timestep = environment.reset()
    expert.reset(seed)
    expert.act(timestep)

  model = expert._planner._source
  actions = (
    np.random.default_rng(0)
    .uniform(-1, 1, (1, 20, environment.action_spec().shape[0]))
    .astype(np.float32)
  )
  start = rollouts.full_state(model, environment.physics.data.ptr)
  planned = rollouts.simulate(
    model, mujoco.MjData(model), start, actions.astype(float), environment.substeps
  )
  positions = []
  for action in actions[0]:
    environment.step(action)
    positions.append(environment.physics.data.qpos.copy())

  np.testing.assert_allclose(planned.qpos[0], positions, atol=1e-6)


@pytest.mark.parametrize("which", _SUITES)
def test_the_expert_beats_chance(which):
  domain, _ = _SUITES[which]
  environment = domain.make_environment("point_mass-easy")
  expert = domain.make_expert(environment, "point_mass-easy")
  actors = expert, loop.RandomExpert(environment.action_spec(), "test")
  returns = []

  for actor in actors:
    (episode,) = loop.run_episodes([environment], loop.PerSlot([actor]), [1])
    assert episode.info["variation"]["gear"]
    returns.append(episode.episode_return)

  assert returns[0] > 500 > 100 > returns[1]


_PICTURES = """
import numpy as np
from rlds_builders.control_suite_random_large import environment as large
environment = large.make("ball_in_cup-catch")
frames = []
for seed in (1, 2):
  environment.seed(seed)
  environment.reset()
  frames.append(environment.render())
environment.close()
assert all(f.shape == (128, 128, 3) and f.std() > 1 for f in frames) and np.any(frames[0] != frames[1])
"""


def test_pictures_show_the_episodes_body():
  """Renders in a process of its own: this one imported MuJoCo before a display was chosen."""
  subprocess.run([sys.executable, "-c", _PICTURES], check=True)
