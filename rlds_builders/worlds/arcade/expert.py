"""A planner on copies of the emulator's state, with a budget of its own for each game."""

from typing import Any

import dm_env
import numpy as np

from rlds_builders.worlds.arcade import environment as arcade_environment
from rlds_builders.worlds.arcade import search

# Differences from search.Budget's defaults, found by playing a minute of each game with three or
# four budgets (atari/README.md).

# Five seconds ahead instead of less than three, in coarse actions.
_FAR: dict[str, Any] = dict(repeat=4, horizon=20, danger=60)
_FARTHER = dict(_FAR, horizon=40, nodes=20)
_FARTHEST = dict(_FAR, horizon=80, nodes=40)

# Where the loss of a life shows only after a while.
_MIDDLE: dict[str, Any] = dict(repeat=2, horizon=40, danger=120)

# No extra nodes when a life is in danger: measured before there were any, and good enough.
_BOLD = dict(danger=10)

# Five seconds ahead in fine actions, at twice the time.
_LONG = dict(horizon=80, nodes=20)

_BUDGETS: dict[str, dict[str, Any]] = {
  "amidar": dict(_FAR, nodes=20),
  "assault": _BOLD,
  "asterix": _LONG,
  "atlantis": _BOLD,
  "bank_heist": dict(_FAR, nodes=20),
  "battle_zone": _FAR,
  "beam_rider": _LONG,
  "berzerk": dict(_MIDDLE, nodes=20),
  "bowling": dict(_MIDDLE, nodes=20),
  "breakout": _BOLD,
  "centipede": _BOLD,
  "chopper_command": _BOLD,
  "crazy_climber": _LONG,
  "darkchambers": _FAR,
  "demon_attack": _BOLD,
  "enduro": _MIDDLE,
  "entombed": _LONG,
  "freeway": _FARTHER,
  "gravitar": _LONG,
  "hero": dict(_FAR, nodes=20),
  "ice_hockey": dict(_FAR, nodes=20),
  "journey_escape": _FAR,
  "kangaroo": _MIDDLE,
  "kung_fu_master": _LONG,
  "laser_gates": _FAR,
  "mario_bros": _FAR,
  "name_this_game": dict(nodes=15),
  "phoenix": _MIDDLE,
  "pong": _LONG,
  "private_eye": _FAR,
  "riverraid": _LONG,
  "robotank": _FAR,
  "space_invaders": _LONG,
  "time_pilot": _BOLD,
  "tutankham": _LONG,
  "venture": _FARTHEST,
  "video_pinball": _BOLD,
  "wizard_of_wor": _LONG,
  "zaxxon": _MIDDLE,
}


class Planner:
  """Plans every few steps and repeats the action in between."""

  def __init__(self, environment: arcade_environment.Atari, budget: search.Budget):
    self._environment = environment
    self._repeat = budget.repeat

    # The states of Q*bert and Tetris are exact only in an emulator that has played a frame.
    emulator = arcade_environment.load(environment.game)
    emulator.reset_game()
    emulator.act(0)

    self._search = search.Search(emulator, arcade_environment.FRAME_SKIP, budget=budget)
    self._step = 0
    self._action = 0

  def reset(self, seed: int) -> None:
    self._search.reset(seed)
    self._step = 0

  def act(self, timestep: dm_env.TimeStep) -> np.int32:
    del timestep  # plans from the emulator's state

    if self._step % self._repeat == 0:
      self._action = self._search.plan(self._environment.emulator.cloneState())
    self._step += 1

    return np.int32(self._action)


def make(environment: arcade_environment.Atari, task: str) -> Planner:
  """Returns the planner of a game, for an environment of `atari` or `atari_extended`."""
  return Planner(environment, search.Budget(**_BUDGETS.get(task, {})))
