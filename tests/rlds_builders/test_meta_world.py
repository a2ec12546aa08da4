"""Meta-World: seeds, the horizon, success, the parts of the observation, the scripted policies."""

import os
import subprocess
import sys

import metaworld
import numpy as np
import pytest
from scipy import stats

from gato_jax.env import loop
from gato_jax.env.collect import perturbations
from rlds_builders import meta_world
from rlds_builders.meta_world import environment as environment_lib

DOMAIN = meta_world.DOMAIN


def _make(task):
  environment = DOMAIN.make_environment(task)
  return environment, DOMAIN.make_expert(environment, task)


def _trajectory(environment, expert, seed, steps):
  """Observations [steps + 1, 39], float64."""
  environment.seed(seed)
  timestep = environment.reset()
  expert.reset(seed)
  states = [environment.state.copy()]
  for _ in range(steps):
    timestep = environment.step(expert.act(timestep))
    states.append(environment.state.copy())

  return np.stack(states)


def test_tasks_are_all_of_metaworld():
  assert sorted(DOMAIN.tasks) == sorted(metaworld.env_dict.ALL_V3_ENVIRONMENTS)
  assert set(DOMAIN.held_out) <= set(DOMAIN.tasks)


# plate-slide and hammer move bodies of the model at reset: what an earlier episode left must not
# show.
@pytest.mark.parametrize("task", ["reach-v3", "plate-slide-v3", "hammer-v3"])
def test_an_episode_depends_on_its_seed_alone(task):
  fresh, fresh_expert = _make(task)
  used, used_expert = _make(task)
  first = _trajectory(fresh, fresh_expert, 7, 40)
  other = _trajectory(used, used_expert, 8, 40)
  np.testing.assert_array_equal(_trajectory(used, used_expert, 7, 40), first)
  assert np.abs(first[0] - other[0]).max() > 1e-3


def test_ten_seeds_give_ten_goals():
  environment, _ = _make("reach-v3")
  goals = []
  for seed in range(10):
    environment.seed(seed)
    goals.append(tuple(environment.reset().observation["goal"].tolist()))
  assert len(set(goals)) == 10


@pytest.mark.parametrize("task", DOMAIN.tasks)
def test_observation_holds_the_current_frame_and_the_goal(task):
  environment, expert = _make(task)
  environment.seed(0)
  timestep = environment.reset()

  for _ in range(3):
    for key, spec in environment.observation_spec().items():
      spec.validate(timestep.observation[key])
    np.testing.assert_array_equal(
      timestep.observation["frame"], environment.state[:18].astype(np.float32)
    )
    np.testing.assert_array_equal(
      timestep.observation["goal"], environment.gym._target_pos.astype(np.float32)
    )

    action = expert.act(timestep)
    environment.action_spec().validate(action)
    timestep = environment.step(action)


def test_horizon_and_success_at_any_step():
  # The coffee button springs back: successful at about step 40, not at the last one.
  environment, expert = _make("coffee-button-v3")
  last_success = []
  on_info = environment.on_info
  environment.on_info = lambda info: (on_info(info), last_success.append(info["success"]))
  episodes = list(loop.run_episodes([environment], loop.PerSlot([expert]), [0, 1]))

  assert [e.length for e in episodes] == [environment_lib.HORIZON] * 2
  assert [e.success for e in episodes] == [True, True]
  assert last_success[-1] == 0.0

  environment.seed(2)
  environment.reset()

  assert environment.episode_info() == {"success": False}


@pytest.mark.parametrize("task", ["reach-v3", "button-press-topdown-wall-v3"])
def test_expert_succeeds_and_earns_far_more_than_random(task):
  environment, expert = _make(task)
  random = loop.RandomExpert(environment.action_spec(), "test")
  (played,) = loop.run_episodes([environment], loop.PerSlot([expert]), [0])
  (tried,) = loop.run_episodes([environment], loop.PerSlot([random]), [0])
  assert played.success and not tried.success
  assert played.episode_return > 3 * tried.episode_return


def test_pushes_have_nothing_to_do_with_the_scene():
  """Perturbations drawn from default_rng(seed), as the scene is, depended on the scene.

  They pushed the dials at x < 0 in all episodes, the others in none.
  """
  environment, expert = _make("dial-turn-v3")
  pushed = perturbations.PushedExpert(
    expert, "meta_world.dial-turn-v3", environment.action_spec(), 0.25
  )
  first = []

  for seed in range(80):
    environment.seed(seed)
    timestep = environment.reset()
    pushed.reset(seed)
    offset = pushed.act(timestep) - pushed.expert_action
    first.append([environment.state[4], offset.any(), *offset])  # where the dial is along x

  dial, is_pushed, *offsets = np.array(first).T

  assert (
    0.3 < is_pushed[dial < np.median(dial)].mean() < 0.7
  )  # 40 coins: within 3 standard deviations

  for offset in offsets:
    drawn = is_pushed > 0
    assert abs(stats.spearmanr(dial[drawn], offset[drawn]).statistic) < 0.5


_RENDER = """
from gato_jax.errors import GatoError
from rlds_builders import meta_world
environment = meta_world.DOMAIN.make_environment("reach-v3")
environment.seed(0)
environment.reset()
try:
  frame = environment.render()
  print(frame.shape, frame.dtype, frame.std() > 10)
except GatoError as e:
  print(e)
"""


def _render(**variables):
  clean = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
  env = {**clean, "PYTHONPATH": os.pathsep.join(sys.path), **variables}
  result = subprocess.run([sys.executable, "-c", _RENDER], env=env, capture_output=True, text=True)
  return result.stdout.strip()


def test_render():
  assert _render() == "(128, 128, 3) uint8 True"


def test_a_renderer_that_cannot_start_is_named_in_one_line():
  message = _render(PYOPENGL_PLATFORM="osmesa")  # MuJoCo then refuses to use EGL
  assert "MUJOCO_GL=egl" in message and "libegl1" in message and "\n" not in message


def test_the_papers_45_and_all_50_are_one_config_line_away():
  """A config names PAPER_TASKS or DOMAIN.tasks; a bare weight leaves assembly out."""
  from experiments import cli
  from experiments.configs import default

  def chosen(mix):
    config = default.get_config()
    config.domains = default.domains(meta_world=mix)
    return {task for _, task in cli.Experiment(config).tasks}

  every = set(metaworld.env_dict.ALL_V3_ENVIRONMENTS)

  assert len(every) == 50 and chosen((8.96, *meta_world.DOMAIN.tasks)) == every
  assert chosen(8.96) == every - {"assembly-v3"}

  paper = chosen((8.96, *meta_world.PAPER_TASKS))

  assert len(paper) == 45 and paper < chosen(8.96)
