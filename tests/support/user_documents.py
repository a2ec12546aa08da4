"""Files of documents as users have them: images, tables, archives and question sets."""

import gzip
import io
import json
import pathlib
import tarfile

import numpy as np
import zstandard
from PIL import Image

from gato_jax import documents

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def png(number: int, form: str = "PNG") -> bytes:
  file = io.BytesIO()
  Image.new("RGB", (32, 32), COLOURS[number % 3]).save(file, form)
  return file.getvalue()


def colour(picture: np.ndarray) -> int:
  return int(picture.mean(axis=(0, 1)).argmax())


def written(folder: pathlib.Path, numbers) -> None:
  (folder / "pictures").mkdir(parents=True, exist_ok=True)
  for number in numbers:
    (folder / "pictures" / f"{number}.png").write_bytes(png(number))


def jsonl(path: pathlib.Path, records) -> None:
  content = "".join(json.dumps(record) + "\n" for record in records).encode()
  pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}.get(path.suffix, bytes)
  path.write_bytes(pack(content))


def both(read) -> list:
  """Documents of both splits; neither split repeats the other's."""
  train, validation = (list(read(split)) for split in documents.SPLITS)
  assert list(read("train")) == train or not isinstance(train[0], str)
  return train, validation


def tar(path: pathlib.Path, members: dict[str, bytes]) -> None:
  with tarfile.open(path, "w") as file:
    for name, content in members.items():
      member = tarfile.TarInfo(name)
      member.size = len(content)
      file.addfile(member, io.BytesIO(content))


def vqa(folder: pathlib.Path, subtype: str, prefix: str, images: range) -> None:
  """Writes a small VQA set in its published format: two questions for each image."""
  (folder / subtype).mkdir()
  questions, annotations = [], []

  for image_id in images:
    (folder / subtype / f"COCO_{subtype}_{image_id:012}.jpg").write_bytes(png(image_id, "JPEG"))
    for number in range(2):
      question_id = image_id * 1000 + number
      asked = f"What is {number} in {image_id}?"
      questions.append({"image_id": image_id, "question": asked, "question_id": question_id})
      given = [
        {"answer": "yes" if i < 6 else f"no {i}", "answer_confidence": "maybe", "answer_id": i + 1}
        for i in range(10)
      ]
      annotations.append(
        {
          "question_type": "what is",
          "multiple_choice_answer": "yes",
          "answers": given,
          "image_id": image_id,
          "answer_type": "other",
          "question_id": question_id,
        }
      )

  shared = {
    "info": {"year": 2014},
    "license": {"name": "CC"},
    "data_subtype": subtype,
    "data_type": "mscoco",
  }
  asked = shared | {"task_type": "Open-Ended", "questions": questions}
  (folder / f"{prefix}OpenEnded_mscoco_{subtype}_questions.json").write_text(json.dumps(asked))
  annotations.reverse()  # they are found by the question, not by their place
  answered = shared | {"annotations": annotations}
  (folder / f"{prefix}mscoco_{subtype}_annotations.json").write_text(json.dumps(answered))
