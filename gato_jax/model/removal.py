"""Directions that are taken out of the residual stream while a network acts, to see what it needs them for.

Legend: k directions, d width.
"""

import io
import pathlib
import zipfile
from collections.abc import Mapping

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax import files
from gato_jax.errors import GatoError
from gato_jax.model.config import GatoConfig

_NAMES = ("directions", "centre")  # of arrays of a file, each with "_LAYER" behind it; layers count from 1


@flax.struct.dataclass
class Removal:
  """What is taken out after one layer.

  Attributes:
    directions: float32 [k, d], orthonormal. centre: float32 [k], the coordinate along each that every state is given:
      an average one, since 0 may be far from any state there is.
  """

  directions: jax.Array
  centre: jax.Array

  def take_out(self, x: jax.Array) -> jax.Array:
    """States [.., d] -> the same, equal along the directions."""
    wide = x.astype(jnp.float32)
    return (wide - (wide @ self.directions.T - self.centre) @ self.directions).astype(x.dtype)


def write(path: pathlib.Path, by_layer: Mapping[int, Removal]) -> None:
  """by_layer: number of a layer, from 1 -> what is taken out of what its block returns."""
  arrays = {f"{name}_{layer}": np.asarray(getattr(one, name)) for layer, one in by_layer.items() for name in _NAMES}
  archive = io.BytesIO()
  np.savez(archive, **arrays)
  files.write(path, archive.getvalue())


def read(path: pathlib.Path, config: GatoConfig) -> tuple[Removal | None, ...]:
  """Of every layer of the network, None where nothing is taken out.

  Raises:
    GatoError: no such file, or it is of another network.
  """
  try:
    with np.load(path) as file:
      arrays = dict(file)
  except (OSError, ValueError, zipfile.BadZipFile) as e:
    raise GatoError(
      f"act.remove: {path} cannot be read ({type(e).__name__}); python -m experiments.interpret writes such files"
    ) from e
  layers = tuple(
    Removal(*(arrays.pop(f"{name}_{layer}") for name in _NAMES)) if f"directions_{layer}" in arrays else None
    for layer in range(1, config.layers + 1)
  )
  widths = {one.directions.shape[1] for one in layers if one}
  if arrays or widths != {config.width}:
    raise GatoError(
      f"act.remove: {path} is of another network than this one of {config.layers} layers of width {config.width};"
      " write one from this checkpoint: python -m experiments.interpret"
    )
  return layers
