"""Measures a clone along the episodes that it imitates: its loss by place, and how much it copies.

The network is shown what training shows it. At each action token it either predicts the expert's
token or, if it has learned to copy, the token of the step before. Both rates stand beside the rate
at which the tokens of the steps repeat themselves.

Legend: B rows, L positions, D width, T tokens of a step.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.analysis.cloning.rows import CloningRow
from gato_jax.data import pipeline, windows
from gato_jax.data.mixture import MixtureConfig
from gato_jax.model import Gato, GatoConfig
from gato_jax.tokens import codec, vocabulary
from gato_jax.tokens.vocabulary import Kind


def measure(
  params: Any,
  model_config: GatoConfig,
  mixture: MixtureConfig,
  task: str,
  *,
  tfds_dir: pathlib.Path,
  text: codec.TextCodec,
  step: int,
  batches: int = 8,
  rows: int = 16,
) -> list[CloningRow]:
  """Measures some batches of one task, a row a place.

  Args:
    params: Parameters of the network.
    model_config: Its sizes.
    mixture: The mixture that it was trained on.
    task: "domain.task".
    tfds_dir: Directory of the datasets.
    text: The run's tokenizer.
    step: Training step of the checkpoint.
    batches: Number of batches.
    rows: Rows of a batch.

  Raises:
    GatoError: There is no dataset, or nothing is left of it to measure.
  """
  split = "validation" if mixture.validation_every else "train"
  inputs = pipeline.Input(
    # Whole samples, whose places are comparable.
    dataclasses.replace(mixture, weights={task: 1.0}, episodes={}, history_dropout=0.0),
    tfds_dir,
    batch_size=rows,
    text=text,
    max_local_positions=model_config.max_local_positions,
    split=split,
  )
  episode_windows = inputs.expert_windows[task]
  assert isinstance(episode_windows, windows.EpisodeWindows), task
  length = episode_windows.layout.length
  iterator = inputs.batches()

  columns: list[Mapping[str, np.ndarray]] = []
  for _ in range(batches):
    batch = next(iterator)
    losses, predicted = _predict(model_config, params, batch)
    columns.append(_tokens(batch, np.asarray(losses), np.asarray(predicted), length=length))
  token = {name: np.concatenate([c[name] for c in columns]) for name in columns[0]}

  measured = []
  for place in np.unique(token["place"]).tolist():
    here = {name: column[token["place"] == place] for name, column in token.items()}
    measured.append(
      CloningRow(
        task=task,
        step=step,
        split=split,
        place=place,
        tokens=len(here["loss"]),
        loss=float(here["loss"].mean()),
        copied=float(here["copied"].mean()) if place else None,
        repeated=float(here["repeated"].mean()) if place else None,
      )
    )

  return measured


@functools.partial(jax.jit, static_argnums=0)
def _predict(
  config: GatoConfig, params: Any, batch: Mapping[str, jax.Array]
) -> tuple[jax.Array, jax.Array]:
  """Returns the loss of each position's label, and the most likely token there, both [B, L]."""
  outputs: Any = Gato(config).apply({"params": params}, batch, method="hidden_and_table")
  hidden_BxLxD, table = outputs

  def of_row(hidden_LxD: jax.Array, labels_L: jax.Array) -> tuple[jax.Array, jax.Array]:
    # The position before predicts a token; the first one is never a target.
    logits = jnp.roll(hidden_LxD, 1, axis=0) @ table.T
    logits = logits.astype(jnp.float32)
    rows_L = vocabulary.row_of(labels_L, len(table))
    picked = jnp.take_along_axis(logits, rows_L[:, None], axis=1)[:, 0]
    likeliest_L = vocabulary.id_of(jnp.argmax(logits, axis=1), len(table))
    return jax.nn.logsumexp(logits, axis=1) - picked, likeliest_L

  # Row by row: the logits of a whole batch are large.
  return jax.lax.map(lambda row: of_row(*row), (hidden_BxLxD, batch["labels"]))


def _tokens(
  batch: Mapping[str, np.ndarray], losses: np.ndarray, predicted: np.ndarray, length: int
) -> dict[str, np.ndarray]:
  """Returns columns of the action tokens of a batch, without those of prompts.

  Args:
    batch: Of one task whose steps have `length` tokens.
    losses: [B, L], of each position's label.
    predicted: [B, L], the most likely token of each position.
    length: T.
  """
  is_action = (batch["kinds"] == Kind.ACTION) & batch["targets"] & ~batch["prompts"]
  row, position = np.nonzero(is_action)

  # Samples consist of whole steps, so a place is a number of steps since the sample's first own
  # position.
  first = np.zeros(is_action.shape, np.int64)
  for i, (segments, prompts) in enumerate(zip(batch["segments"], batch["prompts"], strict=True)):
    for segment in range(1, segments.max() + 1):
      own = np.flatnonzero((segments == segment) & ~prompts)
      # A segment begins where its text field may be padding, at a whole step of the row.
      first[i, segments == segment] = own[0] // length * length if len(own) else 0

  place = (position - first[row, position]) // length
  before = batch["tokens"][row, np.maximum(position - length, 0)]
  return {
    "place": place,
    "loss": losses[row, position],
    "copied": predicted[row, position] == before,
    "repeated": batch["labels"][row, position] == before,
  }
