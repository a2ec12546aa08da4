"""Planners on saved states of the game, of two kinds; both see the whole level and the chances to come."""

import dm_env
import numpy as np

from rlds_builders.procgen import environment
from rlds_builders.procgen import state as procgen_state
from rlds_builders.procgen.experts import rolling, search

_LEFT, _DOWN, _UP, _RIGHT, _FIRE = 1, 3, 5, 7, 9
_FOUR = (_LEFT, _DOWN, _UP, _RIGHT)
_NINE = tuple(range(9))
_JUMPS = {"actions": _NINE, "hold": 3}
_PLAYER_BALL, _ENEMY = 3, 4  # dodgeball's types of entities

# Where the reward is far away and the way to it can be searched.
_SEARCH = {
  "caveflyer": {"actions": _NINE, "hold": 4, "cell": 0.75, "speed": 0.2},
  "climber": _JUMPS,
  "coinrun": _JUMPS,
  "dodgeball": {
    "actions": (*_NINE, _FIRE),
    "hold": 4,
    "cell": 0.75,
    "speed": 0,
    "count": (_PLAYER_BALL, _ENEMY),
  },
  "heist": {"actions": _FOUR, "hold": 2, "cell": 0.25, "count": None},  # keys and doors vanish
  "jumper": _JUMPS,
  "leaper": {"actions": (*_FOUR, environment.NOTHING), "hold": 5, "speed": 0, "time": 5},  # a hop takes five steps
  "maze": {"actions": _FOUR, "hold": 1, "cell": 1.0, "speed": 0},
  "miner": {"actions": (*_FOUR, environment.NOTHING), "hold": 1, "cell": 1.0, "speed": 0},
  "ninja": {**_JUMPS, "tail": (-12, -8)},  # how far a jump is charged
}
# Where rewards are near. Also what plays on where a search finds nothing, and what says whether a place is safe.
_ROLLING = {
  "bigfish": {"actions": _NINE},
  "bossfight": {"actions": (*_FOUR, environment.NOTHING, *[_FIRE] * 3), "horizon": 50, "discount": 0.98},
  "caveflyer": {"actions": (*_NINE, _FIRE)},
  "chaser": {"actions": (*_FOUR, environment.NOTHING)},
  "dodgeball": {"actions": (*_FOUR, _FIRE)},
  "fruitbot": {"actions": (_LEFT, environment.NOTHING, _RIGHT, _FIRE), "plans": 96, "hold": (2, 10), "death": 30.0},
  "plunder": {"actions": (_LEFT, environment.NOTHING, _RIGHT, _FIRE), "horizon": 70, "discount": 0.985, "shot": 0.1},
  "starpilot": {"actions": (*_NINE, 9, 10, 11)},
}
_PATIENCE = 10  # rolling plans after a search that found nothing, twice as many after the next
_SAFE = ("caveflyer", "dodgeball", "miner")


class Expert:
  """Follows a plan and plans again where it ends, or where the game did not go as planned."""

  def __init__(self, env: environment.Procgen, game: str):
    self._env = env
    self._rolling = rolling.Rolling(game, **_ROLLING.get(game, {"actions": (*_FOUR, environment.NOTHING)}))
    self._search = None
    if game in _SEARCH:
      self._search = search.Search(game, safe=self._rolling if game in _SAFE else None, **_SEARCH[game])
    self._preview = environment.Games(game, 1)

  def reset(self, seed: int) -> None:
    self._rolling.reset(seed)
    self._wait, self._in_vain = 0, 0  # rolling plans to be followed before searching again; searches without result
    self._plan: list[tuple[int, np.ndarray]] = []  # actions, and where the agent is before each

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    """The action, int32 []."""
    del timestep
    saved = self._env.save()
    agent = procgen_state.parse(saved).agent
    if not self._plan or not np.array_equal(self._plan[0][1], agent):
      self._plan = self._follow(saved, self._actions(saved))
    return np.int32(self._plan.pop(0)[0])

  def _actions(self, saved: bytes) -> list[int]:
    if self._search and not self._wait:
      if found := self._search.plan(saved):
        return found
      self._wait = _PATIENCE * 2**self._in_vain
      self._in_vain += 1
    self._wait = max(0, self._wait - 1)
    return self._rolling.plan(saved)

  def _follow(self, saved: bytes, actions: list[int]) -> list[tuple[int, np.ndarray]]:
    self._preview.restore(saved)
    plan = []
    for action in actions:
      plan.append((action, procgen_state.parse(self._preview.save()).agent))
      self._preview.act(np.array([action], np.int32))
    return plan


def make(env: environment.Procgen, task: str) -> Expert:
  return Expert(env, task)
