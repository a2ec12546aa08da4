"""Questions about pictures: rooms with true answers, and VQAv2 where the user has it."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="vqa_v2",
  tasks=("scenes", "files"),
  weight=0.67,  # VQAv2's share (GATO_SPEC section 4)
  documents="rlds_builders.vqa_v2.documents:read",
  document_kind="questions",
)
