"""Questions in the files that VQA v2 and OK-VQA publish, beside COCO's pictures, of the folder that _sources finds.

They are read as a whole: those of VQA v2 for training take 0.8 GB of memory (files of as many, made up).
"""

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from gato_jax.documents import Question
from gato_jax.errors import GatoError
from rlds_builders import _lines, _pictures, _sources


def questions(domain: str, split: str, side: int) -> Iterator[Question]:
  """Every question with all answers that people gave, usually ten.

  v2_OpenEnded_mscoco_train2014_questions.json has its answers in v2_mscoco_train2014_annotations.json beside it, and
  its pictures in train2014/COCO_train2014_000000000042.jpg, or without the folder. Without the v2_ it is OK-VQA's.

  Raises:
    MissingData: there are none. GatoError: a damaged file, questions without answers, too many bad pictures.
  """
  holds = "*_questions.json, *_annotations.json and COCO's pictures"
  found = _sources.find(domain, split, ("_questions.json",), holds)
  return _questions(found, _pictures.Gate(f"{domain}, {split}", side))


def _questions(found: _sources.Found, gate: _pictures.Gate) -> Iterator[Question]:
  for path in found.files:
    name = path.name.replace("OpenEnded_", "").replace("_questions.json", "_annotations.json")
    answers_path = path.with_name(name)
    if not answers_path.exists():
      raise GatoError(f"{path}: its answers, {name}, are not beside it; put them there, or take the questions away")
    asked, given = _load(path), _load(answers_path)
    try:
      subtype, answers = asked["data_subtype"], dict(given["annotations"])
      image_id = picture = None
      for question in asked["questions"]:
        if not found.takes(str(question["image_id"])):
          continue
        if question["image_id"] != image_id:  # the questions about a picture follow one another
          image_id = question["image_id"]
          picture = gate.fit(_picture_path(path.parent, subtype, image_id))
        if picture is not None:
          yield Question(picture, question["question"], answers[question["question_id"]])
    except (KeyError, TypeError, ValueError) as e:
      raise GatoError(f"{path} and {name} are not as VQA publishes them: {type(e).__name__}, {e}") from e
  gate.finish()


def _picture_path(folder: pathlib.Path, subtype: str, image_id: int) -> pathlib.Path:
  name = f"COCO_{subtype}_{image_id:012d}.jpg"
  flat = folder / name
  return flat if flat.exists() else folder / subtype / name


def _load(path: pathlib.Path) -> Any:
  """The whole file, but of an answer only its words: the files have millions of them."""
  with _lines.faults_of(path), path.open(encoding="utf-8") as file:
    try:
      return json.load(file, object_hook=_words_only)
    except json.JSONDecodeError as e:
      raise GatoError(f"{path}: not JSON ({e}); is it whole?") from e


def _words_only(value: dict[str, Any]) -> Any:
  if "answer" in value:
    return sys.intern(value["answer"])
  if "answers" in value:
    return value["question_id"], tuple(value["answers"])
  return value
