"""Sokoban: rules, levels, and an expert that is optimal and a function of the board."""

import collections

import numpy as np
import pytest

from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.task import TaskSpec
from rlds_builders import sokoban
from rlds_builders.sokoban import environment, expert, levels

UP, DOWN, LEFT, RIGHT = range(4)


def board(*rows: str) -> environment.Sokoban:
  """An environment on rows of 7 cells, filled up with walls to 7 rows."""
  env = environment.make("boxes_1")
  env.set_level(levels.parse((*rows, *["#" * 7] * (7 - len(rows)))))
  return env


def test_rewards_and_rules():
  env = board("#######", "#@$ . #", "#$   .#")
  assert env.move(UP) == pytest.approx(-0.1)  # a wall: nothing moves, the step costs
  assert env.level.player == env.player
  assert env.move(RIGHT) == pytest.approx(-0.1)
  assert env.move(RIGHT) == pytest.approx(-0.1 + 1)  # on target
  assert env.move(RIGHT) == pytest.approx(-0.1 - 1)  # off target
  assert env.move(RIGHT) == pytest.approx(-0.1)  # the box is against the wall
  assert env.player == 7 + 4 and not env.solved


def test_two_boxes_in_a_row_do_not_move():
  env = board("#######", "#@$$..#", "#######")
  env.move(RIGHT)
  assert env.player == env.level.player and env.boxes == env.level.boxes


def test_solving_ends_the_episode():
  env = board("#######", "#@ $. #")
  assert not env.step(np.int32(RIGHT)).last()
  last = env.step(np.int32(RIGHT))
  assert last.last() and last.discount == 0.0
  assert last.reward == pytest.approx(-0.1 + 1 + 10)
  assert env.episode_info() == {"success": True, "level": ["#######", "#@ $. #", *["#######"] * 5]}


def test_time_limit_truncates():
  env = environment.make("boxes_1")
  env.seed(3)
  env.reset()
  for _ in range(levels.SIZES["boxes_1"].steps - 1):
    assert not env.step(np.int32(UP)).last()
  last = env.step(np.int32(UP))

  assert last.last() and last.discount == 1.0 and env.episode_info()["success"] is False


@pytest.mark.parametrize("task", sokoban.DOMAIN.tasks)
def test_environment_agrees_with_its_spec(task):
  env = sokoban.DOMAIN.make_environment(task)
  spec = environment_task_spec(sokoban.DOMAIN, task, env)

  assert TaskSpec.from_json(spec.to_json()).fingerprint() == spec.fingerprint()

  env.seed(11)
  first = env.reset().observation["board"]
  env.observation_spec()["board"].validate(first)
  env.step(np.int32(UP))
  env.seed(11)

  np.testing.assert_array_equal(env.reset().observation["board"], first)


@pytest.mark.parametrize(
  "draw", [lambda env: env.render(), lambda env: env._observation()["board"][:56, :56]]
)
def test_drawing_shows_every_kind_of_cell(draw):
  env = board("#######", "#@ $.*#", "#     #")
  side = draw(env).shape[0] // 7
  tiles = (
    draw(env)[: 7 * side, : 7 * side].reshape(7, side, 7, side, 3).swapaxes(1, 2).reshape(49, -1)
  )
  kinds = collections.defaultdict(set)
  for letter, tile in zip("".join(env.level.rows()), tiles, strict=True):
    kinds[letter].add(tile.tobytes())
  env.set_level(levels.parse(["#######", "#+    #", *["#######"] * 5]))
  kinds["+"] = {draw(env)[side : 2 * side, side : 2 * side].tobytes()}

  assert set(kinds) == set("# .$*@+")
  assert all(len(drawings) == 1 for drawings in kinds.values())
  assert len(set.union(*kinds.values())) == 7


def test_levels_come_from_the_seed_alone():
  for task, size in levels.SIZES.items():
    a = [levels.generate(size, seed) for seed in (*range(40), *range(1_000_000, 1_000_040))]
    assert a[7] == levels.generate(size, 7)
    assert len(set(a)) >= 78, task
    for level in a:
      assert level == levels.parse(level.rows())
      assert len(level.boxes) == len(level.targets) == size.boxes
      assert not level.boxes & level.targets and level.player not in level.boxes


def _shortest(level: levels.Level) -> bytes:
  """Breadth-first search over single moves, in the order of the actions.

  Slow, and obviously right.
  """
  queue = collections.deque([(level.player, level.boxes, b"")])
  seen = {(level.player, level.boxes)}

  while queue:
    player, boxes, path = queue.popleft()
    if boxes == level.targets:
      return path

    for action, delta in enumerate(level.deltas):
      to, pushed = player + delta, boxes
      if to in boxes:
        if level.walls[to + delta] or to + delta in boxes:
          continue
        pushed = boxes - {to} | {to + delta}

      if not level.walls[to] and (to, pushed) not in seen:
        seen.add((to, pushed))
        queue.append((to, pushed, path + bytes([action])))

  raise AssertionError(f"no solution of {level.rows()}")


@pytest.mark.parametrize(("task", "count"), [("boxes_1", 100), ("boxes_2", 15)])
def test_solver_finds_the_first_shortest_solution(task, count):
  for seed in range(count):
    level = levels.generate(levels.SIZES[task], seed)
    solution = expert.solve(level, level.player, level.boxes)
    assert solution == _shortest(level)
    if task == "boxes_1":
      assert 3 <= len(solution) <= 20


@pytest.mark.parametrize(
  ("task", "seeds"),
  [
    ("boxes_1", 30),
    ("boxes_2", 10),
    pytest.param("boxes_4", 1, marks=pytest.mark.slow),  # a search of 16 seconds
  ],
)
def test_expert_is_a_function_of_the_board(task, seeds):
  for seed in range(seeds):
    env = environment.make(task)
    env.seed(seed)
    env.reset()
    solution = expert.solve(env.level, env.player, env.boxes)
    for i, action in enumerate(solution):
      assert expert.solve(env.level, env.player, env.boxes) == solution[i:]
      env.move(action)


def test_expert_replans_when_pushed_off_its_plan():
  env = environment.make("boxes_2")
  actor = expert.make(env, "boxes_2")
  env.seed(5)
  timestep = env.reset()
  actor.reset(5)
  random = np.random.default_rng(0)

  for _ in range(6):  # walks that push nothing keep the level solvable
    action = random.integers(4)
    if env.player + env.level.deltas[action] not in env.boxes:
      timestep = env.step(np.int32(action))

  while not timestep.last():
    timestep = env.step(actor.act(timestep))

  assert env.solved


def test_dead_end():
  env = board("#######", "#$    #", "# @.  #")
  assert expert.solve(env.level, env.player, env.boxes) is None
  actor = expert.make(env, "boxes_1")
  assert actor.act(None) == UP


@pytest.mark.parametrize("task", sokoban.DOMAIN.tasks)
def test_expert_solves_evaluation_levels(task):
  envs = [sokoban.DOMAIN.make_environment(task) for _ in range(2)]
  actor = loop.PerSlot([sokoban.DOMAIN.make_expert(env, task) for env in envs])
  episodes = list(loop.run_episodes(envs, actor, range(1_000_000, 1_000_006)))
  size = levels.SIZES[task]
  for episode in episodes:
    assert episode.success
    assert episode.episode_return == pytest.approx(10 + size.boxes - 0.1 * episode.length)
