"""Augmented random search (Mania et al. 2018) for linear policies, on many rollouts at once.

Axes: B rollouts, T control steps, O features, A action dimensions.
"""

import dataclasses
from collections.abc import Callable, Iterator

import mujoco
import numpy as np
from mujoco import rollout

from rlds_builders.planners.rollouts import Trajectories

# Standard deviations at which a feature is clipped.
_CLIP = 5.0

# Every `_SEEN_EVERY`-th step's features enter their mean and deviation.
_SEEN_EVERY = 7


@dataclasses.dataclass(frozen=True)
class Linear:
  """Linear policy u = weights @ (normalised features, 1).

  Attributes:
    weights: [A, O + 1], the last column is the bias; or [B, A, O + 1], one policy per rollout.
    mean: [O], of the features.
    std: [O], of the features.
  """

  weights: np.ndarray
  mean: np.ndarray
  std: np.ndarray

  def __call__(self, features: np.ndarray) -> np.ndarray:
    """Returns actions [..., A], which are not clipped, for features [..., O]."""
    normalised = np.clip((features - self.mean) / self.std, -_CLIP, _CLIP)
    ones = np.ones((*normalised.shape[:-1], 1))
    normal = np.concatenate([normalised, ones], axis=-1)
    return np.einsum("...af,...f->...a", self.weights, normal)


@dataclasses.dataclass(frozen=True)
class SearchSettings:
  """Settings of a search.

  Attributes:
    iterations: Updates of the policy.
    directions: Directions in weight space tried per iteration, each with both signs.
    steps: Control steps of a rollout.
    trial: Length of a trial step in weight space.
    move: Length of an update in weight space.
  """

  iterations: int = 600
  directions: int = 48
  steps: int = 400
  trial: float = 0.04
  move: float = 0.04


def search(
  model: mujoco.MjModel,
  starts: np.ndarray,
  features: Callable[[np.ndarray, np.ndarray], np.ndarray],
  score: Callable[[Trajectories], np.ndarray],
  settings: SearchSettings,
  substeps: int,
  seed: int = 0,
) -> Iterator[tuple[Linear, float]]:
  """Yields the policy and its own mean score after every iteration.

  Args:
    model: The model to roll out.
    starts: Full physics states [N, S], from which initial states are drawn.
    features: Function (qpos [B, nq], qvel [B, nv]) -> [B, O].
    score: Function Trajectories -> [B, T].
    settings: See SearchSettings.
    substeps: Physics steps per control step.
    seed: Seed of the directions and initial states.
  """
  random = np.random.default_rng(seed)
  data = mujoco.MjData(model)
  n = settings.directions
  # The better half of the directions moves the policy.
  top = settings.directions // 2

  feature_count = features(*_positions_and_velocities(model, starts)).shape[1]
  weights = np.zeros((model.nu, feature_count + 1))
  mean = np.zeros(feature_count)
  std = np.ones(feature_count)

  # Running sums of the features. A count that is not quite 0 allows the first division.
  count = 1e-4
  total = np.zeros(feature_count)
  squares = np.zeros(feature_count)

  for _ in range(settings.iterations):
    direction = random.standard_normal((n, *weights.shape))
    step = settings.trial * direction
    # The last rollout is the unchanged policy's.
    trials = np.concatenate([weights + step, weights - step, weights[None]])

    # Both signs of a direction begin alike.
    start = starts[random.integers(len(starts), size=n)]
    start = np.concatenate([start, start, start[:1]])
    policies = Linear(trials, mean, std)
    scores, seen = _play(
      model,
      data,
      state=start,
      policies=policies,
      features=features,
      score=score,
      steps=settings.steps,
      substeps=substeps,
    )

    # Directions are ranked by the better of their two signs; the move is scaled by the spread of
    # the scores, so that it does not depend on their unit.
    plus = scores[:n]
    minus = scores[n : 2 * n]
    best = np.argsort(-np.maximum(plus, minus))[:top]
    spread = np.concatenate([plus[best], minus[best]]).std() + 1e-6
    gradient = np.einsum("n,naf->af", (plus - minus)[best], direction[best])
    weights = weights + settings.move / (top * spread) * gradient

    count = count + len(seen)
    total = total + seen.sum(axis=0)
    squares = squares + np.square(seen).sum(axis=0)
    mean = total / count
    # A variance has a lower bound for features that never change.
    std = np.sqrt(np.maximum(squares / count - np.square(total / count), 1e-4))

    yield Linear(weights, mean, std), float(scores[-1])


def _positions_and_velocities(
  model: mujoco.MjModel, state: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Returns qpos [B, nq] and qvel [B, nv] of full physics states, which begin with the time."""
  qpos = state[:, 1 : 1 + model.nq]
  qvel = state[:, 1 + model.nq : 1 + model.nq + model.nv]
  return qpos, qvel


def _play(
  model: mujoco.MjModel,
  data: mujoco.MjData,
  state: np.ndarray,
  policies: Linear,
  features: Callable[[np.ndarray, np.ndarray], np.ndarray],
  score: Callable[[Trajectories], np.ndarray],
  steps: int,
  substeps: int,
) -> tuple[np.ndarray, np.ndarray]:
  """Rolls out one policy per initial state, closed loop.

  Returns:
    Mean scores [B], and the features of every `_SEEN_EVERY`-th step [N, O].
  """
  low, high = model.actuator_ctrlrange.T
  all_qpos, all_qvel, all_sensors, all_actions, seen = [], [], [], [], []

  for t in range(steps):
    observed = features(*_positions_and_velocities(model, state))
    if t % _SEEN_EVERY == 0:
      seen.append(observed)

    action = np.clip(policies(observed), low, high)
    control = np.repeat(action[:, None], substeps, axis=1)
    states, sensors = rollout.rollout(model, data, state, control)
    state = np.ascontiguousarray(states[:, -1])

    qpos, qvel = _positions_and_velocities(model, state)
    all_qpos.append(qpos)
    all_qvel.append(qvel)
    # Sensors are those before a physics step: the first ones belong to the last step's state.
    all_sensors.append(sensors[:, 0])
    all_actions.append(action)

  # Shifted by one step, with the sensors of one physics step before the end as the last ones.
  all_sensors = [*all_sensors[1:], sensors[:, -1]]
  trajectories = Trajectories(
    model=model,
    qpos=np.stack(all_qpos, axis=1),
    qvel=np.stack(all_qvel, axis=1),
    sensors=np.stack(all_sensors, axis=1),
    actions=np.stack(all_actions, axis=1),
  )
  return score(trajectories).mean(axis=1), np.concatenate(seen)
