"""Captioned images of the domain, by task."""

from collections.abc import Iterator

from gato_jax.documents import CaptionedImage
from rlds_builders.files import emoji, images, user_files


def read(task: str, split: str, side: int = 64) -> Iterator[CaptionedImage]:
  """Reads captioned images: one caption each, or as many as a user's files have.

  Args:
    task: "emoji" or "files".
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: There are none on this machine.
  """
  if task == "files":
    return user_files.captioned("ltip", split, side)

  samples = ((e.png, e.name, (e.name,)) for e in emoji.find("ltip", split))
  return images.ImageSkipCounter(f"ltip.emoji, {split}", side).captioned(samples)
