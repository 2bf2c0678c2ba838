// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/config/configgrpc"
	"go.opentelemetry.io/collector/config/configoptional"
	"go.opentelemetry.io/collector/confmap"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

// load reads the configuration of one exporter from YAML, as the collector does.
func load(t *testing.T, yaml, id string) (*Config, error) {
	t.Helper()
	retrieved, err := confmap.NewRetrievedFromYAML([]byte(yaml))
	require.NoError(t, err)
	conf, err := retrieved.AsConf()
	require.NoError(t, err)
	sub, err := conf.Sub(id)
	require.NoError(t, err)
	cfg := createDefaultConfig().(*Config)
	if err := sub.Unmarshal(cfg); err != nil {
		return nil, err
	}
	return cfg, confmap.Validate(cfg)
}

// loadTestdata reads the configuration of one exporter from testdata/config.yaml, with certificates that it writes to certs.
func loadTestdata(t *testing.T, certs, id string) *Config {
	t.Helper()
	require.NoError(t, ingressserver.WriteCerts(certs))
	yaml, err := os.ReadFile(filepath.Join("testdata", "config.yaml"))
	require.NoError(t, err)
	cfg, err := load(t, strings.ReplaceAll(string(yaml), "${CERTS}", certs), id)
	require.NoError(t, err)
	return cfg
}

func TestDefaultConfig(t *testing.T) {
	cfg := createDefaultConfig().(*Config)
	require.NoError(t, componenttest.CheckConfigStruct(cfg))
	require.NoError(t, confmap.Validate(cfg))

	assert.Equal(t, "127.0.0.1:3458", cfg.Endpoint)
	assert.Equal(t, "metron", cfg.TLS.ServerName)
	assert.False(t, cfg.TLS.Insecure)
	assert.False(t, cfg.Compression.IsCompressed())
	assert.Equal(t, 15*time.Second, cfg.Keepalive.Get().Time)
	assert.Equal(t, 512<<10, cfg.WriteBufferSize)
	assert.Equal(t, 5*time.Second, cfg.TimeoutConfig.Timeout)
	assert.True(t, cfg.RetryConfig.Enabled)
	assert.Equal(t, DiodeConfig{Capacity: 1000, MaxItems: 40_000, DropPolicy: "oldest"}, cfg.Diode)
	assert.Equal(t, BatchConfig{MaxEnvelopes: 100, MaxBytes: 1048576}, cfg.Batch)
	assert.Equal(t, RateLimitConfig{EnvelopesPerSecond: 5000, Burst: 100}, cfg.RateLimit)
	assert.LessOrEqual(t, float64(cfg.RateLimit.Burst)+cfg.RateLimit.EnvelopesPerSecond/10, 900.0, "the limit of a router in any 100 ms")
	assert.Equal(t, TagsConfig{SyslogSafe: true}, cfg.Tags)
	assert.Equal(t, LogsConfig{SourceType: "OTEL", MaxPayloadBytes: 61440, EventsAs: "event"}, cfg.Logs)
	assert.Equal(t, MetricsConfig{Naming: "prometheus", DoubleSums: "counter"}, cfg.Metrics)
	assert.Equal(t, TracesConfig{}, cfg.Traces)
}

func TestLoadConfig(t *testing.T) {
	certs := t.TempDir()
	assert.Equal(t, createDefaultConfig(), loadTestdata(t, certs, "loggregator"))
	cfg := loadTestdata(t, certs, "loggregator/all")
	want := createDefaultConfig().(*Config)
	want.Endpoint = "dns:///agents.example.com:3458"
	want.BalancerName = "pick_first"
	want.TLS.CAFile = filepath.Join(certs, "ca.crt")
	want.TLS.CertFile = filepath.Join(certs, "client.crt")
	want.TLS.KeyFile = filepath.Join(certs, "client.key")
	want.TLS.ServerName = "doppler"
	want.Keepalive = configoptional.Some(configgrpc.KeepaliveClientConfig{Time: 20 * time.Second, Timeout: 10 * time.Second})
	want.TimeoutConfig.Timeout = 3 * time.Second
	want.RetryConfig.InitialInterval = time.Second
	want.RetryConfig.MaxInterval = 10 * time.Second
	want.RetryConfig.MaxElapsedTime = time.Minute
	want.Diode = DiodeConfig{Capacity: 50, MaxItems: 20_000, MaxBytes: 32 << 20, DropPolicy: DropNewest}
	want.Batch = BatchConfig{MaxEnvelopes: 200, MaxBytes: 512 << 10}
	want.RateLimit = RateLimitConfig{EnvelopesPerSecond: 1000.5, Burst: 200}
	want.Identity.SourceID = IDConfig{Value: "my-platform", Attributes: []string{"service.name"}, Default: "nobody"}
	want.Identity.InstanceID = IDConfig{Attributes: []string{"host.name"}, Default: "7"}
	want.Tags.SyslogSafe = false
	want.Logs = LogsConfig{SourceType: "GATEWAY", MaxPayloadBytes: 1000, EventsAs: EventsAsLog}
	want.Metrics = MetricsConfig{Naming: NamingOTel, DoubleSums: DoubleSumsGauge}
	want.Traces.SpanEvents = true
	assert.Equal(t, want, cfg)
}

// invalid is an invalid setting and a part of its error. For the collector's own errors, the part is a single word: the rest differs
// between versions.
type invalid struct{ yaml, want string }

// invalidConfigs returns invalid settings by name. It writes certificates and a file of garbage to certs.
func invalidConfigs(t *testing.T, certs string) map[string]invalid {
	t.Helper()
	require.NoError(t, ingressserver.WriteCerts(certs))
	garbage := filepath.Join(certs, "garbage.crt")
	require.NoError(t, os.WriteFile(garbage, []byte("garbage"), 0o600))
	return map[string]invalid{
		"empty endpoint":               {`endpoint: ""`, "endpoint: must not be empty; the Loggregator agent listens on 127.0.0.1:3458"},
		"endpoint without port":        {`endpoint: localhost`, "endpoint: address localhost: missing port in address; write host:port, for example 127.0.0.1:3458"},
		"unknown balancer":             {`balancer_name: fastest`, "balancer_name"},
		"duplicate header":             {`headers: [{name: a, value: b}, {name: a, value: c}]`, "headers"},
		"compression":                  {`compression: gzip`, `compression: "gzip" is not supported, because Loggregator does not decompress; remove it`},
		"frequent pings":               {`keepalive: {time: 5s}`, "keepalive::time: must be at least 10s, not 5s, or the Loggregator agent closes the connection"},
		"missing certificate":          {`tls: {cert_file: /no/such/file, key_file: ` + certs + `/client.key}`, "tls::cert_file: must be a file that the collector can read: open /no/such/file: no such file or directory"},
		"missing CA":                   {`tls: {ca_file: /no/such/ca}`, "tls::ca_file: must be a file that the collector can read: open /no/such/ca"},
		"garbage CA":                   {`tls: {ca_file: ` + garbage + `}`, "tls"},
		"key without certificate":      {`tls: {key_file: ` + certs + `/client.key}`, "tls"},
		"plaintext with CA":            {`tls: {insecure: true, ca_file: /not/looked/at}`, "tls::insecure: must not be true together with tls::ca_file, because it turns TLS off; remove one of them"},
		"plaintext with key":           {`tls: {insecure: true, cert_pem: a, key_pem: b}`, "must not be true together with tls::cert_pem"},
		"TLS versions":                 {`tls: {min_version: "1.3", max_version: "1.2"}`, "tls"},
		"negative timeout":             {`timeout: -1s`, "timeout"},
		"timeout without unit":         {`timeout: 5`, "timeout: must be 0s or at least 1ms, not 5ns; if the unit is missing, write 5s"},
		"milliseconds without unit":    {`timeout: 5000`, "if the unit is missing, write 5000ms"},
		"interval without unit":        {`retry_on_failure: {initial_interval: 5}`, "retry_on_failure::initial_interval: must be 0s or at least 1ms, not 5ns; if the unit is missing, write 5s"},
		"elapsed time without unit":    {`retry_on_failure: {max_elapsed_time: 300}`, "retry_on_failure::max_elapsed_time: must be 0s or at least 1ms, not 300ns; if the unit is missing, write 300s"},
		"keepalive without unit":       {`keepalive: {time: 15, timeout: 10}`, "keepalive::timeout: must be 0s or at least 1ms, not 10ns; if the unit is missing, write 10s"},
		"reload interval without unit": {`tls: {reload_interval: 60}`, "tls::reload_interval: must be 0s or at least 1ms, not 60ns; if the unit is missing, write 60s"},
		"multiplier below 1":           {`retry_on_failure: {multiplier: 0.5}`, "retry_on_failure::multiplier: must be at least 1, not 0.5, or each delay is shorter than the last"},
		"negative retry interval":      {`retry_on_failure: {initial_interval: -1s}`, "retry_on_failure"},
		"capacity 0":                   {`diode: {capacity: 0}`, "diode::capacity: must be from 1 to 8000000, not 0"},
		"negative items":               {`diode: {max_items: -1}`, "diode::max_items: must be 0 (no limit) or more, not -1"},
		"negative bytes":               {`diode: {max_bytes: -1}`, "diode::max_bytes: must be 0 (no limit) or more, not -1"},
		"unknown policy":               {`diode: {drop_policy: random}`, `diode::drop_policy: must be "oldest" or "newest", not "random"`},
		"zero envelopes":               {`batch: {max_envelopes: 0}`, "batch::max_envelopes: must be from 1 to 2147483647, not 0"},
		"message too large":            {`batch: {max_bytes: 4194305}`, "batch::max_bytes: must be from 131072 to 4194304, not 4194305"},
		"message too small":            {`batch: {max_bytes: 1000}`, "batch::max_bytes: must be from 131072 to 4194304, not 1000"},
		"negative rate":                {`rate_limit: {envelopes_per_second: -1}`, "rate_limit::envelopes_per_second: must be 0 (no limit) or more, not -1"},
		"infinite rate":                {`rate_limit: {envelopes_per_second: .inf}`, "rate_limit::envelopes_per_second: must be 0 (no limit) or more, not +Inf"},
		"burst below a message":        {`rate_limit: {burst: 99}`, "rate_limit::burst: must be at least batch::max_envelopes (100), not 99, so that a whole message can be sent"},
		"no source ID":                 {`identity: {source_id: {default: ""}}`, "identity::source_id::default: must not be empty unless value is set"},
		"empty attribute":              {`identity: {instance_id: {attributes: [a, ""]}}`, "identity::instance_id::attributes: must not contain an empty key"},
		"payload too long":             {`logs: {max_payload_bytes: 61441}`, "logs::max_payload_bytes: must be from 64 to 61440, not 61441"},
		"unknown events_as":            {`logs: {events_as: span}`, `logs::events_as: must be "event" or "log", not "span"`},
		"unknown naming":               {`metrics: {naming: influx}`, `metrics::naming: must be "prometheus" or "otel", not "influx"`},
		"unknown double_sums":          {`metrics: {double_sums: ""}`, `metrics::double_sums: must be "counter" or "gauge", not ""`},
		"unknown key":                  {`dioade: {capacity: 1}`, "dioade"},
		"collector's queue":            {`sending_queue: {queue_size: 5000}`, "has invalid keys: sending_queue\nsending_queue: use diode"},
		"top-level insecure":           {`insecure: true`, "has invalid keys: insecure\ninsecure: use tls::insecure"},
		"short file keys":              {`tls: {ca: a, cert: b, key: c}`, "tls::ca: use tls::ca_file\ntls::cert: use tls::cert_file\ntls::key: use tls::key_file"},
		"batch processor's key":        {`batch: {send_batch_size: 100}`, "batch::send_batch_size: use batch::max_envelopes"},
		"unknown nested key":           {`diode: {size: 1}`, "diode::size: use diode::capacity"},
		"wrong type":                   {`diode: {capacity: many}`, "diode.capacity"},
		"several values": {`endpoint: "", diode: {capacity: -1, drop_policy: x}, rate_limit: {envelopes_per_second: -2}`,
			"127.0.0.1:3458\ndiode::capacity: must be from 1 to 8000000, not -1\ndiode::drop_policy: must be \"oldest\" or \"newest\", not \"x\"\n" +
				"rate_limit::envelopes_per_second: must be 0 (no limit) or more, not -2"},
	}
}

// The error for an invalid value names its key and what is allowed.
func TestInvalidConfig(t *testing.T) {
	for name, tt := range invalidConfigs(t, t.TempDir()) {
		t.Run(name, func(t *testing.T) {
			_, err := load(t, "loggregator: {"+tt.yaml+"}", "loggregator")
			require.ErrorContains(t, err, tt.want)
			assert.NotRegexp(t, "clientconfig|timeoutconfig", err, "Go names are not keys")
		})
	}
}

// otherKeys contains no key of this exporter, and recommends only keys that exist.
func TestForeignKeys(t *testing.T) {
	set := func(key string) error {
		return confmap.NewFromStringMap(map[string]any{key: nil}).Unmarshal(createDefaultConfig())
	}
	for other, own := range otherKeys {
		require.NoError(t, set(own), own)
		require.ErrorContains(t, set(other), other+": use "+own)
	}
}

// Unmarshal restores the output of Marshal, including the connection. The collector prints its configuration with Marshal.
func TestMarshalConfig(t *testing.T) {
	cfg := loadTestdata(t, t.TempDir(), "loggregator/all")
	conf := confmap.New()
	require.NoError(t, conf.Marshal(cfg))
	again := createDefaultConfig().(*Config)
	require.NoError(t, conf.Unmarshal(again))
	assert.Equal(t, cfg, again)
}
