"""Images: built, pushed and named by their digest; a job gets that of its checkout's code."""

import dataclasses
import json

import pytest

from gato_jax.errors import GatoError
from launch import image, jobs
from launch.backends.gke import Gke
from launch.backends.local import Local

REPOSITORY = "us-docker.pkg.dev/p/gato"
DIGEST = f"{REPOSITORY}@sha256:{'0' * 64}"


@pytest.fixture
def docker(tmp_path, monkeypatch):
  """A docker that writes down what it is asked, and gives a digest to what was pushed, as it does.

  A build of a directory without the Dockerfile fails, and so does inspecting what is not there.
  """
  program = f"""#!/bin/bash
echo "$*" >>{tmp_path}/asked
case "$1 $2" in
  "build --file="*) [ -e "${{2#--file=}}" ] && touch {tmp_path}/built ;;
  "push "*) [ -e {tmp_path}/built ] && touch {tmp_path}/pushed ;;
  "image inspect")
    [ -e {tmp_path}/built ] || {{ echo "Error: No such image" >&2; exit 1; }}
    [ -e {tmp_path}/pushed ] && echo '["{DIGEST}"]' || echo '[]' ;;
  *) echo "unknown: $*" >&2; exit 1 ;;
esac
"""
  (tmp_path / "docker").write_text(program)
  (tmp_path / "docker").chmod(0o755)
  monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
  monkeypatch.setattr(image, "RECORD", tmp_path / "pushed.json")
  return tmp_path / "asked"


@pytest.fixture
def committed(monkeypatch):
  monkeypatch.setattr(image.provenance, "revision", lambda: "a" * 40)


def build(push=True, strict=False):
  return image.build(REPOSITORY, "tpu", push=push, strict=strict)


def test_it_is_built_of_this_commit_pushed_and_remembered(docker, committed):
  tag = build()
  built, pushed, _ = docker.read_text().splitlines()
  assert tag == f"{REPOSITORY}:aaaaaaaaaaaa-tpu" and pushed == f"push {tag}"
  assert built == (
    "build --file=launch/container/Dockerfile --build-arg=ACCELERATOR=tpu"
    f" --build-arg=REVISION={'a' * 40} --tag={tag} ."
  )
  assert image.pushed() == image.Image(DIGEST, tag, "a" * 40)


def test_without_push_nothing_is_remembered(docker, committed):
  build(push=False)
  assert image.pushed() is None and "push" not in docker.read_text()


def test_changes_are_in_the_tag_or_refused(docker, monkeypatch):
  monkeypatch.setattr(image.provenance, "revision", lambda: "b" * 40 + "+")
  assert build().endswith("-changed")
  with pytest.raises(GatoError, match="not committed"):
    build(strict=True)


def test_a_docker_that_fails_is_one_line(docker, committed, monkeypatch):
  monkeypatch.setattr(image, "_DOCKERFILE", "no/such/file")
  with pytest.raises(GatoError, match="`docker build ...` failed"):
    build()
  monkeypatch.setenv("PATH", "/nowhere")
  with pytest.raises(GatoError, match="`docker` is not installed"):
    build()


@pytest.mark.parametrize("given", ["", "tag", DIGEST])
def test_a_job_gets_the_digest(docker, committed, capsys, given):
  tag = build()
  asked = Gke(image=tag if given == "tag" else given, topology="v5e:4x4", bucket="b", queue="q")
  backend = image.chosen(asked, strict=True)
  assert backend.image == DIGEST and capsys.readouterr().err == ""
  assert DIGEST in backend.manifest(jobs.Job("big", "experiments/configs/gato_1b.py"))


def test_code_that_has_changed_since_is_said_or_refused(docker, committed, monkeypatch, capsys):
  build()
  monkeypatch.setattr(image.provenance, "revision", lambda: "c" * 40)
  assert image.chosen(Gke(), strict=False).image == DIGEST
  assert f"has the code of {'a' * 40}, this checkout is {'c' * 40}" in capsys.readouterr().err
  with pytest.raises(GatoError, match="launch image --push"):
    image.chosen(Gke(), strict=True)


def test_an_image_from_elsewhere_is_taken_as_it_is(docker, committed):
  build()
  other = Gke(image="registry/other:1")
  assert image.chosen(other, strict=False) == other
  with pytest.raises(GatoError, match="was not pushed from here"):
    image.chosen(other, strict=True)


def test_backends_without_containers_have_none(docker):
  assert image.chosen(Local(), strict=True) == Local()


def test_a_record_that_is_damaged_is_named(docker):
  image.RECORD.write_text("{")
  with pytest.raises(GatoError, match=r"pushed\.json: not JSON"):
    image.pushed()
  image.RECORD.write_text(json.dumps(dataclasses.asdict(image.Image(DIGEST, "tag", "a"))))
  assert image.pushed().tag == "tag"
