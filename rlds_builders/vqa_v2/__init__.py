"""Questions about images: drawn rooms with true answers, and VQAv2 of users."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
  name="vqa_v2",
  tasks=("scenes", "files"),
  weight=0.67,  # VQAv2's share (Reed et al. 2022, table 1)
  documents="rlds_builders.vqa_v2.documents:read",
  document_kind="questions",
)
