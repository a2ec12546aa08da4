"""Small sets of documents of every kind, each with its number in its text, and rows of them."""

import numpy as np

from gato_jax import documents
from gato_jax.data import mixture, pipeline
from gato_jax.domain import DocumentDomain
from gato_jax.tokens import codec
from rlds_builders.base import rlds_builder

TEXT = codec.default_text_codec()
LENGTH = 256


def picture(number: int, height: int = 32, width: int = 48) -> np.ndarray:
  return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def read(task: str, split: str, side: int):
  """Yields documents that contain their own number, with images of different sizes."""
  first, count = (0, 24) if split == "train" else (100, 4)

  for i in range(first, first + count):
    shown = picture(i, *((32, side), (side, 16), (16, 16))[i % 3])
    if task == "text":
      yield f"Document {i}.\n" + "All work and no play. " * (i % 7)
    elif task == "captions":
      yield documents.CaptionedImage(shown, (f"picture {i}", f"number {i} of many")[: 1 + i % 2])
    elif task == "questions":
      yield documents.Question(shown, f"which is it, {i}?", ("no", f"number {i}", f"number {i}"))
    else:
      yield documents.Page(
        (f"page {i}: ", shown, "between", picture(i + 1, 16, 16), f" end of {i}")
      )


def domain(kind: str) -> DocumentDomain:
  return DocumentDomain(kind, (kind,), 1.0, documents="document_sets:read", document_kind=kind)


def builder_of(kind: str) -> type:
  one = domain(kind)
  members = {
    "DOMAIN": one,
    "BUILDER_CONFIGS": rlds_builder.configs(one),
    "__module__": rlds_builder.__name__,
  }  # TFDS looks for a package
  return type(kind.capitalize(), (rlds_builder.DocumentBuilder,), members, skip_registration=True)


def inputs(tfds_dir, kind: str, **settings) -> pipeline.Input:
  settings = (
    dict(weights={f"{kind}.{kind}": 1.0}, sequence_length=LENGTH, seed=3, name=f"m_{kind}")
    | settings
  )
  return pipeline.Input(mixture.MixtureConfig(**settings), tfds_dir, 4, TEXT, 512)
