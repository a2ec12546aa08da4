"""Two builds of one dataset at once: the second says who writes, and breaks nothing."""

import functools

import pytest

import rlds_builders
from gato_jax.errors import GatoError
from gato_jax.storage import lock
from rlds_builders.base import rlds_builder


@pytest.fixture
def build(dummy_raw, tmp_path):
  """Builds dummy.reach in tmp_path; returns whether there was anything to do."""
  return functools.partial(
    rlds_builder.build, rlds_builders.get("dummy"), "reach", raw=dummy_raw, tfds_dir=tmp_path
  )


def test_the_second_build_is_refused(build, tmp_path):
  dataset = tmp_path / "dummy" / "reach" / rlds_builder.VERSION

  with (
    lock.only_writer(dataset.parent, "build"),
    pytest.raises(GatoError, match=r"dummy/reach: process \d+ on .* writes here \(build\)"),
  ):
    build()

  assert not dataset.exists()
  assert build() and not build()
  assert (dataset / "dataset_info.json").exists()


def test_what_another_build_has_finished_is_kept(build, tmp_path, monkeypatch):
  take = lock.only_writer

  def take_after_another_build(folder, verb):
    monkeypatch.setattr(lock, "only_writer", take)
    assert build()
    return take(folder, verb)

  monkeypatch.setattr(lock, "only_writer", take_after_another_build)

  assert not build()
  assert not list(tmp_path.rglob("*.before"))
