// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingressserver

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readFiles(t *testing.T, dir string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	for _, file := range certFiles {
		content, err := os.ReadFile(filepath.Join(dir, file))
		require.NoError(t, err)
		contents[file] = string(content)
	}
	return contents
}

func readCert(t *testing.T, path string) *x509.Certificate {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	block, rest := pem.Decode(content)
	require.NotNil(t, block)
	require.Empty(t, rest)
	cert, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	return cert
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, WriteCerts(dir))
	agent := readCert(t, filepath.Join(dir, AgentCertFile))
	client := readCert(t, filepath.Join(dir, ClientCertFile))
	ca := readCert(t, filepath.Join(dir, CAFile))

	t.Run("the agent's is for metron and for no place", func(t *testing.T) {
		assert.Equal(t, []string{"metron"}, agent.DNSNames)
		assert.Empty(t, agent.IPAddresses)
		assert.NoError(t, agent.VerifyHostname("metron"))
		for _, name := range []string{"localhost", "127.0.0.1", "::1", "doppler"} {
			assert.Error(t, agent.VerifyHostname(name), name)
		}
	})
	t.Run("keys are RSA", func(t *testing.T) {
		assert.IsType(t, &rsa.PublicKey{}, agent.PublicKey)
		assert.IsType(t, &rsa.PublicKey{}, client.PublicKey)
	})
	t.Run("both are of the authority", func(t *testing.T) {
		roots := x509.NewCertPool()
		roots.AddCert(ca)
		_, err := agent.Verify(x509.VerifyOptions{Roots: roots, DNSName: "metron", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		assert.NoError(t, err)
		_, err = client.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		assert.NoError(t, err)
		assert.NotEqual(t, agent.SerialNumber, client.SerialNumber)
	})
	t.Run("they are good for now and for months", func(t *testing.T) {
		for _, cert := range []*x509.Certificate{ca, agent, client} {
			assert.True(t, cert.NotBefore.Before(time.Now()))
			assert.True(t, cert.NotAfter.After(time.Now().AddDate(0, 6, 0)))
		}
	})
}

func TestWriteCertsNewFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	require.NoError(t, WriteCerts(dir))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, len(certFiles))
	for _, file := range certFiles {
		info, err := os.Stat(filepath.Join(dir, file))
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode(), file)
	}
}

func TestWriteCertsKeepsFiles(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, WriteCerts(dir))
	before := readFiles(t, dir)
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	for _, file := range certFiles {
		require.NoError(t, os.Chtimes(filepath.Join(dir, file), long, long))
	}
	require.NoError(t, WriteCerts(dir))
	assert.Equal(t, before, readFiles(t, dir))
	for _, file := range certFiles {
		info, err := os.Stat(filepath.Join(dir, file))
		require.NoError(t, err)
		assert.True(t, info.ModTime().Equal(long), "%s was written", file)
	}
}

// WriteCerts overwrites no file.
func TestWriteCertsIncomplete(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, CAFile), []byte("mine"), 0o600))
	require.EqualError(t, WriteCerts(dir),
		dir+" has ca.crt but not metron.crt, metron.key, client.crt, client.key; remove the former to have all made anew")
	content, err := os.ReadFile(filepath.Join(dir, CAFile))
	require.NoError(t, err)
	assert.Equal(t, "mine", string(content))
}

func TestWriteCertsErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.ErrorContains(t, WriteCerts(file), file)
	assert.ErrorContains(t, WriteCerts(filepath.Join(file, "folder")), file)
}

func TestServerTLSErrors(t *testing.T) {
	whole := t.TempDir()
	require.NoError(t, WriteCerts(whole))
	contents := readFiles(t, whole)
	tests := []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"no certificate", func(dir string) error { return os.Remove(filepath.Join(dir, AgentCertFile)) }, AgentCertFile},
		{"no key", func(dir string) error { return os.Remove(filepath.Join(dir, AgentKeyFile)) }, AgentKeyFile},
		{"no authority", func(dir string) error { return os.Remove(filepath.Join(dir, CAFile)) }, CAFile},
		{"authority is garbage", func(dir string) error { return os.WriteFile(filepath.Join(dir, CAFile), []byte("garbage"), 0o600) }, CAFile + " holds no certificate"},
		{"key of the client", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, AgentKeyFile), []byte(contents[ClientKeyFile]), 0o600)
		}, "private key does not match"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range contents {
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600))
			}
			require.NoError(t, tt.damage(dir))
			_, err := ServerTLS(dir)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}
