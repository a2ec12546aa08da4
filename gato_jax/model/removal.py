"""Directions removed from the residual stream while a network acts, to see what it needs them for.

Legend of shapes: R directions, D width.
"""

import io
import pathlib
import zipfile
from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.errors import GatoError
from gato_jax.model.config import GatoConfig
from gato_jax.storage import files

# Arrays in a file, each followed by "_LAYER"; layers count from 1.
_NAMES = ("directions", "centre")


@flax.struct.dataclass
class Removal:
  """Directions removed from the output of one layer.

  Attributes:
    directions: Float32 [R, D], orthonormal.
    centre: Float32 [R], the coordinate along each direction that every state is given. An average
      one, since 0 may be far from any state that occurs.
  """

  directions: jax.Array
  centre: jax.Array

  def take_out(self, x: jax.Array) -> jax.Array:
    """Moves states [.., D] to the centre along the directions."""
    states = x.astype(jnp.float32)
    coordinates = states @ self.directions.T
    return (states - (coordinates - self.centre) @ self.directions).astype(x.dtype)


def write(path: pathlib.Path, by_layer: Mapping[int, Removal]) -> None:
  """Writes removals to a file.

  Args:
    path: File to write.
    by_layer: Number of a layer, from 1 -> what is removed from the output of its block.
  """
  arrays = {
    f"{name}_{layer}": np.asarray(getattr(removal, name))
    for layer, removal in by_layer.items()
    for name in _NAMES
  }
  archive = io.BytesIO()
  np.savez(archive, **arrays)  # type: ignore[arg-type]  # the stub's allow_pickle

  files.write(path, archive.getvalue())


def read(path: pathlib.Path, config: GatoConfig) -> tuple[Removal | None, ...]:
  """Reads the removal of every layer of the network, None where nothing is removed.

  Raises:
    GatoError: There is no such file, or it belongs to another network.
  """
  try:
    with np.load(io.BytesIO(path.read_bytes())) as file:
      arrays = dict(file)
  except (OSError, ValueError, zipfile.BadZipFile) as e:
    raise GatoError(
      f"act.remove: {path} cannot be read ({type(e).__name__}); "
      "python -m experiments.interpret writes such files"
    ) from e

  removals: list[Removal | None] = []
  for layer in range(1, config.layers + 1):
    if f"directions_{layer}" in arrays:
      removals.append(Removal(*(arrays.pop(f"{name}_{layer}") for name in _NAMES)))
    else:
      removals.append(None)

  # Arrays that are left belong to layers that this network lacks.
  widths = {removal.directions.shape[1] for removal in removals if removal}
  if arrays or widths != {config.width}:
    raise GatoError(
      f"act.remove: {path} is of another network than this one of {config.layers} layers of width"
      f" {config.width}; write one from this checkpoint: python -m experiments.interpret"
    )
  return tuple(removals)
