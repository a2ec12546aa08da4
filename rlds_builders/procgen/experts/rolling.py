"""Random shooting on saved states.

Random plans are played in copies of the game, and the best is followed for a few steps.
"""

from collections.abc import Sequence

import numpy as np

from gato_jax import randomness
from rlds_builders.procgen import environment

_SHOOT = 9  # the action


class Rolling:
  """Plans anew every `follow` steps.

  The rest of the last plan is a candidate, and wins ties.
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
    """Initialises the planner.

    Args:
      game: The game's name.
      actions: Actions that plans are made of; one that is given twice is drawn twice as often.
      plans: Number of plans; a third of them begin like the last best plan.
      horizon: Steps of a plan.
      hold: Shortest and longest number of steps that a plan repeats an action.
      follow: Steps of the best plan that are played.
      discount: Of rewards, per step.
      death: Cost of an episode that ends before the level is completed, in units of reward.
      shot: Cost of action 9, for games with a limited number of shots.
    """
    self._games = environment.Games(game, plans)
    self._actions = np.array(actions, np.int32)
    self._plans = plans
    self._horizon = horizon
    self._hold = hold
    self._follow = follow
    self._discount = discount
    self._death = death
    self._shot = shot
    self.reset(0)

  def reset(self, seed: int) -> None:
    """Forgets the last plan; plans are drawn from a generator with this seed."""
    self._random = randomness.generator("procgen plans", seed)

    # The rest of the last best plan, int32 [horizon].
    self._rest: np.ndarray | None = None

  def plan(self, state: bytes) -> list[int]:
    """Returns the next `follow` actions from a saved state."""
    plans = self._draw()

    # Candidate 0 is the rest of the last plan; a third of the others begin like it.
    if self._rest is not None:
      plans[0] = self._rest
      lengths = self._random.integers(1, self._horizon, self._plans // 3)
      for i, length in enumerate(lengths, 1):
        plans[i, :length] = self._rest[:length]

    # argmax takes the first of equals.
    best = plans[int(np.argmax(self.values(state, plans)))]

    # The last action is repeated up to the horizon.
    self._rest = np.concatenate([best[self._follow :], np.full(self._follow, best[-1])])
    return best[: self._follow].tolist()

  def values(self, state: bytes, plans: np.ndarray) -> np.ndarray:
    """Plays plans from a saved state.

    Args:
      state: The saved state.
      plans: Actions, int32 [plans, horizon].

    Returns:
      Discounted rewards minus the costs of death and shots, float64 [plans].
    """
    games = self._games
    for i in range(self._plans):
      games.restore(state, i)

    values = np.zeros(self._plans)
    is_alive = np.ones(self._plans, bool)
    weight = 1.0
    for step in range(self._horizon):
      games.act(np.ascontiguousarray(plans[:, step]))

      # A game that ended goes on with another level, whose rewards do not count.
      died = is_alive & games.ended & (games.completed == 0)
      rewards = games.rewards - self._shot * (plans[:, step] == _SHOOT)
      values += weight * (is_alive * rewards - self._death * died)

      is_alive &= ~games.ended
      weight *= self._discount
      if not is_alive.any():
        break

    return values

  def survives(self, state: bytes) -> bool:
    """True when any random plan from a saved state lives through the horizon."""
    # A plan that dies loses more than this, even in the last step.
    threshold = -self._death * self._discount**self._horizon
    return bool(np.any(self.values(state, self._draw()) > threshold))

  def _draw(self) -> np.ndarray:
    """Returns actions that are repeated for random times, int32 [plans, horizon]."""
    shape = self._plans, self._horizon
    durations = self._random.integers(self._hold[0], self._hold[1] + 1, shape)
    choices = self._actions[self._random.integers(len(self._actions), size=shape)]

    # The choice that holds at a step is the number of choices that have ended by then.
    ends = np.cumsum(durations, axis=1)
    index = (ends[:, None, :] <= np.arange(self._horizon)[None, :, None]).sum(axis=2)
    return np.take_along_axis(choices, index, axis=1)
