"""Maps the last layer's states by t-SNE, and measures their neighbourhoods without a map.

Legend: N samples, D width, K neighbours.
"""

from collections.abc import Sequence

import numpy as np
from sklearn import manifold, metrics, preprocessing
from sklearn.neighbors import NearestNeighbors

from experiments.analysis.interpret import probes
from experiments.analysis.interpret.config import InterpretConfig
from experiments.analysis.interpret.rows import STATES, Neighbours
from experiments.analysis.interpret.samples import Sample


def choose(drawn: Sequence[Sample], number: int) -> np.ndarray:
  """Returns the indices of `number` samples of each task, spread evenly over them."""
  tasks = np.array([sample.task for sample in drawn])
  chosen = []
  for name in np.unique(tasks):
    indices = np.flatnonzero(tasks == name)
    spread = np.linspace(0, len(indices) - 1, min(number, len(indices)))
    chosen.append(indices[spread.astype(int)])

  return np.concatenate(chosen)


def project(states_NxD: np.ndarray, config: InterpretConfig) -> np.ndarray:
  """Returns the t-SNE coordinates, [N, 2], initialised with the principal components."""
  scaled = preprocessing.StandardScaler().fit_transform(states_NxD)
  # t-SNE needs about three neighbours per unit of perplexity.
  perplexity = min(config.perplexity, (len(states_NxD) - 1) / 3)
  tsne = manifold.TSNE(perplexity=perplexity, init="pca", random_state=config.seed)
  return tsne.fit_transform(scaled)


def rows(
  drawn: Sequence[Sample], trained: Sequence[str], space: str, states: np.ndarray, k: int
) -> list[Neighbours]:
  """Returns a row for all samples together, then one for each task.

  Args:
    drawn: The samples, [N].
    trained: Tasks that the network was trained on.
    space: STATES, whose dimensions are standardised, or PLANE.
    states: [N, D], or the [N, 2] of the map.
    k: Number of neighbours.
  """
  if space == STATES:
    states = preprocessing.StandardScaler().fit_transform(states)

  tasks = np.array([sample.task for sample in drawn])
  domains = np.array([sample.domain for sample in drawn])
  clusters = probes.cluster_numbers(drawn)

  # Samples of one episode are alike, so they do not count as neighbours of each other.
  of_other_episodes_NxK = _nearest(states, clusters, k)
  of_other_tasks_NxK = _nearest(states, np.unique(tasks, return_inverse=True)[1], k)

  columns = {
    "same_task": (tasks[of_other_episodes_NxK] == tasks[:, None]).mean(1),
    "same_domain": (domains[of_other_episodes_NxK] == domains[:, None]).mean(1),
    "task_chance": _chance(tasks, clusters),
    "domain_chance": _chance(domains, clusters),
    "next_domain": (domains[of_other_tasks_NxK] == domains[:, None]).mean(1),
    "next_chance": _chance(domains, tasks),
    "silhouette_task": _silhouettes(states, tasks),
    "silhouette_domain": _silhouettes(states, domains),
  }

  results = []
  for name in ("all", *np.unique(tasks).tolist()):
    is_all = name == "all"
    selected = np.ones(len(tasks), bool) if is_all else tasks == name
    names, counts = np.unique(tasks[of_other_tasks_NxK[selected]], return_counts=True)
    results.append(
      Neighbours(
        space=space,
        task=name,
        trained=None if is_all else name in trained,
        nearest="" if is_all else str(names[counts.argmax()]),
        **{key: float(values[selected].mean()) for key, values in columns.items()},
      )
    )
  return results


def _nearest(states: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
  """Returns the indices [N, K] of each sample's nearest neighbours outside of its own group."""
  search = NearestNeighbors(n_neighbors=len(states)).fit(states)
  order_NxN = search.kneighbors(states, return_distance=False)

  nearest = []
  for order, group in zip(order_NxN, groups, strict=True):
    outside = order[groups[order] != group]
    nearest.append(outside[:k])
  return np.stack(nearest)


def _chance(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
  """Returns the share of each sample's label among all samples outside of its group, [N]."""
  shares = []
  for label, group in zip(labels, groups, strict=True):
    shares.append((labels[groups != group] == label).mean())
  return np.array(shares)


def _silhouettes(states: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns the silhouette of each sample, [N]; 0 if there is only one label."""
  if len(np.unique(labels)) < 2:
    return np.zeros(len(labels))
  return metrics.silhouette_samples(states, labels)
