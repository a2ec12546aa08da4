"""Both Atari domains: images, seeds, ends, modes, and a planner that finds a toy game's points."""

import importlib
import json
import sys

import numpy as np
import pytest
from ale_py import roms

import rlds_builders
from gato_jax.env import loop
from gato_jax.errors import GatoError
from gato_jax.evaluate import reference_scores
from rlds_builders import atari, atari_extended
from rlds_builders.worlds.arcade import environment as atari_environment
from rlds_builders.worlds.arcade import expert as atari_expert
from rlds_builders.worlds.arcade import search

NOOP, FIRE, RIGHT = 0, 1, 3


def play(environment, seed, actions):
  """Plays actions and returns the rewards, and all frames in one array."""
  environment.seed(seed)
  timesteps = [environment.reset()]
  for action in actions:
    timesteps.append(environment.step(np.int32(action)))
  return [t.reward for t in timesteps[1:]], np.array([t.observation["frame"] for t in timesteps])


@pytest.fixture(scope="module")
def breakout():
  return atari.DOMAIN.make_environment("breakout")


def test_51_and_28_games_that_ale_has():
  games = atari.DOMAIN.tasks + atari_extended.DOMAIN.tasks
  assert (len(atari.DOMAIN.tasks), len(atari_extended.DOMAIN.tasks)) == (51, 28)
  assert len(set(games)) == 79 and set(games) <= set(roms.get_all_rom_ids())
  assert atari.DOMAIN.held_out == ("boxing",) and atari_extended.DOMAIN.held_out == (
    "human_cannonball",
  )


def test_the_published_human_scores_stay_when_a_game_is_measured_anew():
  scores = json.loads(rlds_builders.scores_path("atari").read_text())
  assert (
    all(np.isfinite(scores[game]["human"]) for game in atari.DOMAIN.tasks)
    and "dqn_zoo" in scores["human_from"]
  )

  before, both = {"human": 3.0, "random": 1.0, "old": 1}, {"random": 2.0, "expert": 4.0}

  assert reference_scores.replaced(before, both) == {"human": 3.0, **both}
  assert reference_scores.replaced(before, {"random": 2.0}) == before | {
    "random": 2.0
  }  # the expert was not measured now


def test_without_ale_py_one_line_says_what_to_install(monkeypatch):
  monkeypatch.setitem(sys.modules, "ale_py", None)
  monkeypatch.delitem(sys.modules, atari_environment.__name__)
  with pytest.raises(GatoError, match=r"ale_py is not installed.*pip install ale-py==0\.12\.1$"):
    importlib.import_module(atari_environment.__name__)


def test_a_game_that_is_not_there():
  with pytest.raises(GatoError, match="atari: ale_py has no game 'brakeout'"):
    atari_environment.load("brakeout")


def _covered(pixels, cells):
  """Weights [cells, pixels] of the pixels in each cell: equal where the middle lies in the cell."""
  edges, middles = np.arange(cells + 1) * pixels / cells, np.arange(pixels) + 0.5
  inside = (middles > edges[:-1, None]) & (middles <= edges[1:, None])
  return inside / inside.sum(axis=1, keepdims=True)


def test_a_picture_is_the_mean_of_the_brighter_of_two_screens(breakout, monkeypatch):
  screens = np.random.default_rng(0).integers(256, size=breakout._screens.shape).astype(np.uint8)
  monkeypatch.setattr(breakout, "_screens", screens)
  frame = breakout._observe()["frame"]
  expected = np.einsum(
    "hy,wx,yxc->hwc", _covered(210, 80), _covered(160, 64), screens.max(0).astype(float)
  )

  assert (
    frame.shape == (80, 64, 3) and np.abs(frame - expected).max() < 3
  )  # Pillow rounds between its two passes

  breakout.observation_spec()["frame"].validate(frame)

  assert breakout.render().shape == (210, 320, 3)


def test_the_two_screens_are_of_the_last_two_frames():
  environment = atari_environment.make(
    "asteroids"
  )  # half of what it draws shows in every other frame
  play(environment, 0, [FIRE, RIGHT])
  state = environment.emulator.cloneState()
  environment.step(np.int32(RIGHT))
  last = []
  environment.emulator.restoreState(state)
  for _ in range(atari_environment.FRAME_SKIP):
    environment.emulator.act(RIGHT)
    last.append(environment.emulator.getScreenRGB())

  assert {s.tobytes() for s in environment._screens} == {s.tobytes() for s in last[-2:]}
  assert (last[-1] != last[-2]).any()


@pytest.mark.parametrize(
  "game", ["qbert", "demon_attack"]
)  # games where a reset or a copied state shows what ran before
def test_an_episode_depends_on_its_seed_alone(game):
  fresh, used = (atari_environment.make(game) for _ in range(2))
  actions = np.random.default_rng(1).integers(18, size=40)
  play(used, 9, actions)
  expected, got = play(fresh, 5, actions), play(used, 5, actions)

  assert expected[0] == got[0]
  np.testing.assert_array_equal(expected[1], got[1])

  memories = set()

  for seed in range(12):
    fresh.seed(seed)
    fresh.reset()
    memories.add(fresh.emulator.getRAM().tobytes())

  assert len(memories) > 5  # 1 to 30 steps without action


def test_rewards_are_points_and_the_end_of_the_game_ends_the_episode(breakout):
  breakout.seed(2)
  breakout.reset()
  random, points, timestep = np.random.default_rng(0), 0, None
  while timestep is None or not timestep.last():
    timestep = breakout.step(np.int32(random.choice([FIRE, 3, 4])))
    points += timestep.reward

  assert points > 0 and timestep.discount == 0 and breakout.emulator.lives() == 0

  hundreds, units = breakout.emulator.getRAM()[76:78]  # the score, as Breakout keeps it

  assert points == 100 * (hundreds & 15) + 10 * (units >> 4) + (units & 15)


def test_a_step_counts_the_points_of_all_its_frames():
  environment = atari_environment.make("ms_pacman")
  environment.seed(4)
  environment.reset()
  before = environment.emulator.cloneState()
  actions = [RIGHT] * 20 + [RIGHT + 1] * 40
  points = sum(environment.step(np.int32(action)).reward for action in actions)
  environment.emulator.restoreState(before)
  one_by_one = [
    environment.emulator.act(action)
    for action in actions
    for _ in range(atari_environment.FRAME_SKIP)
  ]

  assert points == sum(one_by_one) > sum(one_by_one[3::4])


def test_the_time_limit_truncates(breakout, monkeypatch):
  monkeypatch.setattr(atari_environment, "MAX_FRAMES", 20)
  breakout.seed(0)
  breakout.reset()
  timesteps = [breakout.step(np.int32(NOOP)) for _ in range(5)]
  assert [t.last() for t in timesteps] == [False] * 4 + [True] and timesteps[-1].discount == 1


def test_modes_and_difficulties_are_drawn_and_told(monkeypatch):
  monkeypatch.setattr(atari_environment, "MAX_NOOPS", 1)  # what differs is the mode's doing
  environment = atari_extended.DOMAIN.make_environment("frogger")
  drawn = {}

  for seed in range(30):
    environment.seed(seed)
    environment.reset()
    info = environment.episode_info()
    drawn[info["mode"], info["difficulty"]] = environment.emulator.getRAM().tobytes()

  emulator = atari_environment.load("frogger")
  modes, difficulties = emulator.getAvailableModes(), emulator.getAvailableDifficulties()

  assert set(drawn) == {(m, d) for m in modes for d in difficulties}
  assert len({drawn[mode, difficulties[0]] for mode in modes}) == len(modes)

  other = atari_extended.DOMAIN.make_environment("frogger")
  other.seed(29)
  other.reset()

  assert other.episode_info() == info


class River:
  """A toy emulator in which FIRE costs a life at once.

  RIGHT held for six frames earns 5 points, NOOP one point at once.
  """

  class _Action:
    def __init__(self, value):
      self.value = value

  def __init__(self):
    self.restoreState((0, 0, 3))

  def getMinimalActionSet(self):
    return [self._Action(value) for value in (NOOP, FIRE, RIGHT)]

  def cloneState(self):
    return self._far, self._frame, self._lives

  def restoreState(self, state):
    self._far, self._frame, self._lives = state

  def getRAM(self):
    return np.array([self._far, self._frame, self._lives] + [0] * 125, np.uint8)

  def lives(self):
    return self._lives

  def game_over(self):
    return self._lives == 0 or self._frame == 12

  def act(self, action):
    self._frame += 1
    self._lives -= action == FIRE
    self._far = self._far + 1 if action == RIGHT else 0
    return 5 * (self._far == 6) + (action == NOOP and self._frame == 1) + 9 * (action == FIRE)


def test_the_search_passes_a_small_reward_for_a_larger_one_and_keeps_its_lives():
  game = River()
  planner = search.Search(River(), frames=1, budget=search.Budget(repeat=1, nodes=150, horizon=10))
  planner.reset(0)
  points = 0
  while not game.game_over():
    points += game.act(planner.plan(game.cloneState()))

  assert points >= 5 and game.lives() == 3


def test_points_are_worth_a_life_where_a_life_costs_nothing():
  game = River()
  planner = search.Search(
    River(), frames=1, budget=search.Budget(repeat=1, nodes=30, horizon=10, life=0.0)
  )
  planner.reset(0)
  assert planner.plan(game.cloneState()) == FIRE


def test_points_of_every_frame_of_an_action_count():
  planner = search.Search(River(), frames=1, budget=search.Budget(repeat=2, nodes=10, horizon=1))
  for seed in range(5):
    planner.reset(seed)
    assert planner.plan(River().cloneState()) == NOOP  # its point comes in the first of two frames


def test_without_points_it_goes_where_it_has_not_been():
  class Meadow(River):
    """A game without points or end: RIGHT goes on, anything else returns to the start."""

    def act(self, action):
      self._far = self._far + 1 if action == RIGHT else 0
      return 0

  def far(curiosity):
    meadow = Meadow()
    planner = search.Search(
      Meadow(), frames=1, budget=search.Budget(nodes=20, horizon=8, curiosity=curiosity)
    )
    planner.reset(0)
    reached = 0
    for _ in range(30):
      meadow.act(planner.plan(meadow.cloneState()))
      reached = max(reached, meadow.cloneState()[0])

    return reached

  assert far(curiosity=0.01) > 10 > far(curiosity=0.0)


@pytest.mark.parametrize("game", ["qbert", "ms_pacman"])
def test_what_was_planned_happens(game):
  """The planner's emulator and the game stay equal, so that plans are kept.

  After an action that was not planned, it plans anew.
  """
  environment = atari.DOMAIN.make_environment(game)
  planner = atari_expert.Planner(environment, search.Budget(repeat=2, nodes=6, horizon=6))
  environment.seed(7)
  timestep = environment.reset()
  planner.reset(7)

  for step in range(40):
    action = planner.act(timestep)
    timestep = environment.step(action)
    if step % 2 == 1:
      assert planner._search._root.children  # its future was planned before
      np.testing.assert_array_equal(planner._search._root.memory, environment.emulator.getRAM())

  planner.act(timestep)
  for _ in range(2):
    environment.step(np.int32((int(action) + 3) % 6))
  planner.act(timestep)

  assert planner._search._root is not None


def test_the_planner_beats_chance_and_repeats_itself(monkeypatch):
  monkeypatch.setattr(atari_environment, "MAX_FRAMES", 480)
  environment = atari.DOMAIN.make_environment("ms_pacman")
  planner = atari_expert.Planner(environment, search.Budget(nodes=8))
  random = loop.RandomExpert(environment.action_spec(), "test")

  def points(expert):
    (episode,) = loop.run_episodes([environment], loop.PerSlot([expert]), [3])
    return episode.episode_return

  planned = points(planner)

  assert planned > points(random)
  assert points(planner) == planned


def test_budgets_are_of_games_that_are_there():
  for game in atari_expert._BUDGETS:
    assert game in atari.DOMAIN.tasks + atari_extended.DOMAIN.tasks
    search.Budget(**atari_expert._BUDGETS[game])
