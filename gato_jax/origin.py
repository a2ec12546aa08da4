"""Where a task's data comes from, in named parts, so that no verb uses data that its sources no longer describe.

An origin is a JSON object. Raw logs keep it in <task>/origin.json, datasets in their TFDS metadata:

  agent_id, environment, expert   what the Domain declares
  documents, source               the same, of documents and of recorded episodes
  code                            hash of the Python files of the domain's folder that make environments, experts or
                                  documents; comments and docstrings do not count
  disturbance, mistakes           how the expert's actions were changed before they were executed
  shard_episodes                  of the raw logs; whoever collects more goes on with it
  observation, action             the environment's specs
  max_text_tokens, control_timestep   what changes tokens and videos, but no episode
  logs                            hash of the raw logs that a dataset was built from
  files                           hash of the files that documents were built from

Importing this needs neither TensorFlow nor a simulator.
"""

import ast
import hashlib
import importlib.util
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from gato_jax import files, specs
from gato_jax.errors import GatoError

Origin = Mapping[str, Any]
FILE = "origin.json"

# Other episodes follow from these; what is left changes how they are tokenised and shown.
EPISODES = ("agent_id", "environment", "expert", "code", "disturbance", "mistakes", "observation", "action")
_SAMPLED = 1 << 16  # bytes at both ends of a file of documents


class Changed(GatoError):
  """What a task is now does not fit the episodes that were collected of it."""


def declared(domain: specs.Domain, task: str) -> dict[str, Any]:
  """Returns the parts that follow from a domain's declaration, without making an environment."""
  parts: dict[str, Any] = {"agent_id": domain.agent_id}

  for part in ("environment", "expert", "documents"):
    if hook := getattr(domain, part):
      parts[part] = hook
  if domain.documents:
    parts["document_kind"] = domain.document_kind
  else:
    parts["max_text_tokens"] = dict(sorted(domain.text_tokens(task).items()))
  if task in domain.sources:
    parts["source"] = specs.source_to_json(domain.sources[task])

  if hook := domain.environment or domain.documents:
    parts["code"] = _code(hook)
  return parts


def of_spec(spec: specs.TaskSpec) -> dict[str, Any]:
  """Returns the parts that follow from a live environment."""
  parts = spec.to_json()
  return {key: parts[key] for key in ("observation", "action", "max_text_tokens", "control_timestep")}


def read(directory: pathlib.Path) -> dict[str, Any] | None:
  """Returns what is written beside the raw logs in `directory`; None where an older version collected them."""
  path = directory / FILE
  if not path.exists():
    return None
  try:
    return json.loads(path.read_text())
  except ValueError as e:
    raise GatoError(f"{path}: not JSON ({e}); move {directory} away and collect again") from e


def write(directory: pathlib.Path, origin: Origin) -> None:
  files.write_json(directory / FILE, origin, indent=None)  # bounds of images are long lists


def of_dataset(metadata: pathlib.Path) -> dict[str, Any]:
  """Returns a dataset's origin from its metadata.json; of older datasets the parts that they know."""
  content = json.loads(metadata.read_text())
  if "origin" in content:
    return content["origin"]
  known = {"agent_id": content.get("agent_id", "")}
  if "source" in content:
    known["source"] = content["source"]
  return known


def difference(before: Origin, now: Origin, parts: tuple[str, ...] | None = None) -> str:
  """Names the first part of `now` that was something else, or returns "" where all are alike.

  A part that `before` does not know is not compared.

  Args:
    parts: those that are compared; all by default.
  """
  for part in parts or tuple(now):
    if part in before and part in now and before[part] != now[part]:
      return _said(part, before[part], now[part])
  return ""


def _said(part: str, before: Any, now: Any) -> str:
  if part in ("code", "logs", "files"):
    names = {"code": "the domain's code", "logs": "the raw logs", "files": "the source files"}
    return f"{names[part]} changed"
  if isinstance(before, Mapping) and isinstance(now, Mapping):
    key = next(k for k in sorted(before.keys() | now.keys()) if before.get(k) != now.get(k))
    return f"{part} {key!r} was {before.get(key)}, now it is {now.get(key)}"
  return f"{part} was {before!r}, now it is {now!r}"


def _code(hook: str) -> str:
  """Hash of the Python files of the folder of a hook "module:function", or of its module outside a domain's folder."""
  name = hook.split(":")[0]
  package, _, _ = name.rpartition(".")
  spec = importlib.util.find_spec(name)
  if spec is None or not spec.origin:
    raise GatoError(f"hook {hook!r}: there is no module {name}; correct the Domain")

  path = pathlib.Path(spec.origin)
  in_folder = "." in package  # rlds_builders.<domain>.<module>
  found = sorted(path.parent.rglob("*.py")) if in_folder else [path]
  # The declaration is compared part by part, and the builder only copies.
  apart = {path.parent / "__init__.py", *path.parent.glob("*_dataset_builder.py")}
  digest = hashlib.sha256()
  for one in found:
    if one not in apart:
      digest.update(one.relative_to(path.parent).as_posix().encode())
      digest.update(_without_comments(one).encode())
  return digest.hexdigest()[:16]


def _without_comments(path: pathlib.Path) -> str:
  """What a Python file does, whatever its comments, docstrings and layout."""
  tree = ast.parse(path.read_text())
  for node in ast.walk(tree):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
      node.body = node.body[1:]
  return ast.dump(tree)


def files_hash(directory: pathlib.Path) -> str:
  """Hash of names, sizes and both ends of all files below `directory`; "" where it holds none."""
  found = sorted(path for path in directory.rglob("*") if path.is_file())
  digest = hashlib.sha256()

  for path in found:
    size = path.stat().st_size
    digest.update(f"{path.relative_to(directory).as_posix()} {size}".encode())
    with path.open("rb") as file:
      digest.update(file.read(_SAMPLED))
      file.seek(max(0, size - _SAMPLED))
      digest.update(file.read(_SAMPLED))

  return digest.hexdigest()[:16] if found else ""
