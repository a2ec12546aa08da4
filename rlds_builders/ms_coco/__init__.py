"""MS-COCO's captioned photos, where users have them."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
  name="ms_coco",
  tasks=("tfds", "files"),
  weight=0.67,  # MS-COCO captions' share (Reed et al. 2022, table 1)
  documents="rlds_builders.ms_coco.documents:read",
  document_kind="captions",
)
