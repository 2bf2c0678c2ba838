// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

// Command loggregator-sink is a Loggregator ingress for a laptop: it listens where the agent on a Cloud Foundry VM would, with mutual
// TLS, and prints each envelope that arrives.
//
//	loggregator-sink -certs build/certs
//
// On its first start, it creates an authority and certificates in the -certs folder. A client needs ca.crt, client.crt and client.key.
// The sink's certificate is for the name metron, like the agent's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"

	"code.cloudfoundry.org/go-loggregator/v10/rpc/loggregator_v2"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // The sink keeps running when nothing reads its output.
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "loggregator-sink:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done. Envelopes go to stdout, everything else to stderr.
func run(ctx context.Context, args []string, stdout *os.File, stderr io.Writer) error {
	flags := flag.NewFlagSet("loggregator-sink", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	listen := flags.String("listen", "127.0.0.1:3458", "`address` to listen on")
	certs := flags.String("certs", "loggregator-certs", "certificate `folder`, created if missing")
	output := flags.String("output", "text", "line format: text or json (protojson)")
	color := flags.String("color", "auto", "colors: auto (on a terminal), always or never")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			flags.SetOutput(stderr)
			flags.Usage()
		}
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	p, err := newPrinter(stdout, *output, *color)
	if err != nil {
		return err
	}
	if err := ingressserver.WriteCerts(*certs); err != nil {
		return fmt.Errorf("-certs: %w", err)
	}
	tls, err := ingressserver.ServerTLS(*certs)
	if err != nil {
		return fmt.Errorf("-certs: %w", err)
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	server := ingressserver.Serve(l, tls, func(_ context.Context, batch []*loggregator_v2.Envelope) error {
		p.print(batch)
		return nil
	})
	fmt.Fprintf(stderr, "listening on %s; a client needs ca.crt, client.crt and client.key from %s\n", server.Addr(), *certs)
	<-ctx.Done()
	server.Stop()
	p.summary(stderr)
	return nil
}
