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
    "miscfiles",
    "files",
    "c4",
    "wikipedia",
    "pg19",
  ),
  held_out=("fortunes", "miscfiles"),  # 25,000 words: each task of a mixture is drawn as often as the largest
  weight=6.7,  # MassiveText's share (GATO_SPEC section 4)
  documents="rlds_builders.text.documents:read",
)
