"""What a set of documents must do without is named and counted, and the set goes on, unless that is too much."""

import sys

import tqdm

from gato_jax.errors import GatoError

_REFUSED_SHARE, _REFUSED_AFTER = 0.1, 100


def tell(line: str) -> None:
  """Writes a line to stderr, above any progress bar."""
  tqdm.tqdm.write(line, file=sys.stderr)


class Gate:
  """Counts the members of a set that are used and those that are refused; each refusal is told on stderr.

  Args:
    where: the set, for messages, e.g. "align, train".
    members: what they are, in the plural.
  """

  def __init__(self, where: str, members: str):
    self._where, self._members = where, members
    self._seen = self._refused = 0
    self._last = ""

  def accept(self) -> None:
    """Counts a member that is used."""
    self._seen += 1

  def refuse(self, message: str) -> None:
    """Counts a member that cannot be used; message: its name and the reason.

    Raises:
      GatoError: more than a tenth of 100 members or more are refused.
    """
    self._seen += 1
    self._refused += 1
    self._last = message
    tell(f"refused: {message}")

    if self._seen >= _REFUSED_AFTER and self._refused > _REFUSED_SHARE * self._seen:
      raise GatoError(f"{self._counted}, more than {_REFUSED_SHARE:.0%}; the last one: {message}")

  def finish(self) -> None:
    """Tells how many were refused, if any.

    Raises:
      GatoError: all were.
    """
    if not self._refused:
      return
    if self._refused == self._seen:
      raise GatoError(f"{self._counted}, all there are; the last one: {self._last}")
    tell(self._counted)

  @property
  def _counted(self) -> str:
    return f"{self._where}: refused {self._refused:,} of {self._seen:,} {self._members}"
