"""Fixtures that tests of several document domains share."""

import pathlib

import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch) -> pathlib.Path:
  """The source directory of the domain "pets"."""
  monkeypatch.setenv("GATO_SOURCES", str(tmp_path))
  (tmp_path / "pets").mkdir()
  return tmp_path / "pets"
