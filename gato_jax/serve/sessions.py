"""Who sits in which slot of the engine."""

import dataclasses
import itertools
import time
from collections.abc import Iterator

from gato_jax import specs
from gato_jax.serve.protocol import Refused


@dataclasses.dataclass(eq=False)
class Session:
  """One environment elsewhere, and its memory here.

  Attributes:
    number: what the client calls it; never used again.
    slot: the engine's row. playing: an episode was started. busy: a step is being computed.
    last_used: time.monotonic() of its last request.
  """

  number: int
  slot: int
  spec: specs.TaskSpec
  playing: bool = False
  busy: bool = False
  last_used: float = dataclasses.field(default_factory=time.monotonic)


class Seats:
  """The engine's slots, and the sessions in them."""

  def __init__(self, slots: int):
    self._slots = slots
    self._free = list(reversed(range(slots)))
    self._numbers = itertools.count(1)
    self._taken: set[Session] = set()

  def __len__(self) -> int:
    return len(self._taken)

  def __iter__(self) -> Iterator[Session]:
    return iter(tuple(self._taken))

  def take(self, spec: specs.TaskSpec) -> Session:
    """A session in a free slot; Refused when there is none."""
    if not self._free:
      raise Refused("session_limit", f"all {self._slots} sessions are taken; try again later, or serve with more")
    session = Session(next(self._numbers), self._free.pop(), spec)
    self._taken.add(session)
    return session

  def leave(self, session: Session) -> None:
    """Frees the slot; nothing happens when that was done before."""
    if session in self._taken:
      self._taken.remove(session)
      self._free.append(session.slot)
