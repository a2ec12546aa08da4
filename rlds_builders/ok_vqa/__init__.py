"""Questions about images: drawn grids with true answers, and OKVQA of users."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
  name="ok_vqa",
  tasks=("grids", "files"),
  weight=0.67,  # OKVQA's share (Reed et al. 2022, table 1)
  documents="rlds_builders.ok_vqa.documents:read",
  document_kind="questions",
)
