"""Plain text: of CPython, of Debian's packages, of TFDS' catalogue, and of users."""

from gato_jax.domain import DocumentDomain

DOMAIN = DocumentDomain(
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
  # With 17,000 words it would be drawn as often as the largest task.
  held_out=("fortunes",),
  weight=6.7,  # MassiveText's share (Reed et al. 2022, table 1)
  documents="rlds_builders.text.documents:read",
)
