#!/usr/bin/env bash
# Starts the loggregator-sink, and the collector with examples/local/config.yaml, and prints envelopes until Ctrl-C.
# `make run` builds both and calls this.
set -euo pipefail
set -m # Each program has its own process group, so that Ctrl-C reaches only this script, which ends them in order.
cd "$(dirname "$0")/../.."

export SINK_PORT=${SINK_PORT:-3458}
export OTLP_GRPC_PORT=${OTLP_GRPC_PORT:-4317}
export OTLP_HTTP_PORT=${OTLP_HTTP_PORT:-4318}
export METRICS_PORT=${METRICS_PORT:-8888}
export CERTS=build/run/certs
collector_log=build/run/collector.log

say() { printf '%s\n' "$*" >&2; }

for variable in SINK_PORT OTLP_GRPC_PORT OTLP_HTTP_PORT METRICS_PORT; do
  port=${!variable}
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    say "Another program uses port $port. Choose another port: make run $variable=$((port + 10000))"
    exit 1
  fi
done

mkdir -p build/run

sink='' collector='' writer=''
stop() {
  trap '' INT TERM
  # The collector first: it sends its waiting items.
  for pid in $writer $collector; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in $writer $collector; do wait "$pid" 2>/dev/null || true; done
  if [ -n "$sink" ]; then
    kill -TERM "$sink" 2>/dev/null || true
    wait "$sink" 2>/dev/null || true
  fi
}
trap stop EXIT
trap 'exit 0' INT TERM

build/bin/loggregator-sink -listen "127.0.0.1:$SINK_PORT" -certs "$CERTS" &
sink=$!
until (exec 3<>"/dev/tcp/127.0.0.1/$SINK_PORT") 2>/dev/null; do
  kill -0 "$sink" 2>/dev/null || { say "The sink did not start."; exit 1; }
  sleep 0.1
done

build/quickstart/otelcol-quickstart --config examples/local/config.yaml >"$collector_log" 2>&1 &
collector=$!

for ((n = 1; ; )); do
  # This fails until the collector listens.
  if examples/local/log.sh "line $n from examples/local/run.sh" 2>/dev/null; then
    n=$((n + 1))
    sleep 2
  else
    sleep 0.1
  fi
done &
writer=$!

say ""
say "The collector sends this host's metrics, and a log record every 2 s, to the sink, which prints them below."
say "OTLP is open on 127.0.0.1:$OTLP_GRPC_PORT (gRPC) and 127.0.0.1:$OTLP_HTTP_PORT (HTTP)."
say "The collector's own metrics: http://127.0.0.1:$METRICS_PORT/metrics, its log: $collector_log. Ctrl-C ends both."
say ""

# The script ends with the first of them.
status=0
wait -n "$sink" "$collector" || status=$?
if ! kill -0 "$collector" 2>/dev/null; then
  say "The collector ended. The last lines of $collector_log:"
  tail -n 20 "$collector_log" >&2
fi
exit "$status"
