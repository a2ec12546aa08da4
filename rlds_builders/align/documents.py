"""Captioned images of the domain, by task."""

from collections.abc import Iterator

from gato_jax.documents import CaptionedImage
from rlds_builders.files import images, stamps, user_files


def read(task: str, split: str, side: int = 64) -> Iterator[CaptionedImage]:
  """Reads captioned images: one caption each, or as many as a user's files have.

  Args:
    task: "stamps" or "files".
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: There are none on this machine.
  """
  if task == "files":
    return user_files.captioned("align", split, side)

  samples = ((stamp.path, "", (stamp.caption,)) for stamp in stamps.find("align", split))
  return images.ImageSkipCounter(f"align.stamps, {split}", side).captioned(samples)
