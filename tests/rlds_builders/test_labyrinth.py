"""The labyrinth: its levels' tasks, seeds, images, the map, and the expert that walks on it."""

import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.task import check_environment
from rlds_builders import labyrinth
from rlds_builders.labyrinth import environment
from rlds_builders.worlds import first_person, walking
from rlds_builders.worlds.first_person import FORWARD, LEFT, PICK_UP, RIGHT

DOMAIN = labyrinth.DOMAIN
DOOM = ("doom_my_way_home", "doom_health_gathering", "doom_health_gathering_supreme")
MINIWORLD = [
  task for task in DOMAIN.tasks if task not in DOOM and not task.startswith(labyrinth.DM_LAB)
]


def world(task: str, seed: int = 0) -> first_person.World:
  """Returns the first state of an episode."""
  made = environment.make(task).world
  made.reset(seed=seed)
  return made


def put(made: first_person.World, x: float, z: float, direction: float = 0.0) -> None:
  made.agent.pos, made.agent.dir = np.array([x, 0.0, z]), direction


def beside(made: first_person.World, entity) -> None:
  """Puts the agent where it touches an entity, without a step."""
  put(made, entity.pos[0] + entity.radius + made.agent.radius + 0.1, entity.pos[2])


@pytest.mark.parametrize("task", MINIWORLD)
def test_a_task_is_what_its_spec_says_comes_from_its_seed_and_is_solved(task):
  first, second = (DOMAIN.make_environment(task) for _ in range(2))
  spec = environment_task_spec(DOMAIN, task, first)

  assert spec.observation["image"].shape == (64, 80, 3) and first.world.limit <= 650

  check_environment(spec, first)
  pictures = []

  for made in (first, second):  # the second has played nothing before
    made.seed(7)
    assert made.reset().first()
    made.step(np.int32(FORWARD))
    made.step(np.int32(LEFT))
    pictures.append(made.world.render_obs())

  np.testing.assert_array_equal(*pictures)

  first.seed(8)

  assert np.abs(first.reset().observation["image"].astype(int) - pictures[1]).mean() > 1

  actor = loop.PerSlot([DOMAIN.make_expert(first, task)])
  (episode,) = loop.run_episodes([first], actor, [1_000_003])

  assert episode.success and episode.episode_return > 0.8

  for made in (first, second):
    made.close()


def test_environments_side_by_side_do_not_draw_into_each_other():
  a, b = environment.make("four_rooms"), environment.make("sidewalk")
  a.seed(1)
  before = a.reset().observation["image"]
  b.seed(2)
  b.reset()

  np.testing.assert_array_equal(a.world.render_obs(), before)
  assert a.render().shape == (256, 320, 3)


def test_the_goal_is_red_in_the_picture():
  made = world("one_room")
  target = made.box.pos
  put(made, 5.0, 5.0)
  made.box.pos = np.array([8.0, 0.0, 5.0])
  picture = made.render_obs().astype(int)
  red = (picture[..., 0] > 100) & (picture[..., 1:].max(-1) < 60)

  assert 60 < red.sum() < 1000 and 35 < np.nonzero(red)[1].mean() < 45  # ahead, in the middle

  made.box.pos = target


def test_walls_stop_and_turns_are_exact():
  made = world("one_room")
  put(made, 9.5, 5.0)
  made.box.pos = np.array([1.0, 0.0, 1.0])
  made.move(FORWARD)

  np.testing.assert_array_equal(
    made.agent.pos, [9.5, 0.0, 5.0]
  )  # 0.4 + 0.25 m from the wall it would be too near

  for _ in range(12):
    made.move(LEFT)
  made.move(FORWARD)

  np.testing.assert_allclose(made.agent.pos, [9.25, 0.0, 5.0], atol=1e-9)

  made.move(RIGHT)

  assert made.agent.dir == pytest.approx(math.radians(165))


def test_touching_the_goal_ends_the_episode_with_miniworlds_reward():
  made = environment.make("hallway")
  made.seed(3)
  made.reset()
  beside(made.world, made.world.box)
  timestep = made.step(np.int32(LEFT))

  assert timestep.last() and timestep.discount == 0 and made.episode_info() == {"success": True}
  assert timestep.reward == pytest.approx(1 - 0.2 / 120)


def test_the_limit_truncates():
  made = environment.make("hallway")
  made.reset()
  lasts = [made.step(np.int32(LEFT)) for _ in range(120)]
  assert [t.last() for t in lasts] == [False] * 119 + [True]
  assert lasts[-1].discount == 1 and made.episode_info() == {"success": False}


def test_the_street_ends_the_episode_without_reward():
  made = world("sidewalk")
  put(made, 0.5, 6.5)
  assert made.move(LEFT) == (0.0, True) and not made.success


def test_bad_apples_cost_and_spoil():
  made = world("forage_avoid")
  beside(made, made.bad[0])

  assert made.move(LEFT) == (-1.0, False)

  for apple in list(made.good):
    beside(made, apple)
    reward, over = made.move(LEFT)

  assert over and not made.success


def test_the_golden_apple_is_last():
  made = world("apples_in_order")
  beside(made, made.bad[0])

  assert made.move(LEFT) == (-1.0, True) and not made.success

  made = world("apples_in_order")
  rewards = []
  for _ in range(5):
    beside(made, made.good[0])
    rewards.append(made.move(LEFT))

  assert rewards == [(1.0, False)] * 4 + [(1.0, True)] and made.success
  assert "apples_in_order" in DOMAIN.held_out


def test_a_door_opens_to_who_has_the_key():
  made = world("key_door")
  key, door, box = made.queue
  put(made, door.pos[0] - 1.5, door.pos[2])
  for _ in range(12):
    assert made.move(FORWARD) == (0.0, False)

  assert made.agent.pos[0] < door.pos[0]

  beside(made, key)

  assert made.move(LEFT)[0] == 1.0

  put(made, door.pos[0] - 1.5, door.pos[2])

  assert made.move(FORWARD)[0] == 1.0 and door not in made.entities

  for _ in range(12):
    made.move(FORWARD)

  assert made.agent.pos[0] > door.pos[0]


@pytest.mark.parametrize(("task", "wrong"), [("odd_one_out", "wrong"), ("boxes_in_order", "queue")])
def test_the_wrong_object_ends_the_episode_without_reward(task, wrong):
  made = world(task, 4)
  beside(made, getattr(made, wrong)[-1])
  assert made.move(LEFT) == (0.0, True) and not made.success


def test_health_runs_out_and_medkits_fill_it():
  made = world("collect_health")
  put(made, -50.0, -50.0)
  outcomes = [made.move(LEFT) for _ in range(50)]
  assert outcomes == [(1.0, False)] * 49 + [(0.0, True)] and not made.success


def test_only_what_is_ahead_is_picked_up():
  made = world("pickup_objects")
  entity = made._remaining[0]
  beside(made, entity)
  made.agent.dir = 0.0  # it lies behind

  assert made.move(PICK_UP) == (0.0, False)

  made.agent.dir = math.pi

  assert made.move(PICK_UP) == (1.0, False) and entity not in made.entities


def test_one_is_put_elsewhere_after_finding_the_goal():
  made = world("return_to_goal")
  for found in range(1, 5):
    beside(made, made.box)
    assert made.move(LEFT) == (1.0, found == 4)
    assert found == 4 or not made.near(made.box)
  assert made.success


def room(*walls: list[list[float]]) -> np.ndarray:
  corners = np.array([[0, 0], [6, 0], [6, 4], [0, 4]], float)
  return np.concatenate(
    [np.stack([corners, np.roll(corners, -1, 0)], 1), *(np.array([w], float) for w in walls)]
  )


def test_paths_keep_the_body_off_walls_and_circles():
  floor = walking.Floor(room([[3, 0], [3, 2.5]]), 0.4)
  floor.place([(4.5, 3.0, 0.4)])
  start, goal = np.array([1.0, 0.8]), np.array([5.3, 0.8])
  path = floor.path(start, floor.field(floor.around(goal, 0.1))[1])

  assert np.linalg.norm(path[0] - start) < 0.3 and np.linalg.norm(path[-1] - goal) < 0.3
  assert floor.clearance(path).min() >= 0.4
  assert path[:, 1].max() > 2.9  # around the wall's end

  along = walking.Floor(room(), 0.4)  # beside the wall, but not close
  wall = along.path(np.array([0.6, 0.5]), along.field(along.around(np.array([5.4, 0.5]), 0.1))[1])

  assert wall[len(wall) // 2, 1] > 0.7

  for gap, passed in ((0.7, False), (1.1, True)):
    narrow = walking.Floor(room([[3, 0], [3, 2 - gap / 2]], [[3, 2 + gap / 2], [3, 4]]), 0.4)
    assert np.isfinite(narrow.distances(start)[narrow.around(goal, 0.1)]).all() == passed

  seen = floor.sees(start, np.array([[1.0, 3.2], [5.3, 0.8], [2.9, 0.8]]))

  assert seen.tolist() == [True, False, False]  # across the wall, into the wall


def test_the_walker_has_no_other_memory_than_its_goal():
  made = environment.make("four_rooms")
  made.seed(5)
  timestep = made.reset()
  old = DOMAIN.make_expert(made, "four_rooms")
  old.reset(5)

  while not timestep.last():
    new = DOMAIN.make_expert(made, "four_rooms")
    new.reset(5)
    action = old.act(timestep)

    assert action == new.act(timestep)

    before = made.world.agent.pos
    timestep = made.step(action)

    assert action != FORWARD or np.linalg.norm(made.world.agent.pos - before) == pytest.approx(
      0.25
    )  # never blocked


@pytest.mark.parametrize(
  ("before", "variables"),
  [
    ("import sys; sys.modules['pyglet.libs.egl'] = None", {}),  # no libEGL
    ("", {"__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent"}),  # no driver
  ],
)
def test_without_egl_there_is_one_clear_line(before, variables):
  code = f"{before}\nfrom rlds_builders.worlds import first_person\nfirst_person.World()"
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **variables}
  )
  assert done.returncode and "GatoError: miniworld: cannot render" in done.stderr.splitlines()[-1]
  assert "apt-get install libegl1" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("task", DOOM)
def test_a_scenario_comes_from_its_seed_and_is_walked(task):
  made = DOMAIN.make_environment(task)
  check_environment(environment_task_spec(DOMAIN, task, made), made)
  pictures, random = [], np.random.default_rng(0)
  actions = random.integers(3, size=25).astype(np.int32)

  for seed in (7, 8, 7):
    made.seed(seed)
    made.reset()
    pictures.append(np.array([made.step(action).observation["image"] for action in actions]))

  np.testing.assert_array_equal(pictures[0], pictures[2])
  assert np.abs(pictures[0].astype(int) - pictures[1]).mean() > 1

  made.seed(1_000_003)
  timestep, walker = made.reset(), DOMAIN.make_expert(made, task)
  walker.reset(0)
  rewards, goals = [], len(made.goals())
  while not timestep.last() and len(rewards) < 120:
    timestep = made.step(walker.act(timestep))
    rewards.append(timestep.reward)

  if task == "doom_my_way_home":
    assert timestep.discount == 0 and sum(rewards) == 1 and made.episode_info()["success"]
  else:
    assert sum(rewards) == 120 and goals > 5  # one that stands still dies within 100 steps

  made.close()


def test_who_stands_still_in_acid_dies():
  made = environment.make("doom_health_gathering")
  timestep, steps = made.reset(), 0
  while not timestep.last():
    timestep, steps = made.step(np.int32(LEFT)), steps + 1

  assert (
    steps < 120
    and timestep.discount == 0
    and timestep.reward == 0
    and not made.episode_info()["success"]
  )

  made.close()


def test_the_engine_ends_with_a_killed_process_and_writes_nothing_here(tmp_path):
  code = """
import os, pathlib, signal
from rlds_builders.labyrinth import environment
made = environment.make("doom_my_way_home")
made.reset()
(child,) = [child for path in pathlib.Path("/proc/self/task").glob("*/children") for child in path.read_text().split()]
instance = pathlib.Path(f"/proc/{child}/cmdline").read_text().split("+viz_instance_id")[1].split(chr(0))[1]
print(child, instance, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
  root = pathlib.Path(__file__).resolve().parents[2]
  command = [sys.executable, "-c", code]
  done = subprocess.run(
    command,
    capture_output=True,
    text=True,
    timeout=300,
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": str(root)},
  )

  assert done.returncode == -signal.SIGKILL

  child, instance = done.stdout.split()
  status = pathlib.Path("/proc", child, "status")

  for _ in range(50):
    running = status.exists() and "(zombie)" not in status.read_text()
    if not running:
      break
    time.sleep(0.1)

  assert not running and not list(tmp_path.iterdir())

  # A killed process cannot tidy these up.
  for left in pathlib.Path("/dev/shm").glob(f"ViZDoom*{instance}"):
    left.unlink()
