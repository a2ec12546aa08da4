"""Captioned pictures: emoji with their names, and what users have of LTIP's kind."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="ltip",
  tasks=("emoji", "files"),
  weight=0.67,  # LTIP's share (GATO_SPEC section 4)
  documents="rlds_builders.ltip.documents:read",
  document_kind="captions",
)
