"""Augmented random search (Mania et al. 2018) for linear policies, on many rollouts of a MuJoCo model at once.

Axes: B rollouts, T control steps, O features, A action dimensions.
"""

import dataclasses
from collections.abc import Callable, Iterator

import mujoco
import numpy as np
from mujoco import rollout

from rlds_builders.planners.rollouts import Trajectories

_CLIP = 5.0  # standard deviations of a feature


@dataclasses.dataclass(frozen=True)
class Linear:
  """u = weights @ (normalised features, 1): weights [A, O + 1], mean and std [O]."""

  weights: np.ndarray
  mean: np.ndarray
  std: np.ndarray

  def __call__(self, features: np.ndarray) -> np.ndarray:
    """Features [..., O] -> actions [..., A], not clipped; weights may be [B, A, O + 1] for features [B, O]."""
    normal = np.clip((features - self.mean) / self.std, -_CLIP, _CLIP)
    normal = np.concatenate([normal, np.ones((*normal.shape[:-1], 1))], axis=-1)
    return np.einsum("...af,...f->...a", self.weights, normal)


@dataclasses.dataclass(frozen=True)
class SearchSettings:
  """Attributes: directions tried per iteration, steps of a rollout, size of a trial and of a move in weight space."""

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
    model: what to roll out.
    starts: full physics states [N, S], drawn from at random.
    features: (qpos [B, nq], qvel [B, nv]) -> [B, O].
    score: Trajectories -> [B, T].
    settings: see SearchSettings.
    substeps: physics steps per control step.
    seed: of the directions and starts.
  """
  random = np.random.default_rng(seed)
  data = mujoco.MjData(model)
  n, top = settings.directions, settings.directions // 2
  size = features(starts[:, 1 : 1 + model.nq], starts[:, 1 + model.nq : 1 + model.nq + model.nv]).shape[1]
  weights, seen = np.zeros((model.nu, size + 1)), np.zeros((0, size))
  mean, std = np.zeros(size), np.ones(size)
  count, total, squares = 1e-4, np.zeros(size), np.zeros(size)
  for _ in range(settings.iterations):
    direction = random.standard_normal((n, *weights.shape))
    tried = np.concatenate([weights + settings.trial * direction, weights - settings.trial * direction, weights[None]])
    start = starts[random.integers(len(starts), size=n)]  # both signs of a direction begin alike
    start = np.concatenate([start, start, start[:1]])
    scores, seen = _play(model, data, start, Linear(tried, mean, std), features, score, settings.steps, substeps)
    plus, minus = scores[:n], scores[n : 2 * n]
    best = np.argsort(-np.maximum(plus, minus))[:top]
    spread = np.concatenate([plus[best], minus[best]]).std() + 1e-6
    weights = weights + settings.move / (top * spread) * np.einsum("n,naf->af", (plus - minus)[best], direction[best])
    count, total, squares = count + len(seen), total + seen.sum(axis=0), squares + np.square(seen).sum(axis=0)
    mean, std = total / count, np.sqrt(np.maximum(squares / count - np.square(total / count), 1e-4))
    yield Linear(weights, mean, std), float(scores[-1])


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
  """One rollout per policy, closed loop: mean scores [B] and every seventh step's features [N, O]."""
  low, high = model.actuator_ctrlrange.T
  qpos, qvel, sensors, actions, seen = [], [], [], [], []
  for step in range(steps):
    q, v = state[:, 1 : 1 + model.nq], state[:, 1 + model.nq : 1 + model.nq + model.nv]
    observed = features(q, v)
    if step % 7 == 0:
      seen.append(observed)
    action = np.clip(policies(observed), low, high)
    states, every = rollout.rollout(model, data, state, np.repeat(action[:, None], substeps, axis=1))
    state = np.ascontiguousarray(states[:, -1])
    qpos.append(state[:, 1 : 1 + model.nq])
    qvel.append(state[:, 1 + model.nq : 1 + model.nq + model.nv])
    sensors.append(every[:, 0])  # of the state before this step: the last step's result
    actions.append(action)
  played = Trajectories(model, *(np.stack(x, axis=1) for x in (qpos, qvel, [*sensors[1:], every[:, -1]], actions)))
  return score(played).mean(axis=1), np.concatenate(seen)
