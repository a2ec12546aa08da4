"""Captioned photos of the domain, by task."""

from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax.documents import CaptionedImage
from rlds_builders.base import conversion, sources
from rlds_builders.files import images, user_files

DATASET = "tfds:coco_captions/2014"

# Our split -> TFDS', which follows Karpathy and Li; "restval" and "test" are left alone.
_SPLITS = {"train": "train", "validation": "val"}

_FIELDS = {"image": True, "image/filename": True, "captions": {"text"}}


def read(task: str, split: str, side: int = 64) -> Iterator[CaptionedImage]:
  """Reads photos with five captions each, or as many as a user's files have.

  Args:
    task: "tfds" or "files".
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: There are none on this machine.
  """
  if task == "files":
    return user_files.captioned("ms_coco", split, side)

  # Imports TensorFlow, which the other task does without.
  from rlds_builders.base import tfds_source

  sources.check_split(split)
  # The photos are not decoded, so that a damaged one is refused by name as a user's file is.
  examples = tfds_source.examples(DATASET, _SPLITS[split], fields=_FIELDS, undecoded=["image"])
  counter = images.ImageSkipCounter(f"ms_coco.tfds, {split}", side)
  return counter.captioned(map(_sample, examples))


def _sample(example: Mapping[str, Any]) -> tuple[bytes, str, tuple[str, ...]]:
  """Returns the encoded photo, its name and its captions."""
  name = example["image/filename"].decode(errors="replace")

  captions = []
  for caption in example["captions"]["text"]:
    captions.append(conversion.text(caption, f"{DATASET}, {name}").strip())
  return example["image"], name, tuple(captions)
