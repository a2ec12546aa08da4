"""Assigns the engine's slots to sessions."""

import dataclasses
import itertools
import time
from collections.abc import Iterator

from gato_jax.serve.protocol import RequestRefused
from gato_jax.task import TaskSpec


@dataclasses.dataclass(eq=False)
class Session:
  """One environment at a client, and its memory in the engine.

  Attributes:
    number: Identifies it in messages; never reused.
    slot: Row of the engine.
    spec: Of its task.
    playing: True after an episode was started.
    busy: True while a step is computed.
    last_used: time.monotonic() of its last request.
  """

  number: int
  slot: int
  spec: TaskSpec
  playing: bool = False
  busy: bool = False
  last_used: float = dataclasses.field(default_factory=time.monotonic)


class SessionPool:
  """The slots of an engine and the sessions in them."""

  def __init__(self, slots: int):
    self._slots = slots
    self._free = list(reversed(range(slots)))
    self._numbers = itertools.count(1)
    self._open: set[Session] = set()

  def __len__(self) -> int:
    return len(self._open)

  def __iter__(self) -> Iterator[Session]:
    # A copy, because sessions may be closed while somebody iterates.
    return iter(tuple(self._open))

  def open(self, spec: TaskSpec) -> Session:
    """Opens a session in a free slot.

    Raises:
      RequestRefused: No slot is free.
    """
    if not self._free:
      raise RequestRefused(
        "session_limit",
        f"all {self._slots} sessions are taken; try again later, or serve with more",
      )

    session = Session(next(self._numbers), self._free.pop(), spec=spec)
    self._open.add(session)
    return session

  def close(self, session: Session) -> None:
    """Frees the slot of a session; does nothing if it is closed already."""
    if session in self._open:
      self._open.remove(session)
      self._free.append(session.slot)
