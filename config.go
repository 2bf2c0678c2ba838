// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/config/configretry"
	"go.opentelemetry.io/collector/config/configtls"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter/exporterhelper"

	"github.com/loggregatorexporter/loggregatorexporter/internal/delivery"
	"github.com/loggregatorexporter/loggregatorexporter/internal/envelope"
	"github.com/loggregatorexporter/loggregatorexporter/internal/queue"
	"github.com/loggregatorexporter/loggregatorexporter/internal/translate"
	"github.com/loggregatorexporter/loggregatorexporter/internal/validate"
)

// Config configures the exporter. docs/operations.md explains the settings. The blank field of each struct here prevents unkeyed literals.
type Config struct {
	// The fields of [configgrpc.ClientConfig], such as Endpoint, TLS and Keepalive, are fields of Config.
	clientConfig `mapstructure:",squash"`
	// TimeoutConfig bounds each attempt to send.
	TimeoutConfig exporterhelper.TimeoutConfig `mapstructure:"timeout,squash"`
	RetryConfig   configretry.BackOffConfig    `mapstructure:"retry_on_failure"`

	Diode     DiodeConfig     `mapstructure:"diode"`
	Batch     BatchConfig     `mapstructure:"batch"`
	RateLimit RateLimitConfig `mapstructure:"rate_limit"`

	Identity IdentityConfig `mapstructure:"identity"`
	Tags     TagsConfig     `mapstructure:"tags"`
	Logs     LogsConfig     `mapstructure:"logs"`
	Metrics  MetricsConfig  `mapstructure:"metrics"`
	Traces   TracesConfig   `mapstructure:"traces"`

	_ struct{}
}

// clientConfig is unexported because the collector validates each exported field separately, and would prefix the errors of this one
// with its Go name. validateConnection validates it instead.
type clientConfig = configgrpc.ClientConfig

// DiodeConfig configures the ring buffer of each signal.
type DiodeConfig = queue.Config

// DropPolicy selects the batch to drop when the diode is full.
type DropPolicy = queue.DropPolicy

// The drop policies.
const (
	DropOldest = queue.DropOldest // the batch that has waited longest
	DropNewest = queue.DropNewest // the batch being pushed
)

// BatchConfig bounds one message to Loggregator.
type BatchConfig struct {
	// MaxEnvelopes is the maximum number of envelopes in a message.
	MaxEnvelopes int `mapstructure:"max_envelopes"`
	// MaxBytes is the maximum size of a message in bytes. Readers behind the router refuse messages above 4 MiB.
	MaxBytes int `mapstructure:"max_bytes"`

	_ struct{}
}

// RateLimitConfig limits the rate of all signals of the exporter together.
type RateLimitConfig struct {
	// EnvelopesPerSecond is the rate limit of all signals together; `0` means no limit. At rates above the default, a busy
	// router loses envelopes in bursts.
	EnvelopesPerSecond float64 `mapstructure:"envelopes_per_second"`
	// Burst is how many envelopes can be sent at once; at least `batch.max_envelopes`. A router keeps about 900 in any 100 ms, so
	// `burst` + `envelopes_per_second` / 10 should not exceed that.
	Burst int `mapstructure:"burst"`

	_ struct{}
}

// IdentityConfig configures the source ID and the instance ID.
type IdentityConfig struct {
	SourceID   IDConfig `mapstructure:"source_id"`
	InstanceID IDConfig `mapstructure:"instance_id"`

	_ struct{}
}

// IDConfig configures an ID. The first of Value, Attributes and Default that is not empty is used.
type IDConfig struct {
	// Value is the ID of every item, regardless of the data.
	Value string `mapstructure:"value"`
	// Attributes is the list of attributes to take the ID from: the first that is not empty is used. Each is looked up on the
	// item, then its scope, then its resource.
	Attributes []string `mapstructure:"attributes"`
	// Default is the ID of items without any of these attributes.
	Default string `mapstructure:"default"`

	_ struct{}
}

// TagsConfig configures the tags of all envelopes.
type TagsConfig struct {
	// SyslogSafe restricts tag keys, instance IDs, source types and sizes to those that reach Log Cache by syslog. A tag key has at most
	// 32 bytes of printable ASCII; a longer one ends in a hash.
	SyslogSafe bool `mapstructure:"syslog_safe"`

	_ struct{}
}

// LogsConfig configures the translation of logs.
type LogsConfig struct {
	// SourceType is the tag `source_type` of logs without such an attribute and without a process type.
	SourceType string `mapstructure:"source_type"`
	// MaxPayloadBytes is the size in bytes above which a log is split into parts.
	MaxPayloadBytes int `mapstructure:"max_payload_bytes"`
	// EventsAs is the type of envelope for events: `event` or `log`. An event is a log record with an event name, or whose body is a
	// map of exactly two strings, `title` and `body`.
	EventsAs EventsAs `mapstructure:"events_as"`

	_ struct{}
}

// EventsAs selects the type of envelope for log records that are events.
type EventsAs string

// The types of envelopes for events.
const (
	EventsAsEvent EventsAs = "event" // Event envelopes
	EventsAsLog   EventsAs = "log"   // Log envelopes
)

// MetricsConfig configures the translation of metrics.
type MetricsConfig struct {
	// Naming is how to name metrics and labels: `prometheus` converts them for PromQL, `otel` keeps metric names and treats labels like
	// the tags of logs and traces.
	Naming Naming `mapstructure:"naming"`
	// DoubleSums is the type of envelope for monotonic cumulative sums of doubles: `counter`, truncated to whole numbers, or `gauge`.
	DoubleSums DoubleSums `mapstructure:"double_sums"`

	_ struct{}
}

// Naming selects how to name metrics and their tags.
type Naming string

// The ways to name metrics.
const (
	NamingPrometheus Naming = "prometheus" // names and labels for PromQL, with suffixes for unit and type
	NamingOTel       Naming = "otel"       // names unchanged, labels like the tags of logs and traces
)

// DoubleSums selects the type of envelope for monotonic cumulative sums of doubles.
type DoubleSums string

// The types of envelopes for sums of doubles.
const (
	DoubleSumsCounter DoubleSums = "counter" // Counter envelopes, truncated
	DoubleSumsGauge   DoubleSums = "gauge"   // Gauge envelopes
)

// TracesConfig configures the translation of traces.
type TracesConfig struct {
	// SpanEvents creates an Event envelope for each span event.
	SpanEvents bool `mapstructure:"span_events"`

	_ struct{}
}

const (
	// agentEndpoint is the address of the agent on each Cloud Foundry VM.
	agentEndpoint = "127.0.0.1:3458"
	// agentName is the name in the agent's certificate, which contains neither its address nor localhost.
	agentName = "metron"
	// keepaliveTime is the same as in Loggregator's own clients. The agent closes connections that ping more often than every 10 s.
	keepaliveTime    = 15 * time.Second
	minKeepaliveTime = 10 * time.Second

	// writeBufferBytes is the same as in the collector's otlp exporter. A message of 100 envelopes takes one write, and a third less
	// processor time than with gRPC's 32 KiB (docs/benchmarks.md).
	writeBufferBytes = 512 << 10

	// minMessageBytes has room for any single envelope.
	minMessageBytes = 128 << 10
	// minPayloadBytes keeps the number of parts of a payload reasonable.
	minPayloadBytes = 64
)

func createDefaultConfig() component.Config {
	client := configgrpc.NewDefaultClientConfig()
	client.Endpoint = agentEndpoint
	client.TLS.ServerName = agentName
	client.WriteBufferSize = writeBufferBytes
	keepalive := configgrpc.NewDefaultKeepaliveClientConfig()
	keepalive.Time = keepaliveTime
	client.Keepalive = configoptional.Some(keepalive)
	return &Config{
		clientConfig:  client,
		TimeoutConfig: exporterhelper.NewDefaultTimeoutConfig(),
		RetryConfig:   configretry.NewDefaultBackOffConfig(),
		Diode:         DiodeConfig{Capacity: 1000, MaxItems: 40_000, DropPolicy: DropOldest},
		Batch:         BatchConfig{MaxEnvelopes: 100, MaxBytes: 1 << 20},
		RateLimit:     RateLimitConfig{EnvelopesPerSecond: 5000, Burst: 100},
		Identity: IdentityConfig{
			SourceID: IDConfig{
				Attributes: []string{"cloudfoundry.app.id", "cloudfoundry.system.id", "org.cloudfoundry.source_id", "source_id", "service.name"},
				Default:    "otelcol",
			},
			InstanceID: IDConfig{
				Attributes: []string{"cloudfoundry.app.instance.id", "cloudfoundry.system.instance.id", "org.cloudfoundry.instance_id", "instance_id", "service.instance.id"},
				Default:    "0",
			},
		},
		Tags:    TagsConfig{SyslogSafe: true},
		Logs:    LogsConfig{SourceType: "OTEL", MaxPayloadBytes: envelope.MaxPayload, EventsAs: EventsAsEvent},
		Metrics: MetricsConfig{Naming: NamingPrometheus, DoubleSums: DoubleSumsCounter},
	}
}

// otherKeys maps keys of other exporters and processors to the equivalent keys of this exporter.
var otherKeys = map[string]string{
	"batch::max_size":            "batch::max_envelopes",
	"batch::send_batch_max_size": "batch::max_envelopes",
	"batch::send_batch_size":     "batch::max_envelopes",
	"ca_file":                    "tls::ca_file",
	"cert_file":                  "tls::cert_file",
	"diode::queue_size":          "diode::capacity",
	"diode::size":                "diode::capacity",
	"insecure":                   "tls::insecure",
	"insecure_skip_verify":       "tls::insecure_skip_verify",
	"key_file":                   "tls::key_file",
	"queue_size":                 "diode::capacity",
	"retry":                      "retry_on_failure",
	"sending_queue":              "diode",
	"server_name_override":       "tls::server_name_override",
	"source_id":                  "identity::source_id",
	"tls::ca":                    "tls::ca_file",
	"tls::cert":                  "tls::cert_file",
	"tls::key":                   "tls::key_file",
	"tls::server_name":           "tls::server_name_override",
	"tls_settings":               "tls",
}

var (
	_ confmap.Unmarshaler = (*Config)(nil)
	_ confmap.Marshaler   = Config{}
)

// Unmarshal adds to its error the keys to use in place of otherKeys.
func (cfg *Config) Unmarshal(conf *confmap.Conf) error {
	err := conf.Unmarshal(cfg)
	if err == nil {
		return nil
	}
	if listed := errors.Unwrap(err); listed != nil {
		err = listed // Without the heading of the list, which the caller adds too.
	}
	for _, key := range slices.Sorted(maps.Keys(otherKeys)) {
		if conf.IsSet(key) {
			err = fmt.Errorf("%w\n%s: use %s", err, key, otherKeys[key])
		}
	}
	return err
}

// Marshal is needed because confmap encodes exported fields only.
func (cfg Config) Marshal(conf *confmap.Conf) error {
	type exported Config // Without a Marshal method.
	return errors.Join(conf.Marshal(cfg.clientConfig), conf.Marshal(exported(cfg)))
}

// Validate reports the invalid values, each with its key and what is allowed.
func (cfg *Config) Validate() error {
	return errors.Join(
		cfg.validateConnection(),
		validate.Durations(cfg),
		validate.Retry("retry_on_failure", cfg.RetryConfig),
		cfg.Diode.Validate("diode::"),
		validate.InRange("batch::max_envelopes", cfg.Batch.MaxEnvelopes, 1, math.MaxInt32),
		validate.InRange("batch::max_bytes", cfg.Batch.MaxBytes, minMessageBytes, envelope.MaxBatchSize),
		cfg.validateRateLimit(),
		cfg.validateIdentity(),
		validate.InRange("logs::max_payload_bytes", cfg.Logs.MaxPayloadBytes, minPayloadBytes, envelope.MaxPayload),
		validate.OneOf("logs::events_as", cfg.Logs.EventsAs, EventsAsEvent, EventsAsLog),
		validate.OneOf("metrics::naming", cfg.Metrics.Naming, NamingPrometheus, NamingOTel),
		validate.OneOf("metrics::double_sums", cfg.Metrics.DoubleSums, DoubleSumsCounter, DoubleSumsGauge),
	)
}

func (cfg *Config) validateConnection() error {
	var errs []error
	reject := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if strings.TrimSpace(cfg.Endpoint) == "" {
		reject("endpoint: must not be empty; the Loggregator agent listens on %s", agentEndpoint)
	} else if err := cfg.clientConfig.Validate(); err != nil { // The endpoint or the balancer is invalid.
		if key := "balancer_name"; strings.Contains(err.Error(), key) {
			reject("%w", err)
		} else {
			reject("endpoint: %w; write host:port, for example %s", err, agentEndpoint)
		}
	}
	if err := cfg.Headers.Validate(); err != nil {
		reject("headers: %w", err)
	}
	if cfg.Compression.IsCompressed() {
		reject("compression: %q is not supported, because Loggregator does not decompress; remove it", cfg.Compression)
	}
	if keepalive := cfg.Keepalive.Get(); keepalive != nil && keepalive.Time < minKeepaliveTime && !validate.UnitMissing(keepalive.Time) {
		reject("keepalive::time: must be at least %s, not %s, or the Loggregator agent closes the connection", minKeepaliveTime, keepalive.Time)
	}
	errs = append(errs, validateTLS(&cfg.TLS))
	return errors.Join(errs...)
}

func validateTLS(cfg *configtls.ClientConfig) error {
	var errs []error
	for _, setting := range []struct {
		key  string
		set  bool
		path string
	}{
		{key: "tls::ca_file", set: cfg.CAFile != "", path: cfg.CAFile},
		{key: "tls::ca_pem", set: cfg.CAPem != ""},
		{key: "tls::cert_file", set: cfg.CertFile != "", path: cfg.CertFile},
		{key: "tls::cert_pem", set: cfg.CertPem != ""},
		{key: "tls::key_file", set: cfg.KeyFile != "", path: cfg.KeyFile},
		{key: "tls::key_pem", set: cfg.KeyPem != ""},
	} {
		switch {
		case !setting.set:
		case cfg.Insecure:
			errs = append(errs, fmt.Errorf("tls::insecure: must not be true together with %s, because it turns TLS off; remove one of them", setting.key))
		case setting.path != "":
			if _, err := os.ReadFile(setting.path); err != nil {
				errs = append(errs, fmt.Errorf("%s: must be a file that the collector can read: %w", setting.key, err))
			}
		}
	}
	if len(errs) > 0 || cfg.Insecure {
		return errors.Join(errs...)
	}
	err := cfg.Validate()
	if err == nil {
		_, err = cfg.LoadTLSConfig(context.Background())
	}
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	return nil
}

func (cfg *Config) validateRateLimit() error {
	limit := cfg.RateLimit
	if limit.EnvelopesPerSecond < 0 || math.IsNaN(limit.EnvelopesPerSecond) || math.IsInf(limit.EnvelopesPerSecond, 0) {
		return fmt.Errorf("rate_limit::envelopes_per_second: must be 0 (no limit) or more, not %v", limit.EnvelopesPerSecond)
	}
	if limit.EnvelopesPerSecond > 0 && limit.Burst < cfg.Batch.MaxEnvelopes {
		return fmt.Errorf("rate_limit::burst: must be at least batch::max_envelopes (%d), not %d, so that a whole message can be sent",
			cfg.Batch.MaxEnvelopes, limit.Burst)
	}
	return nil
}

func (cfg *Config) validateIdentity() error {
	source, instance := cfg.Identity.SourceID, cfg.Identity.InstanceID
	var errs []error
	if source.Value == "" && source.Default == "" {
		errs = append(errs, errors.New("identity::source_id::default: must not be empty unless value is set, because an envelope without a source ID cannot be queried"))
	}
	if slices.Contains(source.Attributes, "") {
		errs = append(errs, errors.New("identity::source_id::attributes: must not contain an empty key"))
	}
	if slices.Contains(instance.Attributes, "") {
		errs = append(errs, errors.New("identity::instance_id::attributes: must not contain an empty key"))
	}
	return errors.Join(errs...)
}

// delivery returns the settings for the delivery.
func (cfg *Config) delivery() delivery.Config {
	return delivery.Config{
		GRPC:               cfg.clientConfig,
		Timeout:            cfg.TimeoutConfig.Timeout,
		Retry:              cfg.RetryConfig,
		EnvelopesPerSecond: cfg.RateLimit.EnvelopesPerSecond,
		Burst:              cfg.RateLimit.Burst,
	}
}

// translation returns the settings for the translation.
func (cfg *Config) translation() translate.Options {
	return translate.Options{
		SourceID:           cfg.Identity.SourceID.translation(),
		InstanceID:         cfg.Identity.InstanceID.translation(),
		SyslogSafe:         cfg.Tags.SyslogSafe,
		SourceType:         cfg.Logs.SourceType,
		MaxPayload:         cfg.Logs.MaxPayloadBytes,
		EventsAsLogs:       cfg.Logs.EventsAs == EventsAsLog,
		PrometheusNames:    cfg.Metrics.Naming == NamingPrometheus,
		DoubleSumsAsGauges: cfg.Metrics.DoubleSums == DoubleSumsGauge,
		SpanEvents:         cfg.Traces.SpanEvents,
	}
}

func (id IDConfig) translation() translate.Identity {
	return translate.Identity{Value: id.Value, Attributes: id.Attributes, Default: id.Default}
}
