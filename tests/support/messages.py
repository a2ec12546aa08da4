"""Messages to a server as hypothesis draws them: nearly right, and anything else."""

import hypothesis
import msgpack
import served
from hypothesis import strategies as st
from served import first

from gato_jax.serve import client, protocol

SETTINGS = hypothesis.settings(
  max_examples=150,
  deadline=None,
  suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
MINE = 2**50  # stands for the session that was opened last


def observation():
  return client._observation("dummy.reach", first().observation)


def mine(request, session):
  """A request in which MINE is `session`."""
  request = {key: session if value == MINE else value for key, value in request.items()}

  if isinstance(request.get("steps"), list):
    request["steps"] = [
      (session, *step[1:]) if isinstance(step, tuple) and step[0] == MINE else step
      for step in request["steps"]
    ]

  return request


SCALARS = (
  st.none()
  | st.booleans()
  | st.integers(-(2**63), 2**64 - 1)
  | st.floats()
  | st.text()
  | st.binary()
)

VALUES = st.recursive(
  SCALARS,
  lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
  max_leaves=9,
)

DTYPES = [
  *sorted(protocol.DTYPES),
  "object",
  "O",
  "U4",
  "V8",
  "M8[s]",
  "bool",
  "complex64",
  "void",
  "float128",
  ">f4",
]

ARRAYS = st.tuples(
  st.sampled_from(DTYPES) | VALUES,
  st.lists(st.integers(0, 4) | st.integers(-(2**63), 2**64 - 1), max_size=10) | VALUES,
  st.binary(max_size=64) | VALUES,
).map(lambda parts: msgpack.ExtType(1, msgpack.packb(parts)))

FIELDS = st.sampled_from(sorted(served.SPECS["dummy.reach"].observation)) | SCALARS

NEARLY = st.builds(lambda field, value: observation() | {field: value}, FIELDS, VALUES | ARRAYS)

STEPS = st.tuples(
  st.just(MINE) | VALUES,
  st.just(observation()) | NEARLY | st.dictionaries(FIELDS, VALUES | ARRAYS, max_size=6) | VALUES,
)

REQUESTS = st.fixed_dictionaries(
  {
    "type": st.sampled_from(
      ["hello", "spec", "open", "open", "start", "start", "act", "act", "close", "error"]
    )
  },
  optional={
    "version": st.just(protocol.VERSION) | VALUES,
    "task": st.sampled_from(sorted(served.SPECS)) | VALUES,
    "session": st.just(MINE) | VALUES,
    "seed": st.integers(0, 9) | VALUES,
    "steps": st.lists(STEPS, max_size=3) | VALUES,
  },
)
