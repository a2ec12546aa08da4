"""Random shooting on saved states: plans are played in copies of the game, the best is followed for a few steps."""

from collections.abc import Sequence

import numpy as np

from gato_jax import randomness
from rlds_builders.procgen import environment

_SHOOT = 9


class Rolling:
  """Plans anew every `follow` steps; what is left of the last plan is a candidate, and ties are settled for it.

  Args:
    game: name of a game.
    actions: those that plans are made of; one that stands twice is drawn twice as often.
    plans: number of plans; a third of them begin as the last best plan.
    horizon: steps of a plan.
    hold: shortest and longest time, in steps, that a plan stays with an action.
    follow: steps of the best plan that are played.
    discount: of rewards, a step.
    death: what an episode that ends without the level's completion costs, in units of reward.
    shot: what action 9 costs, where shots are limited.
  """

  def __init__(
    self,
    game: str,
    actions: Sequence[int],
    plans: int = 48,
    horizon: int = 40,
    hold: tuple[int, int] = (1, 6),
    follow: int = 3,
    discount: float = 0.97,
    death: float = 10.0,
    shot: float = 0.0,
  ):
    self._games = environment.Games(game, plans)
    self._actions = np.array(actions, np.int32)
    self._plans, self._horizon, self._hold, self._follow = plans, horizon, hold, follow
    self._discount, self._death, self._shot = discount, death, shot
    self.reset(0)

  def reset(self, seed: int) -> None:
    self._random = randomness.generator("procgen plans", seed)
    self._left: np.ndarray | None = None  # of the last best plan, what is not yet played: int32 [horizon]

  def plan(self, state: bytes) -> list[int]:
    """The next `follow` actions from a saved state."""
    plans = self._draw()  # int32 [plans, horizon]
    if self._left is not None:
      plans[0] = self._left
      for i, kept in enumerate(self._random.integers(1, self._horizon, self._plans // 3), 1):
        plans[i, :kept] = self._left[:kept]
    best = plans[int(np.argmax(self.values(state, plans)))]
    self._left = np.concatenate([best[self._follow :], np.full(self._follow, best[-1])])
    return best[: self._follow].tolist()

  def values(self, state: bytes, plans: np.ndarray) -> np.ndarray:
    """Discounted rewards of plans [plans, horizon] from a saved state, less the price of dying: float64 [plans]."""
    games = self._games
    for i in range(self._plans):
      games.restore(state, i)
    values, alive, weight = np.zeros(self._plans), np.ones(self._plans, bool), 1.0
    for step in range(self._horizon):
      games.act(np.ascontiguousarray(plans[:, step]))
      died = alive & games.ended & (games.completed == 0)
      values += weight * (alive * (games.rewards - self._shot * (plans[:, step] == _SHOOT)) - self._death * died)
      alive &= ~games.ended
      weight *= self._discount
      if not alive.any():
        break
    return values

  def survives(self, state: bytes) -> bool:
    """Whether any of the drawn plans lives through the horizon."""
    return bool(np.any(self.values(state, self._draw()) > -self._death * self._discount**self._horizon))

  def _draw(self) -> np.ndarray:
    """int32 [plans, horizon]: actions held for random times."""
    shape = self._plans, self._horizon
    ends = np.cumsum(self._random.integers(self._hold[0], self._hold[1] + 1, shape), axis=1)
    chosen = self._actions[self._random.integers(len(self._actions), size=shape)]
    nth = (ends[:, None, :] <= np.arange(self._horizon)[None, :, None]).sum(axis=2)
    return np.take_along_axis(chosen, nth, axis=1)
