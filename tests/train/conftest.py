"""Trainers of the same settings are traced and compiled once for all tests of a process."""

import functools

import pytest

from gato_jax.train import step


@pytest.fixture(scope="session", autouse=True)
def shared_trainers():
  # A trainer holds settings and programs; the state of a run is passed to it.
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(step, "Trainer", functools.cache(step.Trainer))
    yield
