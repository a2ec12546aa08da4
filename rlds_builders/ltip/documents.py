"""Captioned pictures of the domain, by task."""

from collections.abc import Iterator

from gato_jax.documents import Captioned
from rlds_builders import _files, _pictures
from rlds_builders.ltip import emoji


def read(task: str, split: str, side: int = 64) -> Iterator[Captioned]:
  """Pictures with one caption each, or as many as a user's files have; MissingData where there are none here."""
  if task == "files":
    return _files.captioned("ltip", split, side)
  found = emoji.find("ltip", split)
  return _captioned(found, _pictures.Gate(f"ltip.emoji, {split}", side))


def _captioned(found: list[emoji.Emoji], gate: _pictures.Gate) -> Iterator[Captioned]:
  for one in found:
    picture = gate.fit(one.png, one.name)
    if picture is not None:
      yield Captioned(picture, (one.name,))
  gate.finish()
