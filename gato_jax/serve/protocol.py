"""The messages of client and server: msgpack maps in binary WebSocket messages, each request answered by one reply.

  hello   version                       -> welcome  version, step (of the checkpoint), tasks
  spec    task                          -> spec     spec (TaskSpec.to_json)
  open    task                          -> opened   session
  start   session, seed                 -> started             a new episode: the session's memory is emptied
  act     steps [[session, {field: array or str}], ...] -> actions  actions [[session, array], ...]
  close   session                       -> closed
  any of them                           -> error    reason (one of REASONS), message

An array is a msgpack extension of dtype name, shape and little-endian bytes. Nothing is ever pickled.
"""

import ipaddress
import math
from collections.abc import Mapping
from typing import Any

import msgpack
import numpy as np
from dm_env import specs as dm_specs

from gato_jax import specs
from gato_jax.errors import GatoError

VERSION = 1
DTYPES = frozenset(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)) | {
  "float16", "float32", "float64"
}  # fmt: skip
SEEDS = 2**32  # a seed is 0 <= seed < SEEDS
# Why a request or connection was refused; the label of the metric, too.
REASONS = (
  "malformed", "version", "order", "unknown_task", "unknown_session", "session_limit", "draining", "observation",
  "too_large", "too_slow", "not_reading", "token", "connection_limit", "not_ready", "idle",
)  # fmt: skip
# Longer messages than a connection's sessions need are read up to here, to be refused by the name of the field that is
# wrong: frames of twice the height and width in float32 instead of uint8 are 16 times longer.
_READ_FACTOR, _READ_BYTES = 16, 2**20
_ARRAY = 1  # msgpack extension type
_MAX_DIMENSIONS = 8
_TEXT_BYTES_A_TOKEN = 64  # of UTF-8; SentencePiece's longest pieces have 16 characters
_ENVELOPE_BYTES = 1024  # a message's own keys and numbers
_FIELD_BYTES = 128  # an array's dtype name and shape


class Refused(GatoError):
  """A request that is not answered with what it asks for.

  Attributes:
    reason: one of REASONS.
  """

  def __init__(self, reason: str, message: str):
    super().__init__(message)
    self.reason = reason


def encode(message: Mapping[str, Any]) -> bytes:
  """Message -> bytes. TypeError for what the protocol does not carry."""
  return msgpack.packb(message, default=_pack_array)


def decode(data: bytes | str) -> dict[str, Any]:
  """Bytes -> message with a "type"; arrays are read-only. Refused when they are not one."""
  if not isinstance(data, bytes):
    raise Refused("malformed", "a text message; messages are binary")
  try:
    message = msgpack.unpackb(data, ext_hook=_unpack_array)
  except (ValueError, msgpack.UnpackException) as e:
    raise Refused("malformed", f"not a message: {str(e) or type(e).__name__}") from e
  if not isinstance(message, dict) or not isinstance(message.get("type"), str):
    raise Refused("malformed", 'not a message: a map with a "type" is expected')
  return message


def take(message: Mapping[str, Any], name: str, kind: type) -> Any:
  """The field `name` of a message; Refused when it is missing or no `kind` (True is no int)."""
  value = message.get(name)
  if type(value) is not kind:
    raise Refused("malformed", f"{message['type']}: {name!r} must be {kind.__name__}, is {type(value).__name__}")
  return value


def take_steps(message: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
  """Session -> flat observation of an `act` message; its fields are checked against the spec later."""
  steps = {}
  for pair in take(message, "steps", list):
    if not (isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int and isinstance(pair[1], dict)):
      raise Refused("malformed", "act: a step must be [session, {field: value}]")
    session, observation = pair
    for field, value in observation.items():
      if not (isinstance(field, str) and isinstance(value, (np.ndarray, str))):
        raise Refused("malformed", f"act: field {field!r:.40} must be an array or a text, is {type(value).__name__}")
    if session in steps:
      raise Refused("malformed", f"act: session {session} is named twice")
    steps[session] = observation
  if not steps:
    raise Refused("malformed", "act: no steps")
  return steps


def observation_bytes(spec: specs.TaskSpec) -> int:
  """Upper limit of one observation's encoded size; numbers may come eight bytes wide."""
  size = 0
  for key, field in spec.observation.items():
    if isinstance(field, dm_specs.StringArray):
      size += _TEXT_BYTES_A_TOKEN * spec.max_text_tokens.get(key, 0)
    else:
      size += math.prod(field.shape) * (1 if field.dtype == np.uint8 else 8)
    size += _FIELD_BYTES + len(key.encode())
  return size


def message_bytes(spec_of_sessions: list[specs.TaskSpec]) -> int:
  """Upper limit of a message from a connection with these sessions."""
  return _ENVELOPE_BYTES + sum(observation_bytes(spec) for spec in spec_of_sessions)


def readable_bytes(spec_of_sessions: list[specs.TaskSpec]) -> int:
  """How long a message may be to be read at all; a longer one ends its connection."""
  if not spec_of_sessions:
    return message_bytes([])
  return max(_READ_FACTOR * message_bytes(spec_of_sessions), _READ_BYTES)


def is_loopback(host: str) -> bool:
  """Whether a connection to `host` stays on this machine: there a token may travel unencrypted."""
  try:
    return ipaddress.ip_address(host).is_loopback
  except ValueError:
    return host == "localhost"


def _pack_array(value: Any) -> msgpack.ExtType:
  if not isinstance(value, (np.ndarray, np.generic)) or value.dtype.name not in DTYPES:
    raise TypeError(f"cannot send {getattr(value, 'dtype', type(value).__name__)}; dtypes are {sorted(DTYPES)}")
  little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
  return msgpack.ExtType(_ARRAY, msgpack.packb((value.dtype.name, value.shape, little.tobytes())))


def _unpack_array(code: int, data: bytes) -> np.ndarray:
  """ValueError unless the extension is an array of a known dtype whose bytes fill its shape."""
  parts = msgpack.unpackb(data) if code == _ARRAY else None
  if not isinstance(parts, list) or [type(part) for part in parts] != [str, list, bytes]:
    raise ValueError("an extension that is no array")
  name, shape, content = parts
  if name not in DTYPES:
    raise ValueError(f"dtype {name!r:.40} is not one of {sorted(DTYPES)}")
  if len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or not 0 <= n < 2**31 for n in shape):
    raise ValueError("an array's shape is a list of a few sizes")
  dtype = np.dtype(name).newbyteorder("<")
  if math.prod(shape) * dtype.itemsize != len(content):
    raise ValueError(f"{len(content)} bytes for {name} of shape {tuple(shape)}")
  return np.frombuffer(content, dtype).astype(name, copy=False).reshape(shape)
