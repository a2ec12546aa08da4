"""Events for TensorBoard, in a directory of this machine or of a bucket."""

import pathlib
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX import event_file_writer, summary
from tensorboardX.proto import event_pb2, summary_pb2

from gato_jax.storage import disk, files, paths

# In a bucket a file of events is uploaded whole: not more often than this, and not larger.
_UPLOAD_SECONDS = 30.0
_LARGEST_BYTES = 8 << 20


class TensorBoardLog:
  """Writes events in the calling thread.

  tensorboardX's SummaryWriter has its own thread. An error ends that thread with a traceback, and
  training then waits forever for room in the thread's queue.
  """

  def __init__(self, directory: pathlib.Path, purge_step: int):
    """Starts a new file of events.

    Args:
      directory: Created where it does not exist.
      purge_step: Rows of earlier starts are hidden from this step on.
    """
    self._directory = directory
    self._spool = None
    self._local = directory
    if paths.is_remote(directory):
      self._spool = tempfile.TemporaryDirectory(prefix="gato_tensorboard_")
      self._local = pathlib.Path(self._spool.name)
    paths.make_directory(self._local)

    self._files = 0
    self._open()
    session_start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    with disk.writing(directory):
      self._events.write_event(
        event_pb2.Event(step=purge_step, wall_time=time.time(), session_log=session_start)
      )

  def _open(self) -> None:
    """Starts the next file; TensorBoard reads them in the order of their names."""
    self._files += 1
    # tensorboardX adds the time in seconds to the name, which several files may share.
    suffix = f".{self._files:04d}" if self._spool else ""
    self._next_upload = 0.0

    with disk.writing(self._directory):
      self._events = event_file_writer.EventsWriter(str(self._local / "events"), suffix)

  def write(self, row: Mapping[str, Any]) -> None:
    """Shows every number of a row at its step."""
    scalars = [
      summary.scalar(name, value).value[0] for name, value in row.items() if name != "step"
    ]
    event = event_pb2.Event(
      step=row["step"], wall_time=time.time(), summary=summary_pb2.Summary(value=scalars)
    )

    with disk.writing(self._directory):
      self._events.write_event(event)
      self._events.flush()

    if time.monotonic() >= self._next_upload:
      self.flush()

  def flush(self) -> None:
    """Uploads the file of events where the directory is in a bucket."""
    if not self._spool:
      return

    # Files that are complete were deleted from this machine.
    (path,) = self._local.iterdir()
    content = path.read_bytes()
    files.write(self._directory / path.name, content)
    self._next_upload = time.monotonic() + _UPLOAD_SECONDS

    if len(content) > _LARGEST_BYTES:
      self._events.close()
      path.unlink()
      self._open()

  def close(self) -> None:
    self.flush()
    with disk.writing(self._directory):
      self._events.close()

    if self._spool:
      self._spool.cleanup()
