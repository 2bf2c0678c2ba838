#!/usr/bin/env bash
# Sends one line as a log record to the collector of `make run`, with OTLP/HTTP and only bash:
#
#	examples/local/log.sh "hello"
set -euo pipefail
line=${1//\\/\\\\}
line=${line//\"/\\\"}
body=$(printf '{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"quickstart"}}]},
  "scopeLogs":[{"logRecords":[{"timeUnixNano":"%s","severityNumber":9,"body":{"stringValue":"%s"}}]}]}]}' "$(date +%s)000000000" "$line")
LC_ALL=C # Makes ${#body} the number of bytes.
exec 3<>"/dev/tcp/127.0.0.1/${OTLP_HTTP_PORT:-4318}"
printf 'POST /v1/logs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s' \
  "${#body}" "$body" >&3
read -r _ status _ <&3
[ "$status" = 200 ] || { printf 'The collector returned status %s.\n' "$status" >&2; exit 1; }
