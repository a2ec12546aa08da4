"""Builds the container image of this checkout: python -m launch image --repository=REGISTRY/gato

The image is tagged with the commit. With --push it goes to the registry, and its digest is kept:
`submit` without --image then runs exactly that image. A tree with changes that are not committed is
built too, under a tag that says so, unless --strict is given.
"""

import dataclasses
import json
import re
import subprocess
import sys

from absl import flags

from experiments import cli
from gato_jax.errors import GatoError
from gato_jax.storage import files
from gato_jax.train import provenance
from launch import jobs

RECORD = jobs.FOLDER / "image" / "pushed.json"
_DOCKERFILE = "launch/container/Dockerfile"
_DIGEST = re.compile(r"\S+@sha256:[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Image:
  """An image that was pushed.

  Attributes:
    reference: REPOSITORY@sha256:..., which never means another image.
    tag: REPOSITORY:TAG, for people.
    revision: Git commit of its code, with "+" for changes that were not committed.
  """

  reference: str
  tag: str
  revision: str


def build(repository: str, accelerator: str, push: bool, strict: bool) -> str:
  """Builds the image and returns its tag; pushes and records it where asked to.

  Raises:
    GatoError: The tree has changes and `strict` is given, or docker fails.
  """
  revision = provenance.revision()
  if not revision:
    raise GatoError("this is no git checkout: an image is named by its commit")
  if strict and revision.endswith("+"):
    raise GatoError("there are changes that are not committed: commit them, or leave out --strict")

  tag = f"{repository}:{revision[:12]}-{accelerator}" + "-changed" * revision.endswith("+")
  command = ["docker", "build", f"--file={_DOCKERFILE}", f"--build-arg=ACCELERATOR={accelerator}"]
  _show([*command, f"--build-arg=REVISION={revision}", f"--tag={tag}", "."])
  if not push:
    return tag

  _show(["docker", "push", tag])
  digests = jobs.run(["docker", "image", "inspect", "--format={{json .RepoDigests}}", tag])
  ours = [name for name in json.loads(digests) if name.startswith(f"{repository}@")]
  if len(ours) != 1 or not _DIGEST.fullmatch(ours[0]):
    raise GatoError(f"{tag}: docker names no digest of it in {repository} ({digests.strip()})")

  files.write_json(RECORD, dataclasses.asdict(Image(ours[0], tag=tag, revision=revision)))
  return tag


def pushed() -> Image | None:
  """Returns the image that was pushed last from this checkout, or None."""
  if not RECORD.exists():
    return None
  return Image(**files.read_json(RECORD, "delete it and run python -m launch image --push"))


def chosen(backend: jobs.Backend, strict: bool) -> jobs.Backend:
  """Returns a backend of containers with the image that a job gets, and says what is in it.

  Args:
    backend: Any backend; those without an image are returned as they are.
    strict: True to refuse an image whose code is not that of this checkout.

  Raises:
    GatoError: `strict` is given and it is not known that the image has this checkout's code.
  """
  given = getattr(backend, "image", None)
  if given is None:
    return backend

  known = pushed()
  revision = provenance.revision()
  if known is None or given not in ("", known.tag, known.reference):
    if strict and given:
      raise GatoError(
        f"--image={given} was not pushed from here, so that its code is not known: run python -m "
        "launch image --push, or leave out --strict"
      )
    return backend

  if known.revision != revision or revision.endswith("+"):
    difference = f"has the code of {known.revision}, this checkout is {revision or 'no git tree'}"
    if strict:
      raise GatoError(f"{known.tag} {difference}: run python -m launch image --push --strict")
    print(f"{known.tag} {difference}", file=sys.stderr)

  # `image` is a field of every backend that has one.
  return dataclasses.replace(backend, image=known.reference)  # type: ignore[type-var, call-arg]


def _show(command: list[str]) -> None:
  """Runs a command whose output a person wants to see while it runs.

  Raises:
    GatoError: It is not installed, or fails.
  """
  try:
    done = subprocess.run(command, cwd=jobs.ROOT)
  except FileNotFoundError as e:
    raise GatoError(f"`{command[0]}` is not installed here; it builds the image") from e
  if done.returncode:
    raise GatoError(f"`{' '.join(command[:2])} ...` failed ({done.returncode}); see above")


def main() -> None:
  options = flags.FLAGS
  tag = build(options.repository, options.accelerator, push=options.push, strict=options.strict)
  known = pushed()
  if options.push and known is not None:
    print(f"image: {known.reference}, which submit takes where no --image is given")
  else:
    print(f"image: {tag}")


if __name__ == "__main__":
  flags.DEFINE_string("repository", None, "REGISTRY/NAME of the image.", required=True)
  flags.DEFINE_enum("accelerator", "tpu", ["tpu", "cuda12", "cpu"], "What it runs on.")
  flags.DEFINE_bool("push", False, "Pushes it, and keeps its digest for submit.")
  flags.DEFINE_bool("strict", False, "Refuses a tree with changes that are not committed.")
  cli.run_without_config(main)
