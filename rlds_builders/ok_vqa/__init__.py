"""Questions about pictures: grids with true answers, and OKVQA where the user has it."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="ok_vqa",
  tasks=("grids", "files"),
  weight=0.67,  # OKVQA's share (GATO_SPEC section 4)
  documents="rlds_builders.ok_vqa.documents:read",
  document_kind="questions",
)
