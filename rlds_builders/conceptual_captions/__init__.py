"""Captioned pictures: rooms with true captions, and Conceptual Captions where the user has them."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="conceptual_captions",
  tasks=("scenes", "files"),
  weight=0.67,  # Conceptual Captions' share (GATO_SPEC section 4)
  documents="rlds_builders.conceptual_captions.documents:read",
  document_kind="captions",
)
