"""Id ranges and constants of the tokenization (Reed et al. 2022, sections 2.1 and 2.2)."""

import enum

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
