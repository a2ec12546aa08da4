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
    bounds: Smallest and largest value of each number, float32 [size] each, which become -1 and 1
      before the bins; None where the bins are of the values as they are.
  """

  key: str
  kind: Kind
  start: int
  size: int
  spec: specs.Array
  bins: tuple[codec.Bins, ...] = ()
  bounds: tuple[np.ndarray, np.ndarray] | None = None

  def binned(self, values: np.ndarray) -> np.ndarray:
    """Returns the float32 numbers [..., size] that the bins are of, for continuous values."""
    values = values.astype(np.float32)
    if self.bounds is None:
      return values

    # The same float32 operations in training and acting, which see the same bins.
    low, high = self.bounds
    middle, half = (low + high) / 2, (high - low) / 2
    return (values - middle) / half

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


def scaling_bounds(spec: specs.Array, name: str) -> tuple[np.ndarray, np.ndarray]:
  """Returns the bounds [size] that a scaled observation is scaled by.

  Raises:
    GatoError: They are not finite, or not apart.
  """
  size = int(np.prod(spec.shape))
  low, high = (
    np.broadcast_to(getattr(spec, side, np.nan), spec.shape).astype(np.float32).reshape(size)
    for side in ("minimum", "maximum")
  )
  if not np.all(np.isfinite(low) & np.isfinite(high) & (low < high)):
    raise GatoError(f"{name}: a scaled observation needs finite bounds with minimum < maximum")

  return low, high


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
