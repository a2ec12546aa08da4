"""Pages of texts and images: made of stamps and emoji, and those of users."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
  name="m3w",
  tasks=("pages", "files"),
  weight=4.0,  # M3W's share (Reed et al. 2022, table 1)
  documents="rlds_builders.m3w.documents:read",
  document_kind="pages",
)
