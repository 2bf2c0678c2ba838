#!/bin/sh
# Writes what is generated: mdatagen's code and documentation of metadata.yaml, docs/mapping.md, and the settings, which are those of the
# newest collector. mdatagen calls the package of its tests after the folder that metadata.yaml is in, and a checkout may be in a
# folder of any name, so it sees this one through a link with the right name.
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
