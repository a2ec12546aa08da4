"""Submissions of a sweep that a backend refuses."""

import pytest
from sweep_cases import fake_sweep

from gato_jax.errors import GatoError
from launch import jobs
from launch.jobs import JobState


def test_a_submission_that_fails_does_not_end_the_others(tmp_path, monkeypatch, capsys):
  place, runs = fake_sweep(tmp_path, monkeypatch, width=0)
  accepts = jobs.submit
  refused = runs.rows[0].job.name

  def submit(backend, job):
    if job.name == refused:
      raise GatoError("no quota at the moment")
    return accepts(backend, job)

  monkeypatch.setattr(jobs, "submit", submit)
  runs.submit()
  assert f"{refused}: no quota at the moment" in capsys.readouterr().err
  assert runs.rows[0].state == JobState.FAILED
  assert len(place.sent) == len(runs.rows) - 1

  # Where each one is refused it is not that run.
  _, others = fake_sweep(tmp_path, monkeypatch, width=0)

  def refuse(backend, job):
    raise GatoError("no such queue")

  monkeypatch.setattr(jobs, "submit", refuse)
  with pytest.raises(GatoError, match="no such queue"):
    others.submit()
  assert sum(row.state == JobState.FAILED for row in others.rows) == 3
