"""Captioned images: Tux Paint's stamps, and those of users."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
  name="align",
  tasks=("stamps", "files"),
  weight=0.67,  # ALIGN's share (Reed et al. 2022, table 1)
  documents="rlds_builders.align.documents:read",
  document_kind="captions",
)
