"""Planners on saved states of the game, which see the whole level and all that will be drawn."""

from typing import Any

import dm_env
import numpy as np

from rlds_builders.procgen import environment
from rlds_builders.procgen import state as procgen_state
from rlds_builders.procgen.experts import rolling, search

_LEFT, _DOWN, _UP, _RIGHT, _FIRE = 1, 3, 5, 7, 9
_NOTHING = environment.NOTHING
_FOUR = (_LEFT, _DOWN, _UP, _RIGHT)
_NINE = tuple(range(9))

# Types of entities in dodgeball.
_PLAYER_BALL = 3
_ENEMY = 4

_JUMPS: dict[str, Any] = {"actions": _NINE, "hold": 3}

# Arguments of Search, for games in which the reward is far away.
_SEARCH: dict[str, dict[str, Any]] = {
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
  # Keys and doors vanish, so the number of entities tells states apart.
  "heist": {"actions": _FOUR, "hold": 2, "cell": 0.25, "count": None},
  "jumper": _JUMPS,
  # A hop takes five steps.
  "leaper": {"actions": (*_FOUR, _NOTHING), "hold": 5, "speed": 0, "time": 5},
  "maze": {"actions": _FOUR, "hold": 1, "cell": 1.0, "speed": 0},
  "miner": {"actions": (*_FOUR, _NOTHING), "hold": 1, "cell": 1.0, "speed": 0},
  # These bytes hold how far a jump is charged.
  "ninja": {**_JUMPS, "tail": (-12, -8)},
}

# Arguments of Rolling, for games in which rewards are near. It also plays on where a search finds
# nothing, and tests whether a state is safe.
_ROLLING: dict[str, dict[str, Any]] = {
  "bigfish": {"actions": _NINE},
  "bossfight": {
    "actions": (*_FOUR, _NOTHING, *[_FIRE] * 3),
    "horizon": 50,
    "discount": 0.98,
  },
  "caveflyer": {"actions": (*_NINE, _FIRE)},
  "chaser": {"actions": (*_FOUR, _NOTHING)},
  "dodgeball": {"actions": (*_FOUR, _FIRE)},
  "fruitbot": {
    "actions": (_LEFT, _NOTHING, _RIGHT, _FIRE),
    "plans": 96,
    "hold": (2, 10),
    "death": 30.0,
  },
  "plunder": {
    "actions": (_LEFT, _NOTHING, _RIGHT, _FIRE),
    "horizon": 70,
    "discount": 0.985,
    "shot": 0.1,
  },
  "starpilot": {"actions": (*_NINE, 9, 10, 11)},
}
_DEFAULT_ROLLING: dict[str, Any] = {"actions": (*_FOUR, _NOTHING)}

# Games in which a reward can cost the life right after it.
_SAFE = ("caveflyer", "dodgeball", "miner")

# Rolling plans after a search that found nothing; twice as many after each further one.
_PATIENCE = 10


class Expert:
  """Follows a plan, and plans again at its end or where the game did not go as planned."""

  def __init__(self, env: environment.Procgen, game: str):
    self._env = env
    self._rolling = rolling.Rolling(game, **_ROLLING.get(game, _DEFAULT_ROLLING))

    self._search: search.Search | None = None
    if game in _SEARCH:
      safe = self._rolling if game in _SAFE else None
      self._search = search.Search(game, safe=safe, **_SEARCH[game])

    self._preview = environment.Games(game, 1)

  def reset(self, seed: int) -> None:
    self._rolling.reset(seed)

    # Rolling plans to be followed before the next search, and searches that found nothing.
    self._wait = 0
    self._failed_searches = 0

    # Actions, and the agent's position and velocity before each.
    self._plan: list[tuple[int, np.ndarray]] = []

  def act(self, timestep: dm_env.TimeStep) -> np.int32:
    del timestep  # plans from the saved state

    saved = self._env.save()
    agent = procgen_state.parse(saved).agent
    if not self._plan or not np.array_equal(self._plan[0][1], agent):
      self._plan = self._with_agents(saved, self._actions(saved))

    action, _ = self._plan.pop(0)
    return np.int32(action)

  def _actions(self, saved: bytes) -> list[int]:
    """Returns the actions of a new plan."""
    if self._search and not self._wait:
      actions = self._search.plan(saved)
      if actions:
        return actions

      self._wait = _PATIENCE * 2**self._failed_searches
      self._failed_searches += 1

    self._wait = max(0, self._wait - 1)
    return self._rolling.plan(saved)

  def _with_agents(self, saved: bytes, actions: list[int]) -> list[tuple[int, np.ndarray]]:
    """Returns each action with the agent's state before it, by playing them in a copy."""
    self._preview.restore(saved)

    plan = []
    for action in actions:
      plan.append((action, procgen_state.parse(self._preview.save()).agent))
      self._preview.act(np.array([action], np.int32))

    return plan


def make(env: environment.Procgen, task: str) -> Expert:
  """Returns the expert of a game, for an environment of the same game."""
  return Expert(env, task)
