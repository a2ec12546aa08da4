"""Captioned images: emoji with their names, and those of users."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
  name="ltip",
  tasks=("emoji", "files"),
  weight=0.67,  # LTIP's share (Reed et al. 2022, table 1)
  documents="rlds_builders.ltip.documents:read",
  document_kind="captions",
)
