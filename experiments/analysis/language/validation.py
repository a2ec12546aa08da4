"""Measures the documents of validation splits, one by one; a finished row is on the disk."""

import pathlib
from collections.abc import Mapping
from typing import Any

from PIL import Image

from experiments.analysis.language import measure
from gato_jax import progress
from gato_jax.data import prepared_format, records
from gato_jax.documents import CaptionedImage, Question
from gato_jax.env import results
from gato_jax.errors import GatoError

_IMAGES_KEPT = 12  # of a task, to be looked at


def run(
  reader: Any,
  step: int,
  directories: Mapping[str, pathlib.Path],
  workdir: pathlib.Path,
  documents: int,
) -> int:
  """Measures the documents that have no row yet in <workdir>/language.jsonl.

  Args:
    reader: An agent.TextGenerator.
    step: Training step of its checkpoint.
    directories: "domain.task" -> directory of its dataset (records.directory_of).
    workdir: Directory of the rows and images.
    documents: Number of documents of each task, drawn from its validation split.

  Returns:
    How many documents were measured.

  Raises:
    GatoError: A dataset is missing or has no validation split.
  """
  existing = {
    (row.task, row.step, row.data, row.document)
    for row in results.read(workdir / measure.ROWS, measure.DocumentRow)
  }

  measured = 0
  for task, directory in directories.items():
    source = _validation_split(directory)
    fingerprint = prepared_format.source_fingerprint(directory)

    indices = measure.sample(len(source), documents)
    shown = {indices[i] for i in measure.sample(len(indices), _IMAGES_KEPT)}
    missing = [i for i in indices if (task, step, fingerprint, i) not in existing]

    prior = None
    if missing and source.spec.document_kind == "questions":
      prior = measure.Prior.of(records.DocumentRecords(directory))

    for index in progress.Bar(missing, desc=task, unit="document", disable=not missing):
      document = source.document(index)

      other_document = None
      if isinstance(document, CaptionedImage):
        # Half of the split away: neighbours may be alike.
        other_index = (index + len(source) // 2) % len(source)
        if other_index != index:
          other_document = source.document(other_index)

      fields = measure.measure(reader, document, other_document, prior=prior)
      row = measure.DocumentRow(
        task, step, data=fingerprint, document=index, kind=source.spec.document_kind, **fields
      )

      # The image first: a row that exists is not measured again, so that its image must be there.
      if isinstance(document, CaptionedImage | Question) and index in shown:
        path = workdir / measure.IMAGES / task / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(document.image).save(path)
      results.append(workdir / measure.ROWS, [row])

    measured += len(missing)

  return measured


def _validation_split(directory: pathlib.Path) -> records.DocumentRecords:
  if "validation" not in records.load_builder(directory).info.splits:
    raise GatoError(
      f"{directory} has no validation split; run python -m experiments.build, which builds it again"
    )

  return records.DocumentRecords(directory, "validation")
