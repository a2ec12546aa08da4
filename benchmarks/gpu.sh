#!/bin/bash
# The whole session on a GPU, in ten minutes: numbers, speed, latency, and the roofline's prediction.
#
#   bash benchmarks/gpu.sh              rows go to results/gpu/, each with the card's name
#   OUT=/tmp/gpu bash benchmarks/gpu.sh
#
# Without a GPU it runs through the same steps with the smallest sizes, and its rows go to build/.
# It needs what `pip install .[act,train,gpu]` installs. PYTHON names another interpreter, MINUTES
# another time. What does not fit into the time is left out and named; a step that fails does not
# stop the others, and the exit status is then 1.
set -u
cd "$(dirname "$0")/.."

default_python=.venv/bin/python
[ -x "$default_python" ] || default_python=python3
PYTHON=${PYTHON:-$default_python}
MINUTES=${MINUTES:-10}
export PYTHONPATH=.:tests:tests/support${PYTHONPATH:+:$PYTHONPATH}

card=$("$PYTHON" -c 'import jax; d = jax.devices()[0]; print(d.platform, d.device_kind)' 2>/dev/null | tail -1)
platform=${card%% *}
[ -n "$card" ] || { echo "gpu.sh: $PYTHON has no working JAX; PYTHON=... names one that has" >&2; exit 2; }

if [ "$platform" = gpu ] || [ "$platform" = cuda ]; then
  out=${OUT:-results/gpu}
  sizes="gato_79m gato_364m gato_1b" kinds="cudnn xla"
  layer=(--sizes=gato_79m,gato_364m,gato_1b --rows=8)
  step=(--batch=8 --length=1024 --loss_chunk=2048 --steps=10)
  act=(--variant=gato_1b --batch=1,8 --patches=0 --steps=100) roofline=gato_79m
else
  out=${OUT:-build/gpu_trial}
  sizes="tiny" kinds="auto xla"
  layer=(--sizes=small --rows=1 --length=256 --repeats=2)
  step=(--batch=2 --length=128 --loss_chunk=64 --steps=2 --set layers=1 text_pieces=1024)
  act=(--preset=cpu --batch=1 --patches=0 --steps=5 --rounds=1) roofline=small
fi
mkdir -p "$out"
echo "gpu.sh: $card, $MINUTES minutes, rows in $out"

began=$SECONDS failed=0
run() {  # a title, the seconds that the step may take, a command
  local title=$1 most=$2 left=$((MINUTES * 60 - (SECONDS - began)))
  shift 2
  if [ "$left" -lt 20 ]; then
    echo "== $title: left out, the time is over"
    failed=1
    return
  fi
  echo "== $title ($left s left)"
  local start=$SECONDS status=0
  timeout "$((left < most ? left : most))" "$@" || status=$?
  echo "== $title: status $status, $((SECONDS - start)) s"
  [ "$status" -eq 0 ] || failed=1
}

# The first decides whether the others are worth reading. The largest network comes before the
# middle one, in case that time runs out.
run "numbers of a layer" 150 "$PYTHON" benchmarks/attention.py "${layer[@]}" --out="$out/attention.jsonl"
run "tests" 90 "$PYTHON" -m pytest -q -p no:cacheprovider tests/model/test_biased_attention.py
for size in $(echo $sizes | awk '{print $1, $3, $2}'); do
  for kind in $kinds; do
    set -- "${step[@]}"
    case " $* " in
      *" --set "*) set -- "$@" attention="$kind" ;;
      *) set -- "$@" --set attention="$kind" ;;
    esac
    run "step of $size, $kind" 120 "$PYTHON" benchmarks/train_step.py --variant="$size" --only=step \
      --out="$out/train_step.jsonl" "$@"
  done
done
run "acting against its floor" 150 "$PYTHON" benchmarks/act.py "${act[@]}" --out="$out/act.jsonl"
run "roofline against a step" 100 "$PYTHON" benchmarks/roofline.py --only="$roofline" --repeats=5 \
  --results="$out/roofline.jsonl"

echo "gpu.sh: $((SECONDS - began)) s; rows:"
wc -l "$out"/*.jsonl
exit $failed
