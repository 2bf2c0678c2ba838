// Copyright The loggregatorexporter Authors
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"crypto/tls"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"google.golang.org/grpc/credentials"

	"github.com/loggregatorexporter/loggregatorexporter/internal/ingressserver"
)

// maxShutdown is the time that all signals of the exporter together may need to shut down, with some for the rest of the collector.
const maxShutdown = 12 * time.Second

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	require.NoError(t, yaml.Unmarshal([]byte(read(t, file)), into))
}

// stage is a stage of a Dockerfile.
type stage struct{ from, name, instructions string }

var stageBegin = regexp.MustCompile(`(?m)^FROM (\S+) AS (\S+)$`)

func readDockerfile(t *testing.T, file string) (stages []stage) {
	t.Helper()
	text := strings.ReplaceAll(read(t, file), "\\\n", " ")
	begins := stageBegin.FindAllStringSubmatch(text, -1)
	parts := regexp.MustCompile(`(?m)^FROM .*$`).Split(text, -1)
	require.Len(t, begins, len(parts)-1, "every stage has a name")
	require.Regexp(t, `^(#.*\n|\s)*$`, parts[0], "before the first FROM")
	for i, begin := range begins {
		stages = append(stages, stage{begin[1], begin[2], parts[i+1]})
	}
	return stages
}

// all returns the arguments of each instruction with this name.
func (s stage) all(name string) (all []string) {
	for _, found := range regexp.MustCompile(`(?m)^`+name+` (.*)$`).FindAllStringSubmatch(s.instructions, -1) {
		all = append(all, found[1])
	}
	return all
}

func TestDockerfile(t *testing.T) {
	const file = "../deploy/docker/Dockerfile"
	stages := readDockerfile(t, file)
	require.Len(t, stages, 3)
	build, images := stages[0], stages[1:]
	assert.Equal(t, "collector", images[len(images)-1].name, "the default target")
	for _, s := range images {
		assert.Equal(t, "scratch", s.from, s.name)
		require.Len(t, s.all("USER"), 1, s.name)
		require.Len(t, s.all("ENTRYPOINT"), 1, s.name)
		assert.Regexp(t, `^[1-9][0-9]*:[1-9][0-9]*$`, s.all("USER")[0], "not root, and numeric because there is no /etc/passwd: %s", s.name)
		var copied []string
		for _, arguments := range s.all("COPY") {
			require.True(t, strings.HasPrefix(arguments, "--from="+build.name+" "), "%s: %s", s.name, arguments)
			copied = append(copied, arguments[strings.LastIndex(arguments, " ")+1:])
		}
		assert.Contains(t, copied, strings.Trim(s.all("ENTRYPOINT")[0], `[]"`), s.name)
	}
	// The image has the Go version of go.mod, because Go's images do not download another one.
	goMod := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))
	require.NotNil(t, goMod)
	assert.True(t, strings.HasPrefix(build.from, "golang:"+goMod[1]), build.from)

	// The build stage copies everything. The files that it needs exist and are not ignored.
	var builder struct {
		Dist struct {
			Name string
			Path string `yaml:"output_path"`
		}
	}
	readYAML(t, "../builder-config.yaml", &builder)
	text := read(t, file)
	assert.Contains(t, text, "CGO_ENABLED=0")
	assert.Contains(t, text, "cp "+path.Join(builder.Dist.Path, builder.Dist.Name)+" /out/")
	ignored := strings.Fields(read(t, file+".dockerignore"))
	for _, needed := range []string{"builder-config.yaml", "tools/go.mod", "tools/go.sum", "go.mod", "go.sum", "cmd/loggregator-sink/main.go"} {
		_, err := os.Stat(filepath.Join("..", needed))
		require.NoError(t, err)
		assert.NotContains(t, ignored, strings.Split(needed, "/")[0])
	}
}

func TestCompose(t *testing.T) {
	var compose struct {
		Services map[string]struct {
			Build struct {
				Context, Dockerfile, Target string
			}
			Volumes         []string
			DependsOn       []string      `yaml:"depends_on"`
			StopGracePeriod time.Duration `yaml:"stop_grace_period"`
		}
		Volumes map[string]any
	}
	const dir = "../deploy/docker"
	readYAML(t, dir+"/compose.yaml", &compose)
	require.Contains(t, compose.Services, "sink")
	require.Contains(t, compose.Services, "collector")
	for name, service := range compose.Services {
		dockerfile := filepath.Join(dir, service.Build.Context, service.Build.Dockerfile)
		assert.True(t, slices.ContainsFunc(readDockerfile(t, dockerfile), func(s stage) bool { return s.name == service.Build.Target }), name)
		shared := false
		for _, volume := range service.Volumes {
			source, target, _ := strings.Cut(volume, ":")
			if strings.HasPrefix(source, ".") {
				_, err := os.Stat(filepath.Join(dir, source))
				assert.NoError(t, err)
				continue
			}
			assert.Contains(t, compose.Volumes, source)
			shared = shared || source == "certs" && strings.HasPrefix(target, "/certs")
		}
		assert.True(t, shared, "the certificates of %s", name)
		for _, other := range service.DependsOn {
			assert.Contains(t, compose.Services, other)
		}
	}
	assert.Greater(t, compose.Services["collector"].StopGracePeriod, maxShutdown)
}

// The configuration of compose.yaml produces envelopes without any load.
func TestComposeConfig(t *testing.T) {
	s := startSink(t)
	c := startCollector(t, "../deploy/docker/config.yaml", s.env(), onGRPCPort,
		`receivers::otlp::protocols::http::endpoint: "127.0.0.1:${env:OTLP_HTTP_PORT}"`)
	s.requireDelivery(c.dial(), readTelemetry(t, "shop.yaml"), "logs")
	s.waitFor("host", 1)
}

func TestSystemdUnit(t *testing.T) {
	readSettings := func(file string) map[string][]string {
		settings := map[string][]string{}
		for _, line := range regexp.MustCompile(`(?m)^\s*([^#=\n]+)=(.*?)\s*$`).FindAllStringSubmatch(read(t, file), -1) {
			settings[line[1]] = append(settings[line[1]], line[2])
		}
		return settings
	}
	settings := readSettings("../deploy/systemd/loggregator-otelcol.service")
	one := func(key string) string {
		require.Len(t, settings[key], 1, key)
		return settings[key][0]
	}
	timeout, err := time.ParseDuration(one("TimeoutStopSec"))
	require.NoError(t, err)
	assert.Greater(t, timeout, maxShutdown)

	environment := readSettings(filepath.Join("../deploy/systemd", filepath.Base(one("EnvironmentFile"))))
	for _, variable := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(one("ExecStart"), -1) {
		assert.Contains(t, environment, variable[1])
	}
	require.Len(t, environment["GOMEMLIMIT"], 1)
	var soft, hard int
	_, err = fmt.Sscanf(environment["GOMEMLIMIT"][0]+" "+one("MemoryMax"), "%dMiB %dM\n", &soft, &hard)
	require.NoError(t, err)
	assert.Less(t, soft, hard)

	// The examples use the names of the credentials for the certificates.
	example := read(t, "../examples/cloudfoundry/config.yaml")
	assert.Equal(t, "CERTS=%d", one("Environment"))
	for _, credential := range settings["LoadCredential"] {
		name, _, _ := strings.Cut(credential, ":")
		assert.Contains(t, example, "${env:CERTS}/"+name)
	}
	assert.Len(t, settings["LoadCredential"], strings.Count(example, "${env:CERTS}"))
}

// operation is an entry in an operations file.
type operation struct {
	Type, Path string
	Value      yaml.Node
}

// interpolate replaces each string that consists of a ((variable)).
func interpolate(t *testing.T, node any, variables map[string]string) any {
	t.Helper()
	switch n := node.(type) {
	case map[string]any:
		for key := range n {
			n[key] = interpolate(t, n[key], variables)
		}
	case []any:
		for i := range n {
			n[i] = interpolate(t, n[i], variables)
		}
	case string:
		if strings.HasPrefix(n, "((") {
			value, ok := variables[strings.Trim(n, "()")]
			require.True(t, ok, "no variable %s", n)
			return value
		}
	}
	return node
}

// The gateway of the operations file delivers with the configuration that the job otel-collector renders. It refuses a client with
// a certificate of the Loggregator CA, such as the forwarder agent.
func TestBOSHGateway(t *testing.T) {
	var operations []operation
	readYAML(t, "../deploy/bosh/add-loggregator-exporter.yml", &operations)
	var group struct {
		Jobs []struct {
			Name       string
			Properties map[string]any
		}
	}
	defined := map[string]bool{"otel_collector_release_version": true} // Set on the command line.
	for _, op := range operations {
		require.Equal(t, "replace", op.Type)
		if strings.HasPrefix(op.Path, "/instance_groups/") {
			require.NoError(t, op.Value.Decode(&group))
		}
		if name, ok := strings.CutPrefix(op.Path, "/variables/name="); ok {
			defined[strings.TrimSuffix(name, "?")] = true
		}
	}
	// cf-deployment defines these.
	defined["loggregator_tls_agent"], defined["forwarder_agent_metrics_tls"] = true, true
	text := read(t, "../deploy/bosh/add-loggregator-exporter.yml")
	for _, variable := range regexp.MustCompile(`\(\((\w+)[.)]`).FindAllStringSubmatch(text, -1) {
		assert.True(t, defined[variable[1]], "no variable %s", variable[1])
	}
	properties := map[string]map[string]any{}
	for _, job := range group.Jobs {
		properties[job.Name] = job.Properties
	}
	for _, kind := range []string{"logs", "metrics", "traces"} {
		assert.Equal(t, false, properties["loggr-forwarder-agent"]["emit_otel_"+kind])
	}

	s := startSink(t)
	authority, err := ingressserver.NewAuthority()
	require.NoError(t, err)
	const name = "otel-gateway.service.cf.internal"
	server, err := authority.Issue(name)
	require.NoError(t, err)
	client, err := authority.Issue("otel-gateway-client")
	require.NoError(t, err)
	collector := interpolate(t, properties["otel-collector"], map[string]string{
		"otel_gateway_loggregator_tls.ca":          read(t, s.certs+"/ca.crt"),
		"otel_gateway_loggregator_tls.certificate": read(t, s.certs+"/client.crt"),
		"otel_gateway_loggregator_tls.private_key": read(t, s.certs+"/client.key"),
		"otel_gateway_tls.ca":                      string(authority.PEM),
		"otel_gateway_tls.certificate":             string(server.CertPEM),
		"otel_gateway_tls.private_key":             string(server.KeyPEM),
	}).(map[string]any)

	// Do the same as the template config.yml.erb of the job.
	dir := t.TempDir()
	ingressTLS := collector["ingress"].(map[string]any)["grpc"].(map[string]any)["tls"].(map[string]any)
	for key, content := range ingressTLS {
		require.NoError(t, os.WriteFile(filepath.Join(dir, key), []byte(content.(string)), 0o600))
	}
	config := collector["config"].(map[string]any)
	config["receivers"] = map[string]any{"otlp/cf-internal-local": map[string]any{"protocols": map[string]any{"grpc": map[string]any{
		"endpoint": "127.0.0.1:${env:OTLP_GRPC_PORT}",
		"tls": map[string]any{
			"client_ca_file": dir + "/ca_cert", "cert_file": dir + "/cert", "key_file": dir + "/key", "min_version": "1.3",
		},
	}}}}
	for _, pipeline := range config["service"].(map[string]any)["pipelines"].(map[string]any) {
		pipeline.(map[string]any)["receivers"] = []string{"otlp/cf-internal-local"}
	}
	rendered, err := yaml.Marshal(config)
	require.NoError(t, err)
	c := startCollector(t, "yaml:"+string(rendered), s.env(), toSink)

	clientConfig := clientTLS(t, s.certs, name, string(authority.PEM)) // With a certificate like the agent's.
	requireRefused(t, c.dialWith(credentials.NewTLS(clientConfig)))
	pair, err := client.Certificate()
	require.NoError(t, err)
	clientConfig.Certificates = []tls.Certificate{pair}
	s.requireDelivery(c.dialWith(credentials.NewTLS(clientConfig)), readTelemetry(t, "shop.yaml"), signals...)
}
