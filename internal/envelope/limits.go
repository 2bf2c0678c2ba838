// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package envelope

import "strings"

// The limits of Loggregator, in bytes.
const (
	// MaxSize is the largest encoded envelope that gets through all of Loggregator: Log Cache and Diego refuse larger ones, and the agent
	// and the router lose them.
	//
	// An envelope also gets through syslog if its bytes plus its [SyslogEscapes] are at most MaxSize: the RFC 5424 message that the agent
	// makes from it is less than 1,024 bytes longer.
	MaxSize = 64 << 10
	// MaxSyslogSize is the longest RFC 5424 message that Log Cache accepts. After a longer one Log Cache closes the connection, and also
	// loses the next message.
	MaxSyslogSize = MaxSize + 1024
	// MaxBatchSize is the largest EnvelopeBatch that readers behind the router accept with gRPC's default limit.
	MaxBatchSize = 4 << 20
	// MaxPayload is the length at which Diego splits the log lines of applications. It leaves 4 KiB of MaxSize for tags.
	MaxPayload = 60 << 10
	// MaxSourceID is the longest APP-NAME of RFC 5424.
	MaxSourceID = 48
	// MaxInstanceID is the length of a GUID. An instance ID is a GUID or an index.
	MaxInstanceID = 36
	// MaxSourceType is the longest source type of a Log: the PROCID of RFC 5424, [source_type/instance_id], has at most 128 bytes. The
	// syslog agent truncates the instance ID if both together are longer, and panics if the source type alone is.
	MaxSourceType = 128 - len("[/]") - MaxInstanceID
	// MaxTagKey is the longest SD-NAME of RFC 5424.
	MaxTagKey = 32
)

// SyslogEscapes returns the number of bytes that the syslog agent adds to a tag value, a name, a unit, or an event's title or body: RFC
// 5424 escapes quotes, backslashes and closing brackets. A log payload is not escaped.
func SyslogEscapes(s string) int {
	return strings.Count(s, `"`) + strings.Count(s, `\`) + strings.Count(s, "]")
}
