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
from rlds_builders import _gate, _lines, _pictures, _sources

_ANSWERS_ENDING = "_annotations.json"


def questions(domain: str, split: str, side: int) -> Iterator[Question]:
  """Reads every question with all answers that people gave, usually ten.

  v2_OpenEnded_mscoco_train2014_questions.json has its answers in v2_mscoco_train2014_annotations.json beside it, and
  its pictures in train2014/COCO_train2014_000000000042.jpg, or without the folder. Without the v2_ it is OK-VQA's.

  An answer that is a number is used as its text; one that is null or empty is left out and counted. A question that
  has no text, no number, or no answers is refused, and the set goes on.

  Raises:
    MissingData: there are none. GatoError: a damaged file, too many bad questions or pictures.
  """
  holds = "*_questions.json, *_annotations.json and COCO's pictures"
  found = _sources.find(domain, split, ("_questions.json",), holds, read_with_them=(_ANSWERS_ENDING,))
  return _questions(found, f"{domain}, {split}", side)


def _questions(found: _sources.Found, where: str, side: int) -> Iterator[Question]:
  pictures, gate = _pictures.Gate(where, side), _gate.Gate(where, "questions")
  left_out, first_left_out = 0, ""

  for path in found.files:
    name = path.name.replace("OpenEnded_", "").replace("_questions.json", _ANSWERS_ENDING)
    answers_path = path.with_name(name)
    if not answers_path.exists():
      raise GatoError(f"{path}: its answers, {name}, are not beside it; put them there, or take the questions away")

    asked, given = _load(path), _load(answers_path)
    try:
      subtype = asked["data_subtype"]
      answers = dict(annotation for annotation in given["annotations"] if isinstance(annotation, tuple))
      image_id = picture = None
      for number, question in enumerate(asked["questions"], 1):
        if not found.takes(str(question.get("image_id"))):
          continue

        fault = _fault(question, answers, name)
        if fault:
          gate.refuse(f"{path}: question {question.get('question_id', f'number {number}')}: {fault}")
          continue
        gate.accept()

        if question["image_id"] != image_id:  # the questions about a picture follow one another
          image_id = question["image_id"]
          picture = pictures.fit(_picture_path(path.parent, subtype, image_id))
        if picture is None:
          continue

        whole = answers[question["question_id"]]
        usable = tuple(answer for answer in whole if answer)
        if len(usable) < len(whole):
          left_out += len(whole) - len(usable)
          first_left_out = first_left_out or f"{answers_path}, question {question['question_id']}"
        yield Question(picture, question["question"], usable)
    except (AttributeError, KeyError, TypeError, ValueError) as e:
      raise GatoError(f"{path} and {name} are not as VQA publishes them: {type(e).__name__}, {e}") from e

  if left_out:
    _gate.tell(f"{where}: left out {left_out:,} answers that are null or empty; the first: {first_left_out}")
  gate.finish()
  pictures.finish()


def _fault(question: dict[str, Any], answers: dict[Any, tuple[str, ...]], name: str) -> str:
  """Returns why a question cannot be used, or ""."""
  for key in ("question_id", "image_id"):
    if question.get(key) is None:
      return f"it has no {key}"
  text = question.get("question")
  if not _is_text(text):
    return f"its text is {text!r:.40}"
  if question["question_id"] not in answers:
    return f"{name} has no answers to it"
  if not any(answers[question["question_id"]]):
    return f"its answers in {name} are empty"
  return ""


def _is_text(value: Any) -> bool:
  """Whether it is a text with something in it that UTF-8 can hold; JSON may escape half a character."""
  return isinstance(value, str) and bool(value.strip()) and value.encode(errors="ignore").decode() == value


def _picture_path(folder: pathlib.Path, subtype: str, image_id: int) -> pathlib.Path:
  name = f"COCO_{subtype}_{image_id:012d}.jpg"
  flat = folder / name
  return flat if flat.exists() else folder / subtype / name


def _load(path: pathlib.Path) -> Any:
  """Reads the whole file, but of an answer only its words: the files have millions of them."""
  with _lines.faults_of(path), _lines.opened(path) as file:
    try:
      return json.load(file, object_hook=_words_only)
    except (json.JSONDecodeError, RecursionError) as e:
      raise GatoError(f"{path}: not JSON ({e}); is it whole?") from e


def _words_only(value: dict[str, Any]) -> Any:
  """An answer -> its text, "" of one without words; answers to a question -> (question_id, texts)."""
  if "answer" in value:
    answer = value["answer"]
    if isinstance(answer, int | float):
      answer = json.dumps(answer)
    return sys.intern(answer) if _is_text(answer) else ""

  if "answers" in value and value.get("question_id") is not None:
    answers = value["answers"] if isinstance(value["answers"], list) else []
    return value["question_id"], tuple(answer for answer in answers if isinstance(answer, str))
  return value
