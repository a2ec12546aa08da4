"""Selects the episodes and documents of a split, and subsets of episodes for fine-tuning."""

import numpy as np

from gato_jax.data import prepared
from gato_jax.data.mixture import MixtureConfig
from gato_jax.errors import GatoError


def split_episodes(
  data: prepared.PreparedEpisodes, config: MixtureConfig, split: str
) -> np.ndarray:
  """Returns the training or the validation part of the episodes that are kept.

  Where the dataset itself holds out episodes, they are the validation part and all others train;
  otherwise every `config.validation_every`-th is held out.

  Args:
    data: The dataset.
    config: The mixture.
    split: "train" or "validation".

  Raises:
    GatoError: That part is empty.
  """
  if len(data.validation):
    return data.validation if split == "validation" else data.kept

  return split_indices(data.kept, config, split=split, task_name=data.spec.name)


def split_indices(
  indices: np.ndarray, config: MixtureConfig, split: str, task_name: str
) -> np.ndarray:
  """Returns the training or the validation part of the usable episodes or documents.

  Every `config.validation_every`-th one belongs to the validation split.

  Args:
    indices: Indices of the usable episodes or documents.
    config: The mixture.
    split: "train" or "validation".
    task_name: "domain.task", for the message.

  Raises:
    GatoError: That part is empty.
  """
  is_validation = np.zeros(len(indices), bool)
  if config.validation_every:
    is_validation = (np.arange(len(indices)) + 1) % config.validation_every == 0

  selected = indices[is_validation if split == "validation" else ~is_validation]
  if not len(selected):
    purpose = "to hold out" if split == "validation" else "to train on"
    raise GatoError(
      f"{task_name}: with data.validation_every={config.validation_every} {purpose} "
      f"there are none of {len(indices)}; change it"
    )

  return selected


def select_best(
  training: np.ndarray, data: prepared.PreparedEpisodes, config: MixtureConfig
) -> np.ndarray:
  """Returns the training episodes that `config.episodes` leaves: subsets of the best ones.

  Subsets of one `config.draw` are nested (Reed et al. 2022, appendix E).
  """
  count = config.episodes.get(data.spec.name, 0)
  if not count:
    return training

  if count > len(training):
    raise GatoError(
      f"{data.spec.name}: {count} episodes are asked for, {len(training)} count; "
      "collect more or ask for fewer"
    )

  order = np.argsort(-data.returns[training], kind="stable")
  best = training[order][: config.best]
  if count > len(best):
    raise GatoError(
      f"{data.spec.name}: {count} of the data.best={config.best} episodes cannot be drawn; raise it"
    )

  # A smaller count takes a prefix of the same permutation.
  permutation = np.random.default_rng(config.draw).permutation(len(best))
  return best[permutation[:count]]
