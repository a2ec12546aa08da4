"""Every id range and constant of the paper's tokenisation (Reed et al. 2022, section 2.1; GATO_SPEC 1 and 2)."""

import enum

TEXT_SIZE = 32_000  # SentencePiece ids [0, 32000)
DISCRETE_OFFSET = 0  # discrete values share ids 0..1023 with text, as the paper writes it
DISCRETE_SIZE = 1024
CONTINUOUS_OFFSET = TEXT_SIZE  # ids [32000, 33024)
CONTINUOUS_BINS = 1024
SEPARATOR = CONTINUOUS_OFFSET + CONTINUOUS_BINS  # 33024, "|" between observation and action; the id is our decision
SIZE = SEPARATOR + 1  # 33,025

MU = 100.0
M = 256.0

PATCH_SIDE = 16  # pixels
PATCH_INTERVALS = 128  # quantisation of a patch's row and column interval

PADDING_ID = 0


class Kind(enum.IntEnum):
  """What a position of a sequence holds; stored in batches as small integers."""

  PADDING = 0
  TEXT = 1
  PATCH = 2  # an image patch: no token id, goes to the patch embedder
  DISCRETE = 3
  CONTINUOUS = 4
  SEPARATOR = 5
  ACTION = 6  # discrete or continuous action token
