"""Captioned pictures of the domain, by task."""

from collections.abc import Iterator

from gato_jax.documents import Captioned
from rlds_builders import _files, _pictures
from rlds_builders.ltip import emoji


def read(task: str, split: str, side: int = 64) -> Iterator[Captioned]:
  """Pictures with one caption each, or as many as a user's files have; MissingData where there are none here."""
  if task == "files":
    return _files.captioned("ltip", split, side)
  found = ((one.png, one.name, (one.name,)) for one in emoji.find("ltip", split))
  return _pictures.Gate(f"ltip.emoji, {split}", side).captioned(found)
