"""Id ranges and constants of the tokenization (Reed et al. 2022, sections 2.1 and 2.2)."""

import enum
from typing import Any

# SentencePiece ids are [0, 32000).
TEXT_SIZE = 32_000

# Discrete values share the ids 0..1023 with text, as the paper writes it.
DISCRETE_OFFSET = 0
DISCRETE_SIZE = 1024

# Bins of continuous values have the ids [32000, 33024).
CONTINUOUS_OFFSET = TEXT_SIZE
CONTINUOUS_BINS = 1024

# "|" between observation and action. The paper does not give its id: 33024 is our decision.
SEPARATOR = CONTINUOUS_OFFSET + CONTINUOUS_BINS

# 33,025 ids in all.
SIZE = SEPARATOR + 1


def table_rows(text_pieces: int) -> int:
  """Returns the number of rows of a token table with a row for each of the first text pieces."""
  return SIZE - TEXT_SIZE + text_pieces


def row_of(ids: Any, rows: int) -> Any:
  """Returns the rows of token ids in a table that leaves out the last text pieces.

  Ids are those of the paper whatever the size of the tokenizer; only a network with
  `model.text_pieces` below 32,000 has fewer rows than ids.

  Args:
    ids: Token ids, a number or an array of NumPy or JAX. Ids of pieces without a row have none.
    rows: Rows of the table.
  """
  return ids - (ids >= CONTINUOUS_OFFSET) * (SIZE - rows)


def id_of(row: Any, rows: int) -> Any:
  """Returns the token ids of rows; the inverse of `row_of`."""
  left_out = SIZE - rows
  return row + (row >= CONTINUOUS_OFFSET - left_out) * left_out


# Constants of the mu-law.
MU = 100.0
M = 256.0

# Height and width of a patch in pixels.
PATCH_SIDE = 16

# Row and column intervals of patches are quantised to 1/128 of the image.
PATCH_INTERVALS = 128

PADDING_ID = 0


class Kind(enum.IntEnum):
  """Kind of a token. Batches store it as a small integer."""

  PADDING = 0
  TEXT = 1

  # An image patch has no token id: the patch embedder reads its pixels.
  PATCH = 2

  DISCRETE = 3
  CONTINUOUS = 4
  SEPARATOR = 5

  # A token of an action, discrete or continuous.
  ACTION = 6
