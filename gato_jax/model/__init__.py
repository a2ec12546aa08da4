"""The network of Gato (Reed et al. 2022, section 2.2; docs/paper.md)."""

from gato_jax.model.config import VARIANTS, GatoConfig, variant
from gato_jax.model.gato import (
  Gato,
  abstract_params,
  count_parameters,
  init_boxed,
  init_params,
)

__all__ = [
  "VARIANTS",
  "Gato",
  "GatoConfig",
  "abstract_params",
  "count_parameters",
  "init_boxed",
  "init_params",
  "variant",
]
