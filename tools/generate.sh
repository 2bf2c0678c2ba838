#!/bin/sh
# Writes the generated files: mdatagen's code and documentation from metadata.yaml, docs/mapping.md, and the settings of the newest
# collector. mdatagen names the package of its tests after the folder of metadata.yaml. A checkout may be in a folder of any name, so
# mdatagen reads it through a link with the right name.
set -eu
cd "$(dirname "$0")/.."
links=$(mktemp -d)
trap 'rm -rf "$links"' EXIT
ln -s "$PWD" "$links/loggregatorexporter"
for dir in . diodeconnector; do
  go tool -modfile=tools/go.mod mdatagen "$links/loggregatorexporter/$dir/metadata.yaml"
done
go run -C tools ./mappingdoc -root "$PWD"
go run -C tools ./settingsdoc -root "$PWD"
