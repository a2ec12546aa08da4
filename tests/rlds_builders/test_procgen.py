"""Procgen: levels follow from seeds, saved states are complete.

The planners take near points and reach far ones.
"""

import importlib.util

import numpy as np
import pytest

from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.errors import GatoError
from gato_jax.task import check_environment
from rlds_builders import procgen
from rlds_builders.procgen import environment, state
from rlds_builders.procgen.experts import rolling

LEFT, RIGHT = 1, 7


def play(game, seeds):
  env = procgen.DOMAIN.make_environment(game)
  expert = procgen.DOMAIN.make_expert(env, game)
  return list(loop.run_episodes([env], loop.PerSlot([expert]), seeds))


@pytest.mark.parametrize("game", procgen.DOMAIN.tasks)
def test_environment_agrees_with_its_spec(game):
  env = procgen.DOMAIN.make_environment(game)
  check_environment(environment_task_spec(procgen.DOMAIN, game, env), env)


def test_a_seed_is_a_level():
  env = environment.make("coinrun")
  first = []

  for seed in (5, 6, 5):
    env.seed(seed)
    pixels = env.reset().observation["pixels"]
    seen = pixels.copy()
    for _ in range(7):  # what was played before must not matter
      env.step(np.int32(RIGHT))
    np.testing.assert_array_equal(pixels, seen)  # nor may later pictures be drawn over it
    first.append((pixels, env.episode_info()["level"]))

  assert np.array_equal(first[0][0], first[2][0]) and first[0][1] == first[2][1]
  assert not np.array_equal(first[0][0], first[1][0]) and first[0][1] != first[1][1]


@pytest.mark.parametrize("game", ["fruitbot", "starpilot", "jumper"])
def test_a_restored_state_goes_on_as_the_saved_one(game):
  games = environment.Games(game, 3, seed=8)
  actions = np.random.default_rng(0).integers(environment.ACTIONS, size=(60, 3)).astype(np.int32)
  for row in actions[:20]:
    games.act(row)
  saved = games.save(1)
  seen = []
  for row in actions[20:]:
    games.act(row[[1, 1, 1]])
    seen.append((games.pixels[1].copy(), games.rewards[1], games.ended[1]))

  games.restore(saved, 0)

  for row, (pixels, reward, ended) in zip(actions[20:], seen, strict=True):
    games.act(row[[1, 1, 1]])
    np.testing.assert_array_equal(games.pixels[0], pixels)
    assert (games.rewards[0], games.ended[0]) == (reward, ended)


@pytest.mark.parametrize("game", procgen.DOMAIN.tasks)
def test_the_saved_state_is_read_as_procgen_wrote_it(game):
  games = environment.Games(game, 1, seed=4)
  before = state.parse(games.save())
  for _ in range(3):
    games.act(np.int32([RIGHT]))
  after = state.parse(games.save())

  assert before.level_seed == after.level_seed == games.get_info()[0]["level_seed"]
  assert (before.time, after.time) == (0, 3) and 500 <= before.timeout <= 6000
  assert np.isfinite(before.entities).all() and np.count_nonzero(before.types == state.PLAYER) == 1
  assert (np.abs(before.entities[:, :2]) < 100).all()


def test_the_agent_goes_right():
  games = environment.Games("chaser", 1, seed=5)
  xs = []
  for _ in range(4):
    xs.append(state.parse(games.save()).agent[0])
    games.act(np.int32([RIGHT]))
  assert np.all(np.diff(xs) > 0.4)


def test_a_time_limit_truncates_and_the_last_picture_is_of_this_level():
  env = environment.make("leaper")
  env.seed(1)
  timestep, steps = env.reset(), 0
  while not timestep.last():
    before, timestep = timestep, env.step(np.int32(environment.NOTHING))
    steps += 1

  assert steps == env.level.timeout == 500
  assert timestep.discount == 1.0 and not env.episode_info()["success"]
  np.testing.assert_array_equal(timestep.observation["pixels"], before.observation["pixels"])
  assert env.step(np.int32(0)).first()


def test_the_large_picture_is_of_the_same_state():
  env = environment.make("maze")
  env.seed(2)
  small = env.reset().observation["pixels"].astype(float)
  large = env.render()

  assert large.shape == (512, 512, 3) and large.dtype == np.uint8
  assert np.abs(large.reshape(64, 8, 64, 8, 3).mean(axis=(1, 3)) - small).mean() < 12
  np.testing.assert_array_equal(
    env.step(np.int32(environment.NOTHING)).observation["pixels"], small
  )


@pytest.mark.parametrize("game", ["coinrun", "heist", "leaper", "maze", "miner", "ninja"])
def test_far_rewards_are_reached(game):
  (episode,) = play(game, [2])
  assert episode.success and episode.episode_return >= 10


@pytest.mark.parametrize(
  "game", ["dodgeball", "maze"]
)  # one rolls, where its search is not asked, one searches
def test_what_the_expert_does_follows_from_the_seed(game):
  env = environment.make(game)
  expert = procgen.DOMAIN.make_expert(env, game)
  expert._search = expert._search if game == "maze" else None
  played = []

  for seed in (3, 4, 3):
    env.seed(seed)
    timestep, actions = env.reset(), []
    expert.reset(seed)
    for _ in range(8):
      actions.append(int(expert.act(timestep)))
      timestep = env.step(np.int32(actions[-1]))
    played.append(actions)

  assert played[0] == played[2] != played[1]


def test_off_its_plan_the_expert_plans_anew():
  """Delayed at every third step, it needs exactly as many steps more."""
  env = environment.make("maze")
  expert = procgen.DOMAIN.make_expert(env, "maze")
  lengths = []

  for held in (False, True):
    env.seed(9)
    timestep, steps, lost = env.reset(), 0, 0
    expert.reset(9)

    while not timestep.last():
      action, stop = expert.act(timestep), held and steps % 3 == 1
      timestep = env.step(np.int32(environment.NOTHING) if stop else action)
      steps, lost = steps + 1, lost + stop

    assert env.episode_info()["success"]

    lengths.append(steps - lost)

  assert lost > 2 and lengths[0] == lengths[1]


def test_random_shooting_takes_what_is_near():
  games = environment.Games("chaser", 1, seed=3)
  planner = rolling.Rolling("chaser", (1, 3, 5, 7), plans=24, horizon=20)
  planner.reset(3)
  total = 0.0

  for _ in range(10):
    for action in planner.plan(games.save()):
      games.act(np.int32([action]))
      assert not games.ended[0]
      total += games.rewards[0]

  assert total > 0.3  # 0.04 an orb


def test_values_are_discounted_and_dying_costs():
  planner = rolling.Rolling(
    "leaper", (5,), plans=2, horizon=120, hold=(1, 1), discount=0.99, death=7.0
  )
  outcomes = set()

  for seed in range(2, 8):
    games = environment.Games("leaper", 1, seed)
    plans = np.full((2, 120), 5, np.int32)  # hop on, whatever comes
    plans[1] = environment.NOTHING
    value, still = planner.values(games.save(), plans)
    games.act(plans[:1, 0])  # a level that begins is one that ended, to procgen
    steps = 1
    while not games.ended[0]:
      games.act(plans[:1, 0])
      steps += 1

    outcomes.add(outcome := float(games.rewards[0]) if games.completed[0] else -7.0)

    assert value == pytest.approx(outcome * 0.99 ** (steps - 1)) and still == 0.0

  assert outcomes == {10.0, -7.0}


def test_without_procgen2_one_line_says_what_to_install(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
    GatoError,
    match=r"procgen2 is not installed; run: pip install --no-deps -r rlds_builders/procgen",
  ):
    environment.Games("maze", 1)
