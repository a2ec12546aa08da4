"""Arrays of a row, which is one sequence of L tokens in a batch (docs/batch.md)."""

import numpy as np

from gato_jax.tokens import vocabulary
from gato_jax.tokens.vocabulary import Kind

# Array of a row -> (dtype, rank).
FEATURES = {
  "tokens": (np.int32, 1),
  "labels": (np.int32, 1),
  "kinds": (np.int32, 1),
  "locals": (np.int32, 1),
  "segments": (np.int32, 1),
  "targets": (np.bool_, 1),
  "prompts": (np.bool_, 1),
  "patches": (np.uint8, 4),
  "patch_positions": (np.int32, 2),
  "patch_slots": (np.int32, 1),
  "components": (np.int32, 0),
}


class RowBuilder:
  """Fills the arrays of a row with samples, one behind the other."""

  def __init__(self, length: int, component: int):
    self._length = length
    self._used = 0
    self._arrays: dict[str, np.ndarray] = {
      "tokens": np.full(length, vocabulary.PADDING_ID, np.int32),
      "labels": np.full(length, vocabulary.PADDING_ID, np.int32),
      "kinds": np.full(length, Kind.PADDING, np.int32),
      "locals": np.full(length, -1, np.int32),
      "segments": np.zeros(length, np.int32),
      "targets": np.zeros(length, np.bool_),
      "prompts": np.zeros(length, np.bool_),
      "patches": np.zeros([0, 16, 16, 3], np.uint8),
      "patch_positions": np.zeros([0, 4], np.int32),
      "patch_slots": np.zeros(length, np.int32),
      "components": np.array(component, np.int32),
    }

  def append(
    self,
    *,
    segments: np.ndarray | int,
    tokens: np.ndarray,
    labels: np.ndarray,
    kinds: np.ndarray,
    local_positions: np.ndarray,
    targets: np.ndarray,
    prompts: np.ndarray | bool = False,
  ) -> None:
    """Appends n tokens: arrays [n]; segments and prompts may be one value for all of them."""
    window = slice(self._used, self._used + len(tokens))
    self._used += len(tokens)

    self._arrays["tokens"][window] = tokens
    self._arrays["labels"][window] = labels
    self._arrays["kinds"][window] = kinds
    self._arrays["locals"][window] = local_positions
    self._arrays["targets"][window] = targets
    self._arrays["prompts"][window] = prompts

    # Padding inside a timestep's text field belongs to no segment, so that nothing attends to it.
    self._arrays["segments"][window] = np.where(kinds == Kind.PADDING, 0, segments)

  def set_patches(self, patches: np.ndarray, positions: np.ndarray) -> None:
    """Gives the row's PATCH tokens their patches [p, 16, 16, 3] and positions [p, 4], in order."""
    self._arrays["patches"] = patches
    self._arrays["patch_positions"] = positions

    is_patch = self._arrays["kinds"] == Kind.PATCH
    self._arrays["patch_slots"][is_patch] = np.arange(len(patches))

  def finish(self) -> dict[str, np.ndarray]:
    """Returns the arrays of the row."""
    segments = self._arrays["segments"]

    # A token is predicted from the one before it. The first token of a segment, which has none in
    # its own segment, is no target.
    previous_segments = np.concatenate([[0], segments[:-1]])
    self._arrays["targets"] &= (segments > 0) & (previous_segments == segments)

    return self._arrays
