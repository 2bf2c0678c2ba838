#!/usr/bin/env bash
# Moves the repository to other versions of the collector, in every file that names one, and writes the table of them in docs/operations.md.
#
#	upgrade.sh collector [build]
#
# collector is the newest, which tests and benchmarks use: such as v0.165.0, latest, or current. build is the one that ocb builds,
# if it is not the newest: for when a component is not published yet. The oldest, which go.mod requires, stays.
set -euo pipefail
cd "$(dirname "$0")/.."

core=go.opentelemetry.io/collector
contrib=github.com/open-telemetry/opentelemetry-collector-contrib
beta=$core/exporter/exporterhelper # numbered as the collector is
stable=$core/component             # numbered as the stable modules are
configs=(builder-config.yaml examples/local/builder-config.yaml)
begin='<!-- versions: written by make upgrade -->'
end='<!-- end of versions -->'
page=docs/operations.md

fail() {
  echo "upgrade.sh: $1" >&2
  exit 1
}

# required go.mod module: the version in a go.mod.
required() { awk -v module="$2" '$1 == module { print $2 }' "$1"; }

# release version: the same of a release, which may be latest. All modules that say so are published.
release() {
  local found
  found=$(cd / && go list -m -f '{{.Version}} {{.GoMod}}' "$beta@$1")
  for module in exporter/otlpexporter receiver/otlpreceiver otelcol; do
    (cd / && go list -m "$core/$module@${found% *}") >/dev/null
  done
  echo "${found% *} $(required "${found#* }" "$stable")"
}

# gomod major: the version of the components of a major version in builder-config.yaml.
gomod() { sed -nE "s#.*gomod: $core/[^ ]+ ($1\.[^ ]+).*#\1#p" "${configs[0]}" | tail -1; }

# older a b: whether version a is older than b.
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

oldest=$(required go.mod "$beta") oldest_stable=$(required go.mod "$stable")
from_newest=$(required bench/go.mod "$beta") from_newest_stable=$(required bench/go.mod "$stable")
from_built=$(gomod v0) from_built_stable=$(gomod v1)
for version in "$oldest" "$oldest_stable" "$from_newest" "$from_newest_stable" "$from_built" "$from_built_stable"; do
  [ -n "$version" ] || fail "a file names no version: go.mod, bench/go.mod or ${configs[0]}"
done

collector=${1:-current} build=${2:-}
if [ "$collector" = current ]; then
  collector=$from_newest build=${build:-$from_built}
fi
found=$(release "$collector")
read -r newest newest_stable <<<"$found"
found=$(release "${build:-$newest}")
read -r built built_stable <<<"$found"
if older "$newest" "$built" || older "$built" "$oldest"; then
  fail "the collector that is built, $built, must be from $oldest to $newest"
fi

# The modules that use the newest; the first is part of the others. mdatagen and ocb, and what is only theirs, have versions of their own.
for folder in tools bench e2e conformance; do
  sed -E -i "\#$core/(cmd|internal/schemagen)#! {
    s#($core|$contrib)(/[^ ]+)? v0\.[^ ]+#\1\2 $newest#
    s#($core)(/[^ ]+)? v1\.[^ ]+#\1\2 $newest_stable#
  }" "$folder/go.mod"
  # The exporter requires it for its oldest collector. Packages have left it since, and would be there twice.
  (cd "$folder" && go mod edit "-require=$core@$newest" && go mod tidy)
done
(cd tools && go mod edit "-require=$core/cmd/builder@$built" && go mod tidy)
sed -E -i "
  s#(gomod: ($core|$contrib)/[^ ]+) v0\.[^ ]+#\1 $built#
  s#(gomod: $core/[^ ]+) v1\.[^ ]+#\1 $built_stable#
" "${configs[@]}"

# What is to be copied from documents. The oldest stays. The newest is first: what becomes of it is not replaced again.
shown="(gomod: $core|gomod: $contrib|=> $core)[^ ]* |\`ocb\` "
moves=''
for move in "$from_newest $newest" "$from_newest_stable $newest_stable" "$from_built $built" "$from_built_stable $built_stable"; do
  case ${move% *} in "$oldest" | "$oldest_stable" | "${move#* }") continue ;; esac
  moves+="s#($shown)${move% *}([^0-9.]|\.[^0-9]|\$)#\1${move#* }\3#g;"
done
git ls-files -z -- '*.md' 'deploy/*.yml' 'deploy/*.yaml' ':!CHANGELOG.md' | xargs -0 sed -E -i "$moves"

grep -qF "$begin" $page && grep -qF "$end" $page || fail "$page has no place for the versions"
row() { echo "| $1 | $2 ($3 of the stable modules) | $4 |"; }
text=$(
  sed "/^$begin/q" $page
  echo '| collector | version | tested |'
  echo '| --- | --- | --- |'
  row "the oldest, required by \`go.mod\`" "$oldest" "$oldest_stable" 'unit tests; builds in a module of its own'
  ocb="end to end: \`builder-config.yaml\` and the examples"
  if [ "$built" = "$newest" ]; then
    row 'the newest' "$newest" "$newest_stable" "unit tests; builds beside Prometheus' components; $ocb"
  else
    row "built here by \`ocb\`" "$built" "$built_stable" "$ocb"
    row 'the newest' "$newest" "$newest_stable" \
      "unit tests; builds beside \`prometheusreceiver\` and \`prometheusremotewriteexporter\`"
  fi
  sed -n "/^$end/,\$p" $page
)
echo "$text" >$page
