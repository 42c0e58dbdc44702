// Command rw2-sender sends remote-write 2.0 with the Prometheus project's own client and messages: an
// implementation that shares nothing with ours, neither the encoder nor snappy nor HTTP.
//
//	rw2-sender -url http://127.0.0.1:8275/api/v1/write -now 1760000000000 -requests 3 -start sample
//
// What it sends follows from its flags alone, so that a test can say what must arrive. Per request and
// series number n, at the time now + 15 s times the request's number:
//
//	sender_requests_total{number="n"}   a counter, value 10 r + n, with an exemplar and a start timestamp
//	sender_queue_length{number="n"}     a gauge, value n - r; in the last request a stale marker
//	sender_latency{number="n"}          histograms: exponential, float and custom buckets in turn
//
// It prints one line of JSON with what the answers claimed, and exits 1 when a request failed.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"time"

	"github.com/prometheus/client_golang/exp/api/remote"
	writev2 "github.com/prometheus/client_golang/exp/api/remote/genproto/v2"
)

const (
	stepMs      = 15_000
	startAgeMs  = 3_600_000
	staleMarker = 0x7ff0000000000002
	// Fields of the messages since rc.4 of the specification, which this client does not know yet.
	sampleStartField    = 3
	histogramStartField = 17
)

type settings struct {
	now      int64
	series   int
	requests int
	start    string
	nameless int
	retries  int
}

// report is what the sender itself counts as done and as lost.
type report struct {
	Requests   int      `json:"requests"`
	Failed     int      `json:"failed"`
	Retried    int      `json:"retried"`
	Samples    int      `json:"samples"`
	Histograms int      `json:"histograms"`
	Exemplars  int      `json:"exemplars"`
	Errors     []string `json:"errors"`
}

func main() {
	var s settings
	url := flag.String("url", "", "where to send")
	flag.Int64Var(&s.now, "now", 0, "time of the first request, milliseconds since 1970")
	flag.IntVar(&s.series, "series", 10, "series of each kind")
	flag.IntVar(&s.requests, "requests", 3, "requests, one after another")
	flag.StringVar(&s.start, "start", "none", "where start timestamps stand: none, sample, series (the older field 6)")
	flag.IntVar(&s.nameless, "nameless", 0, "series without a name in each request, which must be refused")
	flag.IntVar(&s.retries, "retries", 20, "attempts per request that is answered 5xx")
	flag.Parse()

	client, err := remote.NewAPI(*url, remote.WithAPIPath(""), remote.WithAPIBackoff(remote.BackoffConfig{
		Min: 30 * time.Millisecond, Max: time.Second, MaxRetries: s.retries,
	}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	done := report{Errors: []string{}}
	for number := range s.requests {
		stats, err := client.Write(context.Background(), remote.WriteV2MessageType, request(s, number),
			remote.WithWriteRetryCallback(func(error) { done.Retried++ }))
		done.Requests++
		done.Samples += stats.Samples
		done.Histograms += stats.Histograms
		done.Exemplars += stats.Exemplars
		if err != nil {
			done.Failed++
			done.Errors = append(done.Errors, err.Error())
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(done); err != nil {
		panic(err)
	}
	if done.Failed > 0 {
		os.Exit(1)
	}
}

func request(s settings, number int) *writev2.Request {
	table := writev2.NewSymbolTable()
	out := &writev2.Request{}
	at := s.now + int64(number)*stepMs
	for i := range s.series {
		out.Timeseries = append(out.Timeseries,
			counter(&table, s, i, number, at), gauge(&table, s, i, number, at), latency(&table, s, i, number, at))
	}
	for range s.nameless {
		out.Timeseries = append(out.Timeseries, &writev2.TimeSeries{
			LabelsRefs: table.SymbolizeLabels([]string{"job", "nameless"}, nil),
			Samples:    []*writev2.Sample{{Value: 1, Timestamp: at}},
		})
	}
	out.Symbols = table.Symbols()
	return out
}

func counter(table *writev2.SymbolsTable, s settings, i, number int, at int64) *writev2.TimeSeries {
	one := series(table, "sender_requests_total", i)
	one.Metadata = metadata(table, writev2.Metadata_METRIC_TYPE_COUNTER, "Requests.", "requests")
	sample := &writev2.Sample{Value: float64(10*number + i), Timestamp: at}
	setStart(s, one, func(field []byte) { sample.ProtoReflect().SetUnknown(field) }, sampleStartField)
	one.Samples = append(one.Samples, sample)
	one.Exemplars = append(one.Exemplars, &writev2.Exemplar{
		LabelsRefs: table.SymbolizeLabels([]string{"trace_id", fmt.Sprintf("trace-%d-%d", number, i)}, nil),
		Value:      1,
		Timestamp:  at,
	})
	return one
}

func gauge(table *writev2.SymbolsTable, s settings, i, number int, at int64) *writev2.TimeSeries {
	one := series(table, "sender_queue_length", i)
	one.Metadata = metadata(table, writev2.Metadata_METRIC_TYPE_GAUGE, "Length of the queue.", "")
	value := float64(i - number)
	if number == s.requests-1 {
		value = math.Float64frombits(staleMarker)
	}
	one.Samples = append(one.Samples, &writev2.Sample{Value: value, Timestamp: at})
	return one
}

func latency(table *writev2.SymbolsTable, s settings, i, number int, at int64) *writev2.TimeSeries {
	one := series(table, "sender_latency", i)
	one.Metadata = metadata(table, writev2.Metadata_METRIC_TYPE_HISTOGRAM, "Latency.", "seconds")
	var histogram *writev2.Histogram
	switch i % 3 {
	case 0:
		histogram = &writev2.Histogram{
			Count:          &writev2.Histogram_CountInt{CountInt: 27},
			ZeroCount:      &writev2.Histogram_ZeroCountInt{ZeroCountInt: 1},
			ZeroThreshold:  0.001,
			Schema:         3,
			PositiveSpans:  []*writev2.BucketSpan{{Offset: -2, Length: 3}, {Offset: 2, Length: 2}},
			PositiveDeltas: []int64{1, 2, 1, 3, 1},
			NegativeSpans:  []*writev2.BucketSpan{{Offset: 0, Length: 2}},
			NegativeDeltas: []int64{1, 1},
		}
	case 1:
		histogram = &writev2.Histogram{
			Count:          &writev2.Histogram_CountFloat{CountFloat: 6.5},
			ZeroCount:      &writev2.Histogram_ZeroCountFloat{ZeroCountFloat: 1.5},
			PositiveSpans:  []*writev2.BucketSpan{{Offset: 0, Length: 2}},
			PositiveCounts: []float64{2, 3},
		}
	default:
		histogram = &writev2.Histogram{
			Count:          &writev2.Histogram_CountInt{CountInt: 30},
			Schema:         -53,
			PositiveSpans:  []*writev2.BucketSpan{{Offset: 0, Length: 6}},
			PositiveDeltas: []int64{2, 1, 2, 3, -1, -2},
			CustomValues:   []float64{0.1, 0.5, 1, 2.5, 5},
		}
	}
	histogram.Sum = float64(number) + 0.5
	histogram.Timestamp = at
	setStart(s, one, func(field []byte) { histogram.ProtoReflect().SetUnknown(field) }, histogramStartField)
	one.Histograms = append(one.Histograms, histogram)
	return one
}

func series(table *writev2.SymbolsTable, name string, i int) *writev2.TimeSeries {
	labels := []string{"__name__", name, "instance", "host:9100", "job", "rw2-sender", "number", fmt.Sprint(i)}
	return &writev2.TimeSeries{LabelsRefs: table.SymbolizeLabels(labels, nil)}
}

func metadata(table *writev2.SymbolsTable, kind writev2.Metadata_MetricType, help, unit string) *writev2.Metadata {
	return &writev2.Metadata{Type: kind, HelpRef: table.Symbolize(help), UnitRef: table.Symbolize(unit)}
}

// setStart writes the start timestamp where the flags want it: into the series, or as a field that the
// client does not know, which its encoder passes on as it is.
func setStart(s settings, one *writev2.TimeSeries, setUnknown func([]byte), field uint64) {
	start := s.now - startAgeMs
	switch s.start {
	case "series":
		one.CreatedTimestamp = start
	case "sample":
		setUnknown(binary.AppendUvarint(binary.AppendUvarint(nil, field<<3), uint64(start)))
	}
}
