"""Pages of texts and pictures: made of stamps and emoji, and what users have of M3W's kind."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="m3w",
  tasks=("pages", "files"),
  weight=4.0,  # M3W's share (GATO_SPEC section 4)
  documents="rlds_builders.m3w.documents:read",
  document_kind="pages",
)
