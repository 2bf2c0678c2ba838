#!/usr/bin/env bash
# Runs a command and reports its purpose, progress and usual duration on standard error: on a terminal in one line that is rewritten
# every second, elsewhere in a new line every 2 s. The command's output is shown only if it fails.
#
#	progress.sh what usual command...                             any command
#	progress.sh what usual build [-C dir] -o file flags package   go build as ocb runs it, counting compiled packages
set -euo pipefail

what=$1 usual=$2
shift 2

files=$(mktemp -d)
command=''
stop() {
  trap '' INT TERM
  # The command has a process group of its own.
  if [ -n "$command" ]; then kill -TERM -- "-$command" 2>/dev/null || true; fi
  rm -rf "$files"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
touch "$files/started" "$files/log"

build() {
  local dir=.
  if [ "$1" = -C ]; then
    dir=$2
    shift 2
  fi
  local output=("$1" "$2")
  shift 2
  export CGO_ENABLED=0
  go list -C "$dir" -deps "$@" >"$files/packages"
  go build -C "$dir" -v -trimpath -ldflags '-s -w' "${output[@]}" "$@"
}

set -m
"$@" >"$files/log" 2>&1 </dev/null &
command=$!
set +m

downloads=$(go env GOMODCACHE)/cache/download
say() {
  local line="$what: $SECONDS s" n
  if [ -s "$files/packages" ]; then
    n=$(grep -c '^[^ ]*$' "$files/log") || true
    line+=", compiled $n of at most $(($(wc -l <"$files/packages"))) packages"
  fi
  # Modules that were not in the cache.
  n=$(find "$downloads" -name '*.zip' -newer "$files/started" 2>/dev/null | wc -l)
  if [ "$n" -gt 0 ]; then line+=", downloaded $n modules"; fi
  if [ -t 2 ]; then
    printf '\r\033[K%s (usually %s)' "$line" "$usual" >&2
  else
    printf '%s (usually %s)\n' "$line" "$usual" >&2
  fi
}

every=1
[ -t 2 ] || every=2
next=0
while kill -0 "$command" 2>/dev/null; do
  if [ "$SECONDS" -ge "$next" ]; then
    say
    next=$((SECONDS + every))
  fi
  sleep 0.2
done
status=0
wait "$command" || status=$?
command=''
if [ -t 2 ]; then printf '\r\033[K' >&2; fi
if [ "$status" -ne 0 ]; then
  printf '%s: failed after %d s\n' "$what" "$SECONDS" >&2
  grep ' ' "$files/log" >&2 || true
else
  printf '%s: done in %d s\n' "$what" "$SECONDS" >&2
fi
exit "$status"
