"""A kubectl in front of an API server that keeps objects in files and refuses what a server refuses.

It knows JobSets, Jobs and Kueue's objects by their schemas, and:

  create     refuses what is there already, also with --dry-run=server; unknown fields; an object
             with a resourceVersion
  replace    refuses an object whose resourceVersion is not the newest
  get        refuses what the user may not read (Kueue's cluster queues and flavors)
  delete     refuses what is not there, but for --ignore-not-found

Run as `kubectl`, it acts on the folder that it lies in and writes down what it was asked.
"""

import json
import pathlib
import re
import sys
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = "1.33"
SCHEMAS = {
  name: json.loads((ROOT / f"launch/schemas/{name}.json").read_text())
  for name in ("jobset", "kueue")
}
_PLURALS = {
  "JobSet": "jobsets.jobset.x-k8s.io",
  "Job": "jobs.batch",
  "LocalQueue": "localqueues.kueue.x-k8s.io",
  "ClusterQueue": "clusterqueues.kueue.x-k8s.io",
  "ResourceFlavor": "resourceflavors.kueue.x-k8s.io",
}
_FORBIDDEN = ("ClusterQueue", "ResourceFlavor")  # of a cluster, and not of a namespace

SCRIPT = """#!{python}
import sys
sys.path[:0] = [{support!r}]
import api_server
api_server.main({folder!r}, sys.argv[1:])
"""


def install(folder: pathlib.Path) -> None:
  """Puts an executable `kubectl` into a folder, whose cluster has the queues of kueue.yaml."""
  script = folder / "kubectl"
  support = str(pathlib.Path(__file__).parent)
  script.write_text(SCRIPT.format(python=sys.executable, support=support, folder=str(folder)))
  script.chmod(0o755)

  server = Server(folder)
  for document in yaml.safe_load_all((ROOT / "launch/kueue.yaml").read_text()):
    server.write(document)
  server.update_queues()


def validate(document: dict[str, Any]) -> None:
  """Raises where an API server would refuse a document, or silently drop a field."""
  if document["kind"] == "JobSet":
    jsonschema.validate(document, SCHEMAS["jobset"])
    for replicated in document["spec"]["replicatedJobs"]:
      job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": document["metadata"]}
      job["spec"] = replicated["template"]["spec"]
      kubernetes_validate.validate(job, KUBERNETES, strict=True)
  elif document["apiVersion"].startswith("kueue"):
    jsonschema.validate(document, SCHEMAS["kueue"])
  else:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


class Refused(Exception):
  """An answer of the server that is none of success."""


class Server:
  """The objects of a cluster, a JSON file each."""

  def __init__(self, folder: pathlib.Path):
    self._folder = folder / "objects"
    self._folder.mkdir(exist_ok=True)

  def path(self, kind: str, name: str) -> pathlib.Path:
    return self._folder / f"{kind}.{name}.json"

  def read(self, kind: str, name: str) -> dict[str, Any] | None:
    path = self.path(kind, name)
    return json.loads(path.read_text()) if path.exists() else None

  def write(self, document: dict[str, Any]) -> None:
    old = self.read(document["kind"], document["metadata"]["name"])
    version = int(old["metadata"]["resourceVersion"]) + 1 if old else 1
    document["metadata"]["resourceVersion"] = str(version)
    self.path(document["kind"], document["metadata"]["name"]).write_text(json.dumps(document))

  def set_status(self, kind: str, name: str, status: dict[str, Any]) -> None:
    """What a controller writes."""
    document = self.read(kind, name)
    assert document is not None, name
    self.write({**document, "status": status})

  def update_queues(self, active: bool = True) -> None:
    """Writes the status of local queues, as Kueue does."""
    for path in self._folder.glob("LocalQueue.*.json"):
      name = path.name.removeprefix("LocalQueue.").removesuffix(".json")
      queue = self.read("LocalQueue", name)
      assert queue is not None
      cluster_queue = self.read("ClusterQueue", queue["spec"]["clusterQueue"])
      assert cluster_queue is not None

      flavors = []
      for group in cluster_queue["spec"]["resourceGroups"]:
        for of_group in group["flavors"]:
          flavor = self.read("ResourceFlavor", of_group["name"]) or {"spec": {}}
          described = {"name": of_group["name"], "resources": group["coveredResources"]}
          if labels := flavor["spec"].get("nodeLabels"):
            described["nodeLabels"] = labels
          flavors.append(described)

      condition = {"type": "Active", "status": str(active), "message": "Can submit new workloads"}
      if not active:
        condition["message"] = "LocalQueue is stopped"
      self.set_status("LocalQueue", name, {"conditions": [condition], "flavors": flavors})

  def create(self, document: dict[str, Any], dry_run: bool) -> str:
    kind, metadata = document["kind"], document["metadata"]
    if metadata.get("resourceVersion"):
      raise Refused("BadRequest", "resourceVersion should not be set on objects to be created")
    _check_fields(document)
    if self.read(kind, metadata["name"]):
      raise Refused("AlreadyExists", f'{_PLURALS[kind]} "{metadata["name"]}" already exists')

    if not dry_run:
      self.write(document)
    return f"{_PLURALS[kind]}/{metadata['name']} created{' (server dry run)' * dry_run}"

  def replace(self, document: dict[str, Any]) -> str:
    kind, metadata = document["kind"], document["metadata"]
    _check_fields(document)
    old = self.read(kind, metadata["name"])
    if old is None:
      raise Refused("NotFound", f'{_PLURALS[kind]} "{metadata["name"]}" not found')
    given = metadata.get("resourceVersion")
    if given and given != old["metadata"]["resourceVersion"]:
      raise Refused(
        "Conflict",
        f'Operation cannot be fulfilled on {_PLURALS[kind]} "{metadata["name"]}": the object has '
        "been modified; please apply your changes to the latest version and try again",
      )
    self.write(document)
    return f"{_PLURALS[kind]}/{metadata['name']} replaced"


def _check_fields(document: dict[str, Any]) -> None:
  kind = document["kind"]
  version = document["apiVersion"].rpartition("/")[2]
  try:
    validate({k: v for k, v in document.items() if k != "status"})
  except (jsonschema.ValidationError, kubernetes_validate.ValidationError) as e:
    reason = str(getattr(e, "message", e)).splitlines()[0]
    raise Refused(
      "BadRequest",
      f'{kind} in version "{version}" cannot be handled as a {kind}: strict decoding error: {reason}',
    ) from e


def _kind(word: str) -> str:
  """Returns the kind that kubectl's word for it means: jobset, jobsets.jobset.x-k8s.io."""
  singular = word.split(".")[0].lower().removesuffix("s")
  return next(kind for kind in _PLURALS if kind.lower() == singular)


def _run(server: Server, verb: str, words: list[str], flags: list[str]) -> str:
  if verb in ("create", "replace"):
    documents = list(yaml.safe_load_all(sys.stdin))
    dry_run = "--dry-run=server" in flags
    if verb == "create":
      return "\n".join(server.create(document, dry_run) for document in documents)
    return "\n".join(map(server.replace, documents))

  if verb == "get":
    kind, name = _kind(words[0]), words[1]
    if kind in _FORBIDDEN:
      plural, _, group = _PLURALS[kind].partition(".")
      raise Refused(
        "Forbidden",
        f'{_PLURALS[kind]} "{name}" is forbidden: User "researcher" cannot get resource "{plural}" '
        f'in API group "{group}" at the cluster scope',
      )
    found = server.read(kind, name)
    if found is None and "--ignore-not-found" not in flags:
      raise Refused("NotFound", f'{_PLURALS[kind]} "{name}" not found')
    return json.dumps(found) if found else ""

  assert verb == "delete", verb
  for word in words:
    kind, name = _kind(word.partition("/")[0]), word.partition("/")[2]
    path = server.path(kind, name)
    if not path.exists() and "--ignore-not-found" not in flags:
      raise Refused("NotFound", f'{_PLURALS[kind]} "{name}" not found')
    path.unlink(missing_ok=True)
  return ""


def main(folder: str, arguments: list[str]) -> None:
  here = pathlib.Path(folder)
  with open(here / "asked", "a") as log:
    log.write(json.dumps(arguments) + "\n")

  flags = [argument for argument in arguments if argument.startswith("--")]
  verb, *words = [argument for argument in arguments if not argument.startswith("--")]
  try:
    print(_run(Server(here), verb, words, flags))
  except Refused as e:
    reason, message = e.args
    at = ' when creating "STDIN"' if verb == "create" else ""
    sys.exit(f"Error from server ({reason}): error{at}: {re.sub(chr(10), ' ', message)}")
