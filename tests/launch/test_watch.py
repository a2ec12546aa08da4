"""Waiting for a job, and its logs as they grow."""

import pytest

from launch import watch
from launch.jobs import JobState


class Backend:
  """A job that was queued, ran and ended, and printed a little more at each look."""

  def __init__(self, states, logs=()):
    self._states = iter(states)
    self._logs = iter(logs)

  def state(self, handle):
    return next(self._states)

  def logs(self, handle, lines):
    return "\n".join(next(self._logs)[-lines:]) + "\n"


QUEUED, RUNNING, DONE = JobState.QUEUED, JobState.RUNNING, JobState.DONE


def test_a_state_is_told_when_it_changes_until_the_end():
  looks = []
  backend = Backend([QUEUED, QUEUED, RUNNING, RUNNING, DONE])
  assert list(watch.states(backend, "x", 7, looks.append)) == [QUEUED, RUNNING, DONE]
  assert looks == [7] * 4


def test_lines_are_printed_once_and_the_last_ones_too():
  logs = [["a", "b"], ["a", "b", "c"], ["b", "c", "d", "e"], ["e", "f"]]
  backend = Backend([QUEUED, RUNNING, RUNNING, DONE], logs)
  assert list(watch.log_lines(backend, "x", 1, lambda seconds: None)) == list("abcdef")


@pytest.mark.parametrize(
  ("before", "now", "expected"),
  [
    ([], ["a"], ["a"]),
    (["a", "b"], ["a", "b"], []),
    (["a", "a"], ["a", "a", "a"], ["a"]),
    (["a", "b"], ["x", "y"], ["x", "y"]),  # more was printed than is read at one look
    (["a", "t:  1%|# | 1/9"], ["a", "t:  2%|# | 2/9"], ["t:  2%|# | 2/9"]),
  ],
)
def test_new_lines(before, now, expected):
  assert watch.new_lines(before, now) == expected


def test_progress_bars_are_folded():
  bars = [f"train:  {n}%|##   | {n}/100 [00:0{n}<00:50, 2.0step/s]" for n in range(1, 6)]
  other = "videos:  50%|##   | 1/2 [00:01<00:01, 1.0episode/s]"
  lines = ["begins", *bars[:3], "a note", *bars[3:], other, "ends"]
  assert watch.folded(lines) == ["begins", bars[2], "a note", bars[4], other, "ends"]
