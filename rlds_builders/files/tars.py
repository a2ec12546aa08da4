"""Reads tar archives, plain or compressed, to the end that they declare.

The end is two blocks of zeros with nothing behind them. tarfile itself takes a damaged header, or
a file that is cut between two members, for the end and reports nothing.
"""

import pathlib
import tarfile
from collections.abc import Iterator
from typing import Self

from rlds_builders.files import streams

_CHUNK = 2**16


class _Member(tarfile.TarInfo):
  """A member of an archive whose damaged header is an error."""

  @classmethod
  def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
    try:
      return super().fromtarfile(tar)
    except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # Missing in typeshed.
      # A block of zeros, the declared end.
      raise
    except tarfile.EmptyHeaderError as e:  # type: ignore[attr-defined]
      raise tarfile.ReadError("it ends without the mark of its end") from e
    except tarfile.HeaderError as e:
      raise tarfile.ReadError(f"{e}, at byte {tar.offset:,}") from e


def members(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
  """Yields names and contents of the files in an archive.

  Raises:
    GatoError: The archive is damaged, cut, followed by something, or holds a link or a device.
  """
  with streams.faults_of(path), streams.binary(path) as stream:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
      while member := tar.next():
        # tarfile would keep all headers in memory.
        tar.members.clear()  # type: ignore[attr-defined]  # Missing in typeshed.
        if member.isdir():
          continue

        if not member.isreg():
          raise tarfile.ReadError(
            f"{member.name} is a link or a device; pack it with --dereference --hard-dereference"
          )
        content = tar.extractfile(member)
        assert content is not None
        yield member.name, content.read()

      # tarfile stops at the first block of zeros; a second one must follow, then only zeros.
      rest = tar.fileobj.read(tarfile.BLOCKSIZE)
      if len(rest) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends within the mark of its end")
      while rest:
        if rest.strip(b"\0"):
          raise tarfile.ReadError(
            "something stands behind its end; of archives in one file make one"
          )
        rest = tar.fileobj.read(_CHUNK)
