// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package ingressserver

import (
	"crypto/rsa"
	"crypto/x509"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

// Package ingresstest tests the server.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, WriteCerts(dir))
	serverTLS, err := ServerTLS(dir)
	require.NoError(t, err)
	clientTLS, err := ClientTLS(dir)
	require.NoError(t, err)
	agent, client := serverTLS.Certificates[0].Leaf, clientTLS.Certificates[0].Leaf

	t.Run("agent name only, no address", func(t *testing.T) {
		assert.Equal(t, []string{"metron"}, agent.DNSNames)
		assert.Empty(t, agent.IPAddresses)
		assert.NoError(t, agent.VerifyHostname("metron"))
		for _, name := range []string{"localhost", "127.0.0.1", "::1", "doppler"} {
			assert.Error(t, agent.VerifyHostname(name), name)
		}
	})
	t.Run("RSA keys", func(t *testing.T) {
		assert.IsType(t, &rsa.PublicKey{}, agent.PublicKey)
		assert.IsType(t, &rsa.PublicKey{}, client.PublicKey)
	})
	t.Run("signed by the authority, valid for months", func(t *testing.T) {
		for _, at := range []time.Time{time.Now(), time.Now().AddDate(0, 6, 0)} {
			_, err := agent.Verify(x509.VerifyOptions{
				Roots: clientTLS.RootCAs, CurrentTime: at, DNSName: "metron", KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			})
			assert.NoError(t, err)
			_, err = client.Verify(x509.VerifyOptions{
				Roots: serverTLS.ClientCAs, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
			})
			assert.NoError(t, err)
		}
		assert.NotEqual(t, agent.SerialNumber, client.SerialNumber)
	})
}

type file struct {
	content  string
	mode     fs.FileMode
	modified time.Time
}

// readFiles returns the files of a folder.
func readFiles(t *testing.T, dir string) map[string]file {
	t.Helper()
	files := map[string]file{}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		require.NoError(t, err)
		info, err := entry.Info()
		require.NoError(t, err)
		files[entry.Name()] = file{string(content), info.Mode(), info.ModTime()}
	}
	return files
}

func TestWriteCerts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there")
	require.NoError(t, WriteCerts(dir))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	for _, name := range certFiles {
		require.NoError(t, os.Chtimes(filepath.Join(dir, name), time.Time{}, time.Now().Add(-time.Hour)))
	}
	files := readFiles(t, dir)
	assert.ElementsMatch(t, []string{"ca.crt", "metron.crt", "metron.key", "client.crt", "client.key"}, slices.Collect(maps.Keys(files)))
	for name, f := range files {
		assert.Equal(t, fs.FileMode(0o600), f.mode, name)
	}

	require.NoError(t, WriteCerts(dir))
	assert.Equal(t, files, readFiles(t, dir), "existing files are not changed")
}

// WriteCerts overwrites no file.
func TestWriteCertsIncomplete(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, CAFile), []byte("mine"), 0o600))
	require.EqualError(t, WriteCerts(dir),
		dir+" has ca.crt but not metron.crt, metron.key, client.crt, client.key; remove the existing files to create all of them again")
	files := readFiles(t, dir)
	assert.Len(t, files, 1)
	assert.Equal(t, "mine", files[CAFile].content)
}

func TestWriteCertsErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.ErrorContains(t, WriteCerts(file), file)
	assert.ErrorContains(t, WriteCerts(filepath.Join(file, "folder")), file)
}

func TestServerTLSErrors(t *testing.T) {
	certs, err := NewCerts()
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		file, content string // no content: the file is missing
		want          string
	}{
		"no certificate":       {AgentCertFile, "", AgentCertFile},
		"no key":               {AgentKeyFile, "", AgentKeyFile},
		"no authority":         {CAFile, "", CAFile},
		"authority is garbage": {CAFile, "garbage", CAFile + " contains no certificate"},
		"key of the client":    {AgentKeyFile, string(certs.client.KeyPEM), "private key does not match"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, certs.Write(dir))
			require.NoError(t, os.Remove(filepath.Join(dir, tt.file)))
			if tt.content != "" {
				require.NoError(t, os.WriteFile(filepath.Join(dir, tt.file), []byte(tt.content), 0o600))
			}
			_, err := ServerTLS(dir)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}
