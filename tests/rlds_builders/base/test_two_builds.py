"""Two builds of one dataset at once: the second says who writes, and breaks nothing."""

import pytest

import rlds_builders
from gato_jax.errors import GatoError
from gato_jax.storage import lock
from rlds_builders.base import rlds_builder


def test_the_second_build_is_refused(dummy_raw, tmp_path):
  domain = rlds_builders.get("dummy")
  dataset = tmp_path / "dummy" / "reach" / rlds_builder.VERSION

  def build():
    return rlds_builder.build(domain, "reach", raw=dummy_raw, tfds_dir=tmp_path)

  with (
    lock.only_writer(dataset.parent, "build"),
    pytest.raises(GatoError, match=r"dummy/reach: process \d+ on .* writes here \(build\)"),
  ):
    build()

  assert not dataset.exists()
  assert build() and not build()
  assert (dataset / "dataset_info.json").exists()
