module github.com/loggregatorexporter/loggregatorexporter

go 1.26.0
