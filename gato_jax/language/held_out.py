"""The validation documents of tasks, measured one by one; each row is on the disk when it is done."""

import pathlib
from collections.abc import Mapping
from typing import Any

import tqdm
from PIL import Image

from gato_jax import results
from gato_jax.data import episodes, records
from gato_jax.documents import Captioned, Question
from gato_jax.errors import GatoError
from gato_jax.language import measure as measuring

_SHOWN = 12  # pictures of a task that are kept to look at


def run(reader: Any, step: int, directories: Mapping[str, pathlib.Path], workdir: pathlib.Path, wanted: int) -> int:
  """Measures what has no row yet in <workdir>/language.jsonl; returns how many documents that were.

  Args:
    reader: agent.Reader. step: of its checkpoint. directories: "domain.task" -> its dataset, of `records.directory_of`.
    wanted: documents a task, drawn from its validation split.

  Raises:
    GatoError: a dataset that is not there or has no validation split.
  """
  present = {
    (row.task, row.step, row.data, row.document) for row in results.read(workdir / measuring.ROWS, measuring.Row)
  }
  measured = 0
  for task, directory in directories.items():
    source, data = _validation(directory), episodes.source_fingerprint(directory)
    places = measuring.sample(len(source), wanted)
    shown = {places[i] for i in measuring.sample(len(places), _SHOWN)}
    missing = [place for place in places if (task, step, data, place) not in present]
    prior = None
    if missing and source.spec.document_kind == "questions":
      prior = measuring.Prior.of(records.Documents(directory))
    for place in tqdm.tqdm(missing, desc=task, unit="document", dynamic_ncols=True, disable=not missing):
      document = source.document(place)
      other = (place + len(source) // 2) % len(source)  # far away: neighbours may be alike
      elsewhere = source.document(other) if isinstance(document, Captioned) and other != place else None
      found = measuring.measure(reader, document, elsewhere, prior)
      row = measuring.Row(task, step, data, place, source.spec.document_kind, **found)
      if isinstance(document, Captioned | Question) and place in shown:
        path = workdir / measuring.PICTURES / task / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(document.picture).save(path)
      results.append(workdir / measuring.ROWS, [row])
    measured += len(missing)
  return measured


def _validation(directory: pathlib.Path) -> records.Documents:
  if "validation" not in records.load_builder(directory).info.splits:
    raise GatoError(f"{directory} has no validation split; run python -m experiments.build, which builds it again")
  return records.Documents(directory, "validation")
