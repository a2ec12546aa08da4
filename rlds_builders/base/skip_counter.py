"""Counts the bad members of a set of documents, which the set goes on without.

Each one is named; too many of them stop the build.
"""

import sys

from gato_jax import progress
from gato_jax.errors import GatoError

# A set of at least this many members stops at more than this share of bad ones.
_MAX_REFUSED_SHARE = 0.1
_MIN_MEMBERS = 100


def tell(line: str) -> None:
  """Writes a line to stderr, above any progress bar."""
  progress.Bar.write(line, file=sys.stderr)


class SkipCounter:
  """Counts the members of a set that are used and those that are refused.

  Each refusal is reported on stderr.

  Args:
    where: Name of the set, for messages, e.g. "align, train".
    members: Plural noun for its members, for messages.
  """

  def __init__(self, where: str, members: str):
    self._where = where
    self._members = members
    self._seen = 0
    self._refused = 0
    self._last_message = ""

  def accept(self) -> None:
    """Counts a member that is used."""
    self._seen += 1

  def refuse(self, message: str) -> None:
    """Counts a member that cannot be used.

    Args:
      message: Its name and the reason.

    Raises:
      GatoError: More than a tenth of 100 members or more are refused.
    """
    self._seen += 1
    self._refused += 1
    self._last_message = message
    tell(f"refused: {message}")

    too_many = self._refused > _MAX_REFUSED_SHARE * self._seen
    if self._seen >= _MIN_MEMBERS and too_many:
      raise GatoError(
        f"{self._summary}, more than {_MAX_REFUSED_SHARE:.0%}; the last one: {message}"
      )

  def finish(self) -> None:
    """Reports how many members were refused, if any.

    Raises:
      GatoError: All were.
    """
    if not self._refused:
      return

    if self._refused == self._seen:
      raise GatoError(f"{self._summary}, all there are; the last one: {self._last_message}")
    tell(self._summary)

  @property
  def _summary(self) -> str:
    return f"{self._where}: refused {self._refused:,} of {self._seen:,} {self._members}"
