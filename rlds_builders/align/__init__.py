"""Captioned pictures: Tux Paint's stamps, and what users have of ALIGN's kind."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="align",
  tasks=("stamps", "files"),
  weight=0.67,  # ALIGN's share (GATO_SPEC section 4)
  documents="rlds_builders.align.documents:read",
  document_kind="captions",
)
