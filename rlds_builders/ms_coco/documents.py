"""Captioned photos of the domain, by task."""

from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax.documents import Captioned
from rlds_builders import _files, _pictures, _sources, _values

DATASET = "tfds:coco_captions/2014"
_SPLITS = {"train": "train", "validation": "val"}  # of Karpathy and Li; "restval" and "test" are left alone

_FIELDS = {"image": True, "image/filename": True, "captions": {"text"}}


def read(task: str, split: str, side: int = 64) -> Iterator[Captioned]:
  """Photos with five captions each, or as many as a user's files have; MissingData where there are none here."""
  if task == "files":
    return _files.captioned("ms_coco", split, side)
  from rlds_builders import _recorded  # imports TensorFlow, which the other task does without

  _sources.check_split(split)
  found = _recorded.examples(DATASET, _SPLITS[split], _FIELDS, undecoded=["image"])
  return _pictures.Gate(f"ms_coco.tfds, {split}", side).captioned(map(_parts, found))


def _parts(example: Mapping[str, Any]) -> tuple[bytes, str, tuple[str, ...]]:
  name = example["image/filename"].decode(errors="replace")
  captions = tuple(_values.text(caption, f"{DATASET}, {name}").strip() for caption in example["captions"]["text"])
  return example["image"], name, captions
