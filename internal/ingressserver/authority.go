// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingressserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// AgentName is the only name in the agent's certificate. As on Cloud Foundry, there is no address and no localhost.
const AgentName = "metron"

// Authority is a throwaway certificate authority. It is valid for a year, like the certificates that it issues.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// PEM is the authority's certificate.
	PEM []byte
}

// NewAuthority returns a new authority.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "loggregatorCA"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(1, 0, 0),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err = x509.ParseCertificate(der)
	return &Authority{cert: cert, key: key, PEM: encodePEM("CERTIFICATE", der)}, err
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// KeyPair is a certificate and its private key.
type KeyPair struct{ CertPEM, KeyPEM []byte }

// Certificate returns the key pair as a crypto/tls certificate.
func (p KeyPair) Certificate() (tls.Certificate, error) { return tls.X509KeyPair(p.CertPEM, p.KeyPEM) }

// Issue issues a certificate for a server or client of this name. It is valid for a year.
func (a *Authority) Issue(name string) (KeyPair, error) { return a.IssueUntil(name, a.cert.NotAfter) }

// IssueUntil is like Issue with an expiry time. The key is RSA because the agent accepts only RSA cipher suites.
func (a *Authority) IssueUntil(name string, expires time.Time) (KeyPair, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return KeyPair{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{name},
		NotBefore:   a.cert.NotBefore,
		NotAfter:    expires,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert, key.Public(), a.key)
	return KeyPair{
		CertPEM: encodePEM("CERTIFICATE", der),
		KeyPEM:  encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
	}, err
}

// The files that [WriteCerts] writes.
const (
	CAFile         = "ca.crt"
	AgentCertFile  = "metron.crt"
	AgentKeyFile   = "metron.key"
	ClientCertFile = "client.crt"
	ClientKeyFile  = "client.key"
)

var certFiles = []string{CAFile, AgentCertFile, AgentKeyFile, ClientCertFile, ClientKeyFile}

// WriteCerts creates an authority and certificates for an agent and a client, and writes them to a folder, which it creates. It
// overwrites nothing: if all files exist it does nothing, and if only some do it fails.
func WriteCerts(dir string) error {
	var there, missing []string
	for _, file := range certFiles {
		if _, err := os.Lstat(filepath.Join(dir, file)); err == nil {
			there = append(there, file)
		} else {
			missing = append(missing, file)
		}
	}
	switch {
	case len(missing) == 0:
		return nil
	case len(there) > 0:
		return fmt.Errorf("%s has %s but not %s; remove the existing files to create all of them again",
			dir, strings.Join(there, ", "), strings.Join(missing, ", "))
	}
	certs, err := NewCerts()
	if err != nil {
		return err
	}
	return certs.Write(dir)
}

// Certs holds an authority and the certificates of an agent and a client.
type Certs struct {
	*Authority
	agent, client KeyPair
}

// NewCerts creates an authority and issues the certificates.
func NewCerts() (*Certs, error) {
	authority, err := NewAuthority()
	if err != nil {
		return nil, err
	}
	c := &Certs{Authority: authority}
	if c.agent, err = c.Issue(AgentName); err != nil {
		return nil, err
	}
	c.client, err = c.Issue("otelcol")
	return c, err
}

// Write writes the files of [WriteCerts] to a folder, which it creates. It overwrites existing files.
func (c *Certs) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, content := range [][]byte{c.PEM, c.agent.CertPEM, c.agent.KeyPEM, c.client.CertPEM, c.client.KeyPEM} {
		if err := os.WriteFile(filepath.Join(dir, certFiles[i]), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ServerTLS returns the TLS configuration of an agent with the certificates in a [WriteCerts] folder. The agent accepts every client
// with a certificate from the same authority.
func ServerTLS(dir string) (*tls.Config, error) { return loadTLS(dir, AgentCertFile, AgentKeyFile) }

// ClientTLS returns the TLS configuration of a client with the certificates in a [WriteCerts] folder.
func ClientTLS(dir string) (*tls.Config, error) { return loadTLS(dir, ClientCertFile, ClientKeyFile) }

func loadTLS(dir, certFile, keyFile string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, CAFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s contains no certificate", filepath.Join(dir, CAFile))
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		RootCAs:      pool,
		ServerName:   AgentName,
	}, nil
}
