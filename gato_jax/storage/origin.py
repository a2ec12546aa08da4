"""Describes the origin of a task's data, so that no verb uses data that its sources no longer
describe.

An origin is a JSON object of named parts. Raw logs keep it in <task>/origin.json, datasets in their
TFDS metadata:

  agent_id, environment, expert   declared by the Domain
  documents, document_kind        the same, of documents
  source                          the same, of recorded episodes
  domain_code                     hash of the code that makes episodes or documents (code_hash.py)
  disturbance, mistakes           changes of the expert's actions before they were executed
  shard_episodes                  of the raw logs; later collections continue with it
  observation, action             specs of the environment
  max_text_tokens                 changes tokens, but no episode
  control_timestep                changes videos, but no episode
  logs                            hash of the raw logs from which a dataset was built
  files                           hash of the files from which documents were built
  recording                       hash of names and sizes of the files of recorded episodes

Data of versions up to 0.1.0 has a part "code" instead of "domain_code", a hash of the files of the
domain's own directory. Parts that only one side knows are not compared, so such data stays valid.

Importing this module needs neither TensorFlow nor a simulator.
"""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from gato_jax.domain import DocumentDomain, Domain, RecordedDomain, SimulatedDomain, source_to_json
from gato_jax.errors import GatoError
from gato_jax.storage import files
from gato_jax.storage.code_hash import code_hash
from gato_jax.task import TaskSpec

Origin = Mapping[str, Any]
FILE = "origin.json"

# Parts on which the episodes depend; the others change how they are tokenised and shown.
EPISODES = (
  "agent_id",
  "environment",
  "expert",
  "domain_code",
  "disturbance",
  "mistakes",
  "observation",
  "action",
)
_HASHED_PARTS = {
  "domain_code": "the domain's code",
  "logs": "the raw logs",
  "files": "the source files",
  "recording": "the recorded files",
}
_SAMPLED_BYTES = 1 << 16  # at each end of a file of documents


class OriginChanged(GatoError):
  """A task is now something else than it was when its episodes were collected."""


def declared(domain: Domain, task: str) -> dict[str, Any]:
  """Returns the parts that follow from a domain's declaration, without making an environment."""
  parts: dict[str, Any]
  match domain:
    case DocumentDomain():
      parts = {
        "agent_id": "",
        "documents": domain.documents,
        "document_kind": domain.document_kind,
      }
      hooks = [domain.documents]

    case RecordedDomain():
      parts = {"agent_id": domain.agent_id, "source": source_to_json(domain.sources[task])}
      hooks = []

    case SimulatedDomain():
      parts = {"agent_id": domain.agent_id, "environment": domain.environment}
      hooks = [domain.environment]
      if domain.expert:
        parts["expert"] = domain.expert
        hooks.append(domain.expert)

    case _:
      raise TypeError(f"{type(domain).__name__} is no kind of domain")

  if isinstance(domain, RecordedDomain | SimulatedDomain):
    parts["max_text_tokens"] = dict(sorted(domain.text_tokens(task).items()))
  if any(hooks):
    parts["domain_code"] = code_hash(*hooks)

  return parts


def of_spec(spec: TaskSpec) -> dict[str, Any]:
  """Returns the parts that follow from a live environment."""
  parts = spec.to_json(every_bound=True)
  names = ("observation", "action", "max_text_tokens", "control_timestep")
  return {name: parts[name] for name in names}


def read(directory: pathlib.Path) -> dict[str, Any] | None:
  """Returns the origin of the raw logs in `directory`; None if an older version collected them."""
  path = directory / FILE
  if not path.exists():
    return None

  try:
    return json.loads(path.read_text())
  except ValueError as e:
    raise GatoError(f"{path}: not JSON ({e}); move {directory} away and collect again") from e


def write(directory: pathlib.Path, origin: Origin) -> None:
  """Writes the origin of the raw logs in `directory`."""
  # No indentation: the bounds of images are long lists.
  files.write_json(directory / FILE, origin, indent=None)


def of_dataset(metadata: pathlib.Path) -> dict[str, Any]:
  """Returns a dataset's origin from its metadata.json; the known parts for older datasets."""
  content = json.loads(metadata.read_text())
  if "origin" in content:
    return content["origin"]

  parts = {"agent_id": content.get("agent_id", "")}
  if "source" in content:
    parts["source"] = content["source"]
  return parts


def difference(before: Origin, now: Origin, parts: tuple[str, ...] | None = None) -> str:
  """Describes the first part that differs, or returns "" where all are alike.

  Args:
    before: Parts that it does not know are not compared.
    now: Parts that it does not know are not compared.
    parts: Names of the parts to be compared; all by default.
  """
  for part in parts or tuple(now):
    if part in before and part in now and before[part] != now[part]:
      return _describe_change(part, before[part], now=now[part])

  return ""


def _describe_change(part: str, before: Any, now: Any) -> str:
  if part in _HASHED_PARTS:
    return f"{_HASHED_PARTS[part]} changed"

  if isinstance(before, Mapping) and isinstance(now, Mapping):
    keys = sorted(before.keys() | now.keys())
    key = next(key for key in keys if before.get(key) != now.get(key))
    return f"{part} {key!r} was {before.get(key)}, now it is {now.get(key)}"

  return f"{part} was {before!r}, now it is {now!r}"


def listing_hash(path: pathlib.Path) -> str:
  """Hashes names and sizes of a file or of all files of a directory; "" where there are none."""
  paths = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
  lines = [f"{p.relative_to(path).as_posix()} {p.stat().st_size}" for p in paths]
  return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16] if lines else ""


def files_hash(directory: pathlib.Path) -> str:
  """Hashes names, sizes and both ends of all files below `directory`; "" where it has none."""
  paths = sorted(path for path in directory.rglob("*") if path.is_file())
  digest = hashlib.sha256()

  for path in paths:
    size = path.stat().st_size
    digest.update(f"{path.relative_to(directory).as_posix()} {size}".encode())
    with path.open("rb") as file:
      digest.update(file.read(_SAMPLED_BYTES))
      file.seek(max(0, size - _SAMPLED_BYTES))
      digest.update(file.read(_SAMPLED_BYTES))

  return digest.hexdigest()[:16] if paths else ""
