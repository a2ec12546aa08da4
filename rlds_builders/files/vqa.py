"""Reads questions in the files that VQA v2 and OK-VQA publish, beside COCO's images.

Files of questions and answers are held in memory as a whole: those of VQA v2 for training take
0.8 GB (measured on made-up files of the same size).
"""

import json
import pathlib
import sys
from collections.abc import Iterator
from typing import Any

from gato_jax.documents import Question
from gato_jax.errors import GatoError
from rlds_builders.base import skip_counter, sources
from rlds_builders.files import images, streams

_ANSWERS_ENDING = "_annotations.json"

# Question id -> the answers of all people, "" of those without a usable text.
_Answers = dict[Any, tuple[str, ...]]


def questions(domain: str, split: str, side: int) -> Iterator[Question]:
  """Reads every question with all answers that people gave, usually ten.

  v2_OpenEnded_mscoco_train2014_questions.json has its answers in
  v2_mscoco_train2014_annotations.json beside it, and its images in
  train2014/COCO_train2014_000000000042.jpg, or without that directory. OK-VQA's names lack the
  v2_.

  An answer that is a number is used as its text; one that is null or empty is left out and
  counted. A question that has no text, no id, or no answers is refused, and the set goes on.

  Args:
    domain: Name of the domain.
    split: "train" or "validation".
    side: Pixels of the longer side, a multiple of 16.

  Raises:
    MissingData: There are none.
    GatoError: A file is damaged, or too many questions or images are bad.
  """
  found = sources.find(
    domain,
    split,
    endings=("_questions.json",),
    holds="*_questions.json, *_annotations.json and COCO's pictures",
    read_with_them=(_ANSWERS_ENDING,),
  )
  return _questions(found, f"{domain}, {split}", side)


def _questions(found: sources.SourceFile, where: str, side: int) -> Iterator[Question]:
  image_counter = images.ImageSkipCounter(where, side)
  question_counter = skip_counter.SkipCounter(where, "questions")
  left_out = 0
  first_left_out = ""

  for path in found.files:
    name = path.name.replace("OpenEnded_", "").replace("_questions.json", _ANSWERS_ENDING)
    answers_path = path.with_name(name)
    if not answers_path.exists():
      raise GatoError(
        f"{path}: its answers, {name}, are not beside it; "
        "put them there, or take the questions away"
      )

    questions_json = _load(path)
    answers_json = _load(answers_path)
    try:
      subtype = questions_json["data_subtype"]
      # _words_only has made tuples of those annotations that have answers.
      answers: _Answers = dict(
        annotation for annotation in answers_json["annotations"] if isinstance(annotation, tuple)
      )

      image_id = None
      image = None
      for number, question in enumerate(questions_json["questions"], 1):
        if not found.takes(str(question.get("image_id"))):
          continue

        fault = _fault(question, answers, name)
        if fault:
          identifier = question.get("question_id", f"number {number}")
          question_counter.refuse(f"{path}: question {identifier}: {fault}")
          continue
        question_counter.accept()

        # The questions about an image follow one another, so each image is decoded once.
        if question["image_id"] != image_id:
          image_id = question["image_id"]
          image = image_counter.fit(_image_path(path.parent, subtype, image_id))
        if image is None:
          continue

        all_answers = answers[question["question_id"]]
        usable = tuple(answer for answer in all_answers if answer)
        if len(usable) < len(all_answers):
          left_out += len(all_answers) - len(usable)
          first_left_out = first_left_out or f"{answers_path}, question {question['question_id']}"
        yield Question(image, question["question"], usable)
    except (AttributeError, KeyError, TypeError, ValueError) as e:
      raise GatoError(
        f"{path} and {name} are not as VQA publishes them: {type(e).__name__}, {e}"
      ) from e

  if left_out:
    skip_counter.tell(
      f"{where}: left out {left_out:,} answers that are null or empty; the first: {first_left_out}"
    )
  question_counter.finish()
  image_counter.finish()


def _fault(question: dict[str, Any], answers: _Answers, name: str) -> str:
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
  """Returns True for a text that is not blank and that UTF-8 can hold.

  JSON may escape half a character, a single surrogate.
  """
  if not isinstance(value, str) or not value.strip():
    return False
  return value.encode(errors="ignore").decode() == value


def _image_path(directory: pathlib.Path, subtype: str, image_id: int) -> pathlib.Path:
  """Returns COCO's path of an image, with or without the subtype's directory."""
  name = f"COCO_{subtype}_{image_id:012d}.jpg"
  flat = directory / name
  return flat if flat.exists() else directory / subtype / name


def _load(path: pathlib.Path) -> Any:
  """Reads a whole file, but of an answer only its words: the files have millions of them."""
  with streams.faults_of(path), streams.opened(path) as file:
    try:
      return json.load(file, object_hook=_words_only)
    except (json.JSONDecodeError, RecursionError) as e:
      raise GatoError(f"{path}: not JSON ({e}); is it whole?") from e


def _words_only(value: dict[str, Any]) -> Any:
  """Shortens an object of an annotations file while it is parsed.

  An answer becomes its text, "" of one without words; an annotation becomes
  (question_id, texts of the answers). JSON's parser calls this for the inner objects first.
  """
  if "answer" in value:
    answer = value["answer"]
    if isinstance(answer, int | float):
      answer = json.dumps(answer)
    # Most answers are the same few words, which are kept once.
    return sys.intern(answer) if _is_text(answer) else ""

  if "answers" in value and value.get("question_id") is not None:
    answers = value["answers"] if isinstance(value["answers"], list) else []
    return value["question_id"], tuple(answer for answer in answers if isinstance(answer, str))
  return value
