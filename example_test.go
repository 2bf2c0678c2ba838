// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package loggregatorexporter_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"
	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/exporter/exportertest"
	"go.opentelemetry.io/collector/pdata/plog"

	"github.com/loggregatorexporter/loggregatorexporter"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
	"github.com/loggregatorexporter/loggregatorexporter/internal/ingresstest"
)

// A collector creates the exporter from a configuration, starts it, pushes, and shuts it down, which sends the waiting batches.
func ExampleNewFactory() {
	address, certs, stop := startAgent()
	defer stop()

	factory := loggregatorexporter.NewFactory()
	cfg := factory.CreateDefaultConfig()
	settings := confmap.NewFromStringMap(map[string]any{
		"endpoint": address,
		"tls": map[string]any{
			"ca_file":   filepath.Join(certs, "ca.crt"),
			"cert_file": filepath.Join(certs, "client.crt"),
			"key_file":  filepath.Join(certs, "client.key"),
		},
	})
	check(settings.Unmarshal(cfg))
	check(confmap.Validate(cfg))

	ctx := context.Background()
	exporter, err := factory.CreateLogs(ctx, exportertest.NewNopSettings(factory.Type()), cfg)
	check(err)
	check(exporter.Start(ctx, componenttest.NewNopHost()))

	logs := plog.NewLogs()
	resource := logs.ResourceLogs().AppendEmpty()
	resource.Resource().Attributes().PutStr("cloudfoundry.app.id", "f1b5b5a0")
	resource.ScopeLogs().AppendEmpty().LogRecords().AppendEmpty().Body().SetStr("order 17 paid")
	check(exporter.ConsumeLogs(ctx, logs)) // Never blocks, and always returns nil.

	check(exporter.Shutdown(ctx))
	// Output: f1b5b5a0: order 17 paid
}

// startAgent starts an ingress that prints logs.
func startAgent() (address, certs string, stop func()) {
	certs, err := os.MkdirTemp("", "certs")
	check(err)
	check(ingressserver.WriteCerts(certs))
	tls, err := ingressserver.ServerTLS(certs)
	check(err)
	server, err := ingresstest.Start("127.0.0.1:0", tls, func(envelopes []*loggregator_v2.Envelope) {
		for _, e := range envelopes {
			fmt.Printf("%s: %s\n", e.GetSourceId(), e.GetLog().GetPayload())
		}
	})
	check(err)
	return server.Addr(), certs, func() {
		server.Stop()
		check(os.RemoveAll(certs))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
