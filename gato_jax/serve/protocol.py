"""Messages between client and server.

They are msgpack maps in binary WebSocket messages. Each request has one reply:

  hello   version                       -> welcome  version, step (of the checkpoint), tasks
  spec    task                          -> spec     spec (TaskSpec.to_json)
  open    task                          -> opened   session
  start   session, seed, group?         -> started  (a new episode, with an empty memory; its prompt
                                           is of the group that it names)
  act     steps [[session, {field: array or str}], ...] -> actions  actions [[session, array], ...]
  close   session                       -> closed
  any of them                           -> error    reason (one of REASONS), message

An array is a msgpack extension of dtype name, shape and little-endian bytes. Nothing is pickled.
"""

import ipaddress
import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from dm_env import specs as dm_specs

from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec

VERSION = 1
_INTEGERS = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64))
DTYPES = _INTEGERS | {"float16", "float32", "float64"}
SEEDS = 2**32  # a seed is 0 <= seed < SEEDS
# Reasons to refuse a request or a connection; also the labels of the metric.
REASONS = (
  "malformed",
  "version",
  "order",
  "unknown_task",
  "unknown_session",
  "session_limit",
  "draining",
  "observation",
  "too_large",
  "too_slow",
  "not_reading",
  "token",
  "connection_limit",
  "not_ready",
  "idle",
)

# Messages that are longer than a connection's sessions need are read up to these limits, so that
# the refusal can name the wrong field. Images of twice the height and width in float32 instead of
# uint8 are 16 times longer.
_READ_FACTOR, _READ_BYTES = 16, 2**20
_ARRAY = 1  # msgpack extension type
_MAX_DIMENSIONS = 8
_TEXT_BYTES_PER_TOKEN = 64  # UTF-8; the longest pieces of SentencePiece have 16 characters
_ENVELOPE_BYTES = 1024  # a message's own keys and numbers
_FIELD_BYTES = 128  # an array's dtype name and shape


class RequestRefused(GatoError):
  """The server refuses a request, or a message is malformed.

  Attributes:
    reason: One of REASONS.
  """

  def __init__(self, reason: str, message: str):
    super().__init__(message)
    self.reason = reason


def encode(message: Mapping[str, Any]) -> bytes:
  """Encodes a message.

  Raises:
    TypeError: It holds something that the protocol does not carry.
  """
  return msgpack.packb(message, default=_pack_array)


def decode(data: bytes | str) -> dict[str, Any]:
  """Decodes a message with a "type"; its arrays are read-only.

  Raises:
    RequestRefused: The data is no message.
  """
  if not isinstance(data, bytes):
    raise RequestRefused("malformed", "a text message; messages are binary")

  try:
    message = msgpack.unpackb(data, ext_hook=_unpack_array)
  except (ValueError, msgpack.UnpackException) as e:
    raise RequestRefused("malformed", f"not a message: {str(e) or type(e).__name__}") from e

  if not isinstance(message, dict) or not isinstance(message.get("type"), str):
    raise RequestRefused("malformed", 'not a message: a map with a "type" is expected')
  return message


def take(message: Mapping[str, Any], name: str, kind: type) -> Any:
  """Returns the field `name` of a message.

  Raises:
    RequestRefused: It is missing or not of type `kind` (True is no int).
  """
  value = message.get(name)
  if type(value) is not kind:
    raise RequestRefused(
      "malformed", f"{message['type']}: {name!r} must be {kind.__name__}, is {type(value).__name__}"
    )
  return value


def take_steps(message: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
  """Returns session -> flat observation of an `act` message.

  The fields are compared with the spec later.

  Raises:
    RequestRefused: The message is malformed.
  """
  steps: dict[int, dict[str, Any]] = {}
  for pair in take(message, "steps", kind=list):
    is_step = (
      isinstance(pair, list)
      and len(pair) == 2
      and type(pair[0]) is int
      and isinstance(pair[1], dict)
    )
    if not is_step:
      raise RequestRefused("malformed", "act: a step must be [session, {field: value}]")

    session, observation = pair
    for field, value in observation.items():
      if not (isinstance(field, str) and isinstance(value, (np.ndarray, str))):
        raise RequestRefused(
          "malformed",
          f"act: field {field!r:.40} must be an array or a text, is {type(value).__name__}",
        )

    if session in steps:
      raise RequestRefused("malformed", f"act: session {session} is named twice")
    steps[session] = observation

  if not steps:
    raise RequestRefused("malformed", "act: no steps")
  return steps


def observation_bytes(spec: TaskSpec) -> int:
  """Returns an upper limit of the size of one encoded observation."""
  size = 0
  for key, field in spec.observation.items():
    if isinstance(field, dm_specs.StringArray):
      size += _TEXT_BYTES_PER_TOKEN * spec.max_text_tokens.get(key, 0)
    else:
      # Clients may send numbers with eight bytes; uint8 fields are images and stay as they are.
      itemsize = 1 if field.dtype == np.uint8 else 8
      size += math.prod(field.shape) * itemsize
    size += _FIELD_BYTES + len(key.encode())

  return size


def message_bytes(spec_of_sessions: list[TaskSpec]) -> int:
  """Returns an upper limit of a message from a connection with these sessions."""
  return _ENVELOPE_BYTES + sum(observation_bytes(spec) for spec in spec_of_sessions)


def readable_bytes(spec_of_sessions: list[TaskSpec]) -> int:
  """Returns the length up to which a message is read; a longer one ends its connection."""
  if not spec_of_sessions:
    return message_bytes([])
  return max(_READ_FACTOR * message_bytes(spec_of_sessions), _READ_BYTES)


def is_loopback(host: str) -> bool:
  """Returns True if a connection to `host` stays on this machine.

  A token may travel unencrypted there.
  """
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


def _pack_array(value: Any) -> msgpack.ExtType:
  if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.name not in DTYPES:
    raise TypeError(
      f"cannot send {getattr(value, 'dtype', type(value).__name__)}; dtypes are {sorted(DTYPES)}"
    )

  array = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
  return msgpack.ExtType(_ARRAY, msgpack.packb((value.dtype.name, value.shape, array.tobytes())))


def _unpack_array(code: int, data: bytes) -> np.ndarray:
  """Decodes an array.

  Raises:
    ValueError: The extension is no array of a known dtype whose bytes fill its shape.
  """
  parts = msgpack.unpackb(data) if code == _ARRAY else None
  if not isinstance(parts, list) or [type(part) for part in parts] != [str, list, bytes]:
    raise ValueError("an extension that is no array")

  name, shape, content = parts
  if name not in DTYPES:
    raise ValueError(f"dtype {name!r:.40} is not one of {sorted(DTYPES)}")
  if len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n < 2**31 for n in shape):
    raise ValueError("an array's shape is a list of a few sizes")

  # Checked before anything is allocated: the sizes are the client's.
  dtype = np.dtype(name).newbyteorder("<")
  if math.prod(shape) * dtype.itemsize != len(content):
    raise ValueError(f"{len(content)} bytes for {name} of shape {tuple(shape)}")

  return np.frombuffer(content, dtype).astype(name, copy=False).reshape(shape)
