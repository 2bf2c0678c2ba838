#!/usr/bin/env bash
# Moves the repository to other collector versions, in every file that names one, and writes the table of versions in docs/operations.md.
#
#	upgrade.sh collector [build]
#
# collector is the newest version, used by tests and benchmarks: such as v0.165.0, latest, or current. build is the version that ocb
# builds, if different: for when a component is not published yet. The oldest version, required by go.mod, does not change.
set -euo pipefail
cd "$(dirname "$0")/.."

core=go.opentelemetry.io/collector
contrib=github.com/open-telemetry/opentelemetry-collector-contrib
beta=$core/exporter/exporterhelper # has the collector's version
stable=$core/component             # has the version of the stable modules
configs=(builder-config.yaml examples/local/builder-config.yaml)
begin='<!-- versions: written by make upgrade -->'
end='<!-- end of versions -->'
page=docs/operations.md

fail() {
  echo "upgrade.sh: $1" >&2
  exit 1
}

# required go.mod module: the version of a module in a go.mod.
required() { awk -v module="$2" '$1 == module { print $2 }' "$1"; }

# release version: the beta and stable versions of a release, which may be latest. Fails unless all its modules are published.
release() {
  local found
  found=$(cd / && go list -m -f '{{.Version}} {{.GoMod}}' "$beta@$1")
  for module in exporter/otlpexporter receiver/otlpreceiver otelcol; do
    (cd / && go list -m "$core/$module@${found% *}") >/dev/null
  done
  echo "${found% *} $(required "${found#* }" "$stable")"
}

# gomod major: the version of the components with this major version in builder-config.yaml.
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
  fail "the version to build, $built, must be from $oldest to $newest"
fi

# The modules that use the newest version. tools comes first, because others depend on it. mdatagen, ocb and their own dependencies have
# other versions.
for folder in tools bench e2e conformance; do
  sed -E -i "\#$core/(cmd|internal/schemagen)#! {
    s#($core|$contrib)(/[^ ]+)? v0\.[^ ]+#\1\2 $newest#
    s#($core)(/[^ ]+)? v1\.[^ ]+#\1\2 $newest_stable#
  }" "$folder/go.mod"
  # The exporter requires $core of its oldest collector. Packages have moved out of it since, and would exist twice.
  (cd "$folder" && go mod edit "-require=$core@$newest" && go mod tidy)
done
(cd tools && go mod edit "-require=$core/cmd/builder@$built" && go mod tidy)
sed -E -i "
  s#(gomod: ($core|$contrib)/[^ ]+) v0\.[^ ]+#\1 $built#
  s#(gomod: $core/[^ ]+) v1\.[^ ]+#\1 $built_stable#
" "${configs[@]}"

# Versions in examples that readers copy from documents. The oldest does not change. The newest comes first, so that no result is
# replaced again.
shown="(gomod: $core|gomod: $contrib|=> $core)[^ ]* |\`ocb\` "
moves=''
for move in "$from_newest $newest" "$from_newest_stable $newest_stable" "$from_built $built" "$from_built_stable $built_stable"; do
  case ${move% *} in "$oldest" | "$oldest_stable" | "${move#* }") continue ;; esac
  moves+="s#($shown)${move% *}([^0-9.]|\.[^0-9]|\$)#\1${move#* }\3#g;"
done
git ls-files -z -- '*.md' 'deploy/*.yml' 'deploy/*.yaml' ':!CHANGELOG.md' | xargs -0 sed -E -i "$moves"

grep -qF "$begin" $page && grep -qF "$end" $page || fail "$page has no markers for the versions"
row() { echo "| $1 | $2 ($3 of the stable modules) | $4 |"; }
text=$(
  sed "/^$begin/q" $page
  echo '| collector | version | tested |'
  echo '| --- | --- | --- |'
  row "the oldest, required by \`go.mod\`" "$oldest" "$oldest_stable" 'unit tests; builds in a separate module'
  ocb="end to end: \`builder-config.yaml\` and the examples"
  if [ "$built" = "$newest" ]; then
    row 'the newest' "$newest" "$newest_stable" "unit tests; builds together with Prometheus' components; $ocb"
  else
    row "built here by \`ocb\`" "$built" "$built_stable" "$ocb"
    row 'the newest' "$newest" "$newest_stable" \
      "unit tests; builds together with \`prometheusreceiver\` and \`prometheusremotewriteexporter\`"
  fi
  sed -n "/^$end/,\$p" $page
)
echo "$text" >$page
