module github.com/loggregatorexporter/loggregatorexporter/bench

go 1.26.0

replace github.com/loggregatorexporter/loggregatorexporter => ../

require (
	code.cloudfoundry.org/go-diodes v0.0.0-20231113191959-85adc333ee36
	code.cloudfoundry.org/go-loggregator/v10 v10.2.0
	github.com/loggregatorexporter/loggregatorexporter v0.0.0-00010101000000-000000000000
	go.opentelemetry.io/collector/pdata v1.65.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/hashicorp/go-version v1.9.0 // indirect
	github.com/json-iterator/go v1.1.12 // indirect
	github.com/modern-go/concurrent v0.0.0-20180306012644-bacd9c7ef1dd // indirect
	github.com/modern-go/reflect2 v1.0.3-0.20250322232337-35a7c28c31ee // indirect
	github.com/open-telemetry/opentelemetry-collector-contrib/pkg/translator/prometheus v0.159.0 // indirect
	go.opentelemetry.io/collector/featuregate v1.65.0 // indirect
	go.uber.org/multierr v1.11.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/grpc v1.83.0 // indirect
)
