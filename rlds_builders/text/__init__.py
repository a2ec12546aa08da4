"""Plain text documents: what CPython and Debian's packages carry, sets of TFDS' catalogue, and a user's own files."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="text",
  tasks=(
    "python_docs",
    "bible",
    "wordnet",
    "gcide",
    "foldoc",
    "fortunes",
    "files",
    "c4",
    "wikipedia",
    "pg19",
  ),
  held_out=("fortunes",),  # 17,000 words: a mixture would draw them as often as the largest task
  weight=6.7,  # MassiveText's share (GATO_SPEC section 4)
  documents="rlds_builders.text.documents:read",
)
