"""Fields of a timestep: the modality of an observation field, its tokens, and its bins."""

import dataclasses

import numpy as np
from dm_env import specs

from gato_jax.errors import GatoError
from gato_jax.tokens import codec, patches
from gato_jax.tokens.vocabulary import Kind


@dataclasses.dataclass(frozen=True)
class Field:
  """An observation field, or the action, and its tokens in the timestep.

  Attributes:
    key: Flat observation key, or "action".
    kind: The modality.
    start: Index of its first token in the timestep.
    size: Number of its tokens.
    spec: Its dm_env spec.
    bins: Bins of continuous values: one for all values, or one for each dimension of an action.
  """

  key: str
  kind: Kind
  start: int
  size: int
  spec: specs.Array
  bins: tuple[codec.Bins, ...] = ()

  @property
  def slice(self) -> slice:
    return slice(self.start, self.start + self.size)


def kind_of(key: str, spec: specs.Array) -> Kind:
  """Returns the modality of an observation field, which follows from its spec alone."""
  if isinstance(spec, specs.StringArray):
    return Kind.TEXT

  # A uint8 field of another rank is discrete: it is no image.
  if spec.dtype == np.uint8 and len(spec.shape) == 3:
    patches.check_shape(spec.shape, key)
    return Kind.PATCH

  if np.issubdtype(spec.dtype, np.integer):
    return Kind.DISCRETE

  if np.issubdtype(spec.dtype, np.floating):
    return Kind.CONTINUOUS

  raise GatoError(f"{key}: dtype {spec.dtype} is none of text, image, integer, float")


def observation_bins(spec: specs.Array) -> codec.Bins:
  """Returns the bins of a continuous observation.

  The paper applies the mu-law to values that are "not already" in [-1, 1]. The bounds of the spec
  decide that, never the data.
  """
  if (
    isinstance(spec, specs.BoundedArray)
    and np.all(spec.minimum >= -1)
    and np.all(spec.maximum <= 1)
  ):
    return codec.linear_bins()

  return codec.mu_law_bins()
