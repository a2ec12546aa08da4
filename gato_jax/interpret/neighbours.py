"""A map of the last layer's states by t-SNE, and numbers that say the same without a map.

Legend: N samples, d width.
"""

from collections.abc import Sequence

import numpy as np
from sklearn import manifold, metrics, preprocessing
from sklearn.neighbors import NearestNeighbors

from gato_jax.interpret import probes
from gato_jax.interpret.config import InterpretConfig
from gato_jax.interpret.rows import STATES, Neighbours
from gato_jax.interpret.samples import Sample


def choose(found: Sequence[Sample], number: int) -> np.ndarray:
  """Indices of `number` samples of each task, spread evenly over them."""
  tasks = np.array([one.task for one in found])
  groups = [np.flatnonzero(tasks == name) for name in np.unique(tasks)]
  return np.concatenate(
    [group[np.linspace(0, len(group) - 1, min(number, len(group))).astype(int)] for group in groups]
  )


def project(states: np.ndarray, config: InterpretConfig) -> np.ndarray:
  """[N, d] -> t-SNE's [N, 2], started from the principal components."""
  scaled = preprocessing.StandardScaler().fit_transform(states)
  perplexity = min(config.perplexity, (len(states) - 1) / 3)
  return manifold.TSNE(perplexity=perplexity, init="pca", random_state=config.seed).fit_transform(scaled)


def rows(found: Sequence[Sample], trained: Sequence[str], space: str, states: np.ndarray, k: int) -> list[Neighbours]:
  """Of all samples together and of each task. states: [N, d], or the map's [N, 2]."""
  if space == STATES:
    states = preprocessing.StandardScaler().fit_transform(states)
  tasks = np.array([one.task for one in found])
  domains = np.array([one.domain for one in found])
  clusters = probes.cluster_numbers(found)
  own, other = _nearest(states, clusters, k), _nearest(states, np.unique(tasks, return_inverse=True)[1], k)
  silhouettes = [
    metrics.silhouette_samples(states, labels) if len(np.unique(labels)) > 1 else np.zeros(len(labels))
    for labels in (tasks, domains)
  ]
  columns = {
    "same_task": (tasks[own] == tasks[:, None]).mean(1),
    "same_domain": (domains[own] == domains[:, None]).mean(1),
    "task_chance": _chance(tasks, clusters),
    "domain_chance": _chance(domains, clusters),
    "next_domain": (domains[other] == domains[:, None]).mean(1),
    "next_chance": _chance(domains, tasks),
    "silhouette_task": silhouettes[0],
    "silhouette_domain": silhouettes[1],
  }
  results = []
  for name in ("all", *np.unique(tasks).tolist()):
    here = np.ones(len(tasks), bool) if name == "all" else tasks == name
    names, counts = np.unique(tasks[other[here]], return_counts=True)
    results.append(
      Neighbours(
        space=space,
        task=name,
        trained=None if name == "all" else name in trained,
        nearest="" if name == "all" else str(names[counts.argmax()]),
        **{key: float(values[here].mean()) for key, values in columns.items()},
      )
    )
  return results


def _nearest(states: np.ndarray, groups: np.ndarray, k: int) -> np.ndarray:
  """[N, d] -> indices [N, k] of each one's k nearest neighbours that are not of its group."""
  order = NearestNeighbors(n_neighbors=len(states)).fit(states).kneighbors(states, return_distance=False)
  return np.stack([found[groups[found] != group][:k] for found, group in zip(order, groups, strict=True)])


def _chance(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
  """[N]: share of each one's label among all that are not of its group."""
  return np.array([(labels[groups != group] == label).mean() for label, group in zip(labels, groups, strict=True)])
