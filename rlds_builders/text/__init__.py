"""Plain text documents: what every CPython carries, so that nothing is downloaded."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="text",
  tasks=("python_docs",),
  weight=6.7,  # MassiveText's share (GATO_SPEC section 4)
  documents="rlds_builders.text.documents:read",
  agent_id="",
)
