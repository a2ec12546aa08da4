"""Captioned images: drawn rooms with true captions, and Conceptual Captions of users."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
  name="conceptual_captions",
  tasks=("scenes", "files"),
  weight=0.67,  # Conceptual Captions' share (Reed et al. 2022, table 1)
  documents="rlds_builders.conceptual_captions.documents:read",
  document_kind="captions",
)
