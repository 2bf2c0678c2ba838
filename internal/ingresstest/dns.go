// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingresstest

import (
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// StartDNS starts a name server that resolves every name to these addresses, and returns its own address.
func StartDNS(tb testing.TB, addresses ...[4]byte) string {
	tb.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		request := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(request)
			if err != nil {
				return // Closed.
			}
			var m dnsmessage.Message
			if m.Unpack(request[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			m.Response, m.Authoritative, m.Additionals = true, true, nil
			if question := m.Questions[0]; question.Type == dnsmessage.TypeA {
				for _, address := range addresses {
					m.Answers = append(m.Answers, dnsmessage.Resource{
						Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class, TTL: 1},
						Body:   &dnsmessage.AResource{A: address},
					})
				}
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	tb.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	return conn.LocalAddr().String()
}
