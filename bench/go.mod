module github.com/loggregatorexporter/loggregatorexporter/bench

go 1.26.0

replace github.com/loggregatorexporter/loggregatorexporter => ../

require (
	code.cloudfoundry.org/go-diodes v0.0.0-20231113191959-85adc333ee36
	github.com/loggregatorexporter/loggregatorexporter v0.0.0-00010101000000-000000000000
)
