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
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// AgentName is the name in the agent's certificate. It has no address and no localhost, as on Cloud Foundry.
const AgentName = "metron"

// Authority is a throwaway certificate authority. It lives as long as its certificates: a year.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// PEM is its certificate.
	PEM []byte
}

// NewAuthority makes an authority.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := template("loggregatorCA")
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage = x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key, PEM: encodePEM("CERTIFICATE", der)}, nil
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// KeyPair is a certificate and its private key.
type KeyPair struct{ CertPEM, KeyPEM []byte }

// Certificate is the key pair as crypto/tls has it.
func (p KeyPair) Certificate() (tls.Certificate, error) { return tls.X509KeyPair(p.CertPEM, p.KeyPEM) }

// Issue makes a certificate for a server or a client of this name. It is valid for a year.
func (a *Authority) Issue(name string) (KeyPair, error) { return a.IssueUntil(name, a.cert.NotAfter) }

// IssueUntil makes a certificate that expires at that time. Its key is RSA: the agent accepts only cipher suites with RSA.
func (a *Authority) IssueUntil(name string, expires time.Time) (KeyPair, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return KeyPair{}, err
	}
	template := template(name)
	template.NotAfter = expires
	template.DNSNames = []string{name}
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return KeyPair{}, err
	}
	return KeyPair{
		CertPEM: encodePEM("CERTIFICATE", der),
		KeyPEM:  encodePEM("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)),
	}, nil
}

// The files of a [WriteCerts] folder.
const (
	CAFile         = "ca.crt"
	AgentCertFile  = "metron.crt"
	AgentKeyFile   = "metron.key"
	ClientCertFile = "client.crt"
	ClientKeyFile  = "client.key"
)

var certFiles = []string{CAFile, AgentCertFile, AgentKeyFile, ClientCertFile, ClientKeyFile}

// WriteCerts makes an authority and the certificates of an agent and of a client, and writes them to a folder, which it creates. It
// leaves a folder alone that has all files, and fails if some are missing: it overwrites none.
func WriteCerts(dir string) error {
	var there, missing []string
	for _, file := range certFiles {
		_, err := os.Stat(filepath.Join(dir, file))
		switch {
		case err == nil:
			there = append(there, file)
		case errors.Is(err, fs.ErrNotExist):
			missing = append(missing, file)
		default:
			return err
		}
	}
	switch {
	case len(missing) == 0:
		return nil
	case len(there) > 0:
		return fmt.Errorf("%s has %s but not %s; remove the former to have all made anew",
			dir, strings.Join(there, ", "), strings.Join(missing, ", "))
	}
	authority, err := NewAuthority()
	if err != nil {
		return err
	}
	certs, err := authority.Certs()
	if err != nil {
		return err
	}
	return certs.Write(dir)
}

// Certs is the content of the files of a [WriteCerts] folder, by name.
type Certs map[string][]byte

// Certs issues the certificates of an agent and of a client.
func (a *Authority) Certs() (Certs, error) {
	agent, err := a.Issue(AgentName)
	if err != nil {
		return nil, err
	}
	client, err := a.Issue("otelcol")
	if err != nil {
		return nil, err
	}
	return Certs{
		CAFile:        a.PEM,
		AgentCertFile: agent.CertPEM, AgentKeyFile: agent.KeyPEM,
		ClientCertFile: client.CertPEM, ClientKeyFile: client.KeyPEM,
	}, nil
}

// Write writes the files to a folder, which it creates.
func (c Certs) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for file, content := range c {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// ServerTLS returns the TLS configuration of an agent with the certificates in a [WriteCerts] folder. It lets in each client that has a
// certificate of the same authority.
func ServerTLS(dir string) (*tls.Config, error) {
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, AgentCertFile), filepath.Join(dir, AgentKeyFile))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, CAFile))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", filepath.Join(dir, CAFile))
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
	}, nil
}
