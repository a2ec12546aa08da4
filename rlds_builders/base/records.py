"""TFDS features of episodes and documents, and the conversion of documents to them."""

import io
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from dm_env import specs as dm_specs
from PIL import Image

from gato_jax import documents
from gato_jax.task import TaskSpec, nested

# `success` of an episode whose task defines no success.
SUCCESS_UNDEFINED = -1


def episode_features(spec: TaskSpec, with_expert_action: bool) -> tfds.features.FeaturesDict:
  """Returns the features of RLDS episodes of a task.

  Args:
    spec: Spec of the task.
    with_expert_action: True when steps say what the expert would have done, beside the action
      that was executed.
  """
  observation = {key: _feature(field) for key, field in spec.observation.items()}
  steps = {"observation": nested(observation), "action": _feature(spec.action)}
  if with_expert_action:
    steps["expert_action"] = _feature(spec.action)
  steps |= {
    "reward": np.float32,
    "discount": np.float32,
    "is_first": np.bool_,
    "is_last": np.bool_,
    "is_terminal": np.bool_,
  }

  episode_metadata = {
    "agent_id": tfds.features.Text(),
    "task": tfds.features.Text(),
    "seed": np.int64,
    # In collection order.
    "index": np.int64,
    "return": np.float32,
    "length": np.int64,
    # 1, 0, or -1 where the task defines none.
    "success": np.int64,
    # True when some actions were changed before they were executed
    # (gato_jax/env/collect/perturbations.py).
    "disturbed": np.bool_,
    # JSON: what episode_info() returned beside "success", e.g. what was drawn at random.
    "info": tfds.features.Text(),
  }
  return tfds.features.FeaturesDict(
    {"steps": tfds.features.Dataset(steps), "episode_metadata": episode_metadata}
  )


def _feature(spec: dm_specs.Array) -> tfds.features.FeatureConnector:
  """Returns the feature of a field; images are stored as PNG."""
  if isinstance(spec, dm_specs.StringArray):
    return tfds.features.Text()
  if spec.dtype == np.uint8 and len(spec.shape) == 3:
    return tfds.features.Image(shape=spec.shape, encoding_format="png")
  return tfds.features.Tensor(shape=spec.shape, dtype=spec.dtype)


def document_features(kind: str) -> tfds.features.FeaturesDict:
  """Returns the features of a kind of document (gato_jax/documents.py)."""
  text = tfds.features.Text()
  if kind == "text":
    return tfds.features.FeaturesDict({"text": text})

  if kind == "pages":
    # A segment is an image or a text, and the other one is empty. The images of a page differ in
    # size, which TFDS' Image does not allow within a sequence, so they are encoded here.
    png = tfds.features.Tensor(shape=(), dtype=np.object_)
    segments = tfds.features.Sequence({"image": png, "text": text})
    return tfds.features.FeaturesDict({"segments": segments})

  fields = {"image": tfds.features.Image(shape=(None, None, 3), encoding_format="png")}
  if kind == "captions":
    fields["captions"] = tfds.features.Sequence(text)
  else:
    fields["question"] = text
    fields["answers"] = tfds.features.Sequence(text)
  return tfds.features.FeaturesDict(fields)


def document_record(document: documents.Document) -> dict[str, Any]:
  """Converts a document to the features of its kind."""
  match document:
    case str():
      return {"text": document}

    case documents.CaptionedImage():
      return {"image": document.image, "captions": list(document.captions)}

    case documents.Question():
      return {
        "image": document.image,
        "question": document.question,
        "answers": list(document.answers),
      }

    case documents.Page():
      texts = []
      images = []
      for segment in document.segments:
        if isinstance(segment, str):
          texts.append(segment)
          images.append(b"")
        else:
          texts.append("")
          images.append(_png(segment))
      return {"segments": {"image": images, "text": texts}}

  raise TypeError(f"{type(document).__name__} is no kind of document")


def _png(image: np.ndarray) -> bytes:
  """Encodes an image losslessly."""
  file = io.BytesIO()
  Image.fromarray(image).save(file, "PNG")
  return file.getvalue()
