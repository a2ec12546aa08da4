"""Serves a checkpoint over a socket: python -m experiments.serve --config=...

Robots and simulators elsewhere connect with gato_jax.serve.client (docs/serving.md has the three
lines). The server listens to this machine alone; another --host requires a token:
openssl rand -hex 32 > token; chmod 600 token. After SIGTERM or Ctrl-C no new episode begins, and
running ones may finish within --drain_seconds; a second signal ends them, too.
"""

import functools

from absl import flags

from experiments import cli
from gato_jax import agent
from gato_jax.errors import GatoError
from gato_jax.serve import front, server

_HOST = flags.DEFINE_string(
  "host",
  front.Address.host,
  "Name or address to listen on; 0.0.0.0 listens on all IPv4 addresses of this machine.",
)
_PORT = flags.DEFINE_integer(
  "port", front.Address.port, "Port to listen on; 0 picks a free one.", 0, 65535
)
_TOKEN_FILE = flags.DEFINE_string(
  "token_file",
  "",
  "Path of a file (chmod 600) with the token that clients must know; by default the token is "
  f"taken from ${front.TOKEN_VARIABLE}.",
)
_TLS_CERT = flags.DEFINE_string(
  "tls_cert",
  "",
  "Path of a PEM file with the server's certificate, then those that lead to its authority.",
)
_TLS_KEY = flags.DEFINE_string(
  "tls_key", "", "Path of a PEM file with the certificate's key, without a password."
)
_PLAIN_TEXT = flags.DEFINE_bool(
  "plain_text", False, "Serves other machines without TLS: in a VPN, or behind a proxy."
)
_DRAIN = flags.DEFINE_float(
  "drain_seconds", 30.0, "Seconds that running episodes may still take after SIGTERM.", 0.0
)
_TASKS = flags.DEFINE_list(
  "tasks", [], "Tasks to serve, as domain.task; all of the checkpoint's by default."
)
_STEP = flags.DEFINE_integer(
  "step", None, "Training step of the checkpoint to serve; the newest by default."
)

_say = functools.partial(print, "serve:", flush=True)


def main(experiment: cli.Experiment) -> None:
  address = front.Address(
    host=_HOST.value,
    port=_PORT.value,
    token=front.read_token(_TOKEN_FILE.value),
    tls_cert=_TLS_CERT.value,
    tls_key=_TLS_KEY.value,
    plain_text=_PLAIN_TEXT.value,
  )
  # Loading and compiling the policy takes a minute: a wrong certificate is reported before.
  address.ssl_context()

  config = experiment.section(server.ServeConfig, "serve")
  policy = agent.Policy(experiment.workdir, _STEP.value)

  task_specs = {task: policy.spec(task) for task in _TASKS.value or policy.tasks}
  task_specs = {task: spec for task, spec in task_specs.items() if not spec.is_document}
  if not task_specs:
    raise GatoError(f"the checkpoint in {experiment.workdir} knows no task to act in")

  if policy.chunk:
    raise GatoError(
      f"the checkpoint in {experiment.workdir} predicts {policy.chunk} actions a step, "
      "which clients do not expect; serve one that was trained without data.chunk"
    )

  act = experiment.section(agent.ActConfig, "act")
  engine = policy.engine(list(task_specs), slots=config.sessions, config=act)
  _say(f"checkpoint {policy.step} of {experiment.workdir}; tasks: {', '.join(task_specs)}")

  def make_server() -> server.Server:
    return server.Server(
      engine, task_specs, step=policy.step, config=config, address=address, report=_say
    )

  server.run(make_server, _DRAIN.value)


if __name__ == "__main__":
  cli.run(main, plays=True, buckets=True)
