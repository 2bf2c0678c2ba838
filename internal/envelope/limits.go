// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import "strings"

// The limits of Loggregator, in bytes.
const (
	// MaxSize is the largest encoded envelope that gets through all of Loggregator: Log Cache and Diego refuse larger ones, and the agent
	// and the router lose them.
	//
	// An envelope also gets through syslog if its bytes and [SyslogEscapes] together are at most MaxSize: the RFC 5424 message that the
	// agent makes of it has less than 1,024 bytes more.
	MaxSize = 64 << 10
	// MaxSyslogSize is the longest RFC 5424 message that Log Cache takes. Above it Log Cache closes the connection, and loses the next
	// message too.
	MaxSyslogSize = MaxSize + 1024
	// MaxBatchSize is the largest EnvelopeBatch that readers behind the router with gRPC's default limit take.
	MaxBatchSize = 4 << 20
	// MaxPayload is where Diego splits the log lines of applications. It leaves 4 KiB of MaxSize for tags.
	MaxPayload = 60 << 10
	// MaxSourceID is the longest APP-NAME of RFC 5424.
	MaxSourceID = 48
	// MaxInstanceID is the length of a GUID. An instance ID is a GUID or an index.
	MaxInstanceID = 36
	// MaxSourceType is, for a Log, what [source_type/instance_id] leaves of the 128 bytes of a PROCID of RFC 5424. The syslog agent cuts
	// the instance ID when both together are longer, and panics when the source type alone is.
	MaxSourceType = 128 - len("[/]") - MaxInstanceID
	// MaxTagKey is the longest SD-NAME of RFC 5424.
	MaxTagKey = 32
)

// SyslogEscapes is how many bytes the syslog agent adds to a tag value, a name, a unit, or an event's title or body: RFC 5424
// escapes quotes, backslashes and closing brackets. It escapes nothing in a log payload.
func SyslogEscapes(s string) int {
	return strings.Count(s, `"`) + strings.Count(s, `\`) + strings.Count(s, "]")
}
