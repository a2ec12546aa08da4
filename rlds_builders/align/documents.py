"""Captioned pictures of the domain, by task."""

from collections.abc import Iterator

from gato_jax.documents import Captioned
from rlds_builders import _files, _pictures
from rlds_builders.align import stamps


def read(task: str, split: str, side: int = 64) -> Iterator[Captioned]:
  """Pictures with one caption each, or as many as a user's files have; MissingData where there are none here."""
  if task == "files":
    return _files.captioned("align", split, side)
  found = ((stamp.path, "", (stamp.caption,)) for stamp in stamps.find("align", split))
  return _pictures.Gate(f"align.stamps, {split}", side).captioned(found)
