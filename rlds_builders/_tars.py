"""Tar archives, plain or compressed, read to the end that they declare: two blocks of zeros, and nothing behind.

tarfile itself takes a damaged header, or a file that is cut between two members, for the end and says nothing.
"""

import pathlib
import tarfile
from collections.abc import Iterator

from rlds_builders import _lines

_CHUNK = 2**16


class _Member(tarfile.TarInfo):
  """A member whose header is whole, or else an error."""

  @classmethod
  def fromtarfile(cls, tar: tarfile.TarFile) -> tarfile.TarInfo:
    try:
      return super().fromtarfile(tar)
    except tarfile.EOFHeaderError:  # a block of zeros, the declared end
      raise
    except tarfile.EmptyHeaderError as e:
      raise tarfile.ReadError("it ends without the mark of its end") from e
    except tarfile.HeaderError as e:
      raise tarfile.ReadError(f"{e}, at byte {tar.offset:,}") from e


def members(path: pathlib.Path) -> Iterator[tuple[str, bytes]]:
  """Names and contents of the files in an archive.

  Raises:
    GatoError: it is damaged, cut, followed by something, or holds a link or a device.
  """
  with _lines.faults_of(path), _lines.binary(path) as stream:
    with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as tar:
      while member := tar.next():
        tar.members.clear()  # tarfile would keep them all
        if member.isdir():
          continue
        if not member.isreg():
          raise tarfile.ReadError(f"{member.name} is a link or a device; pack it with --dereference --hard-dereference")
        yield member.name, tar.extractfile(member).read()

      rest = tar.fileobj.read(tarfile.BLOCKSIZE)
      if len(rest) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it ends within the mark of its end")
      while rest:
        if rest.strip(b"\0"):
          raise tarfile.ReadError("something stands behind its end; of archives in one file make one")
        rest = tar.fileobj.read(_CHUNK)
