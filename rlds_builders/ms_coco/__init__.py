"""MS-COCO's captioned photos, where users have them."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="ms_coco",
  tasks=("tfds", "files"),
  weight=0.67,  # MS-COCO captions' share (GATO_SPEC section 4)
  documents="rlds_builders.ms_coco.documents:read",
  document_kind="captions",
)
