// Decodes one remote-write body again and again and prints how many samples a CPU-second of the process
// is good for, all its threads and the garbage collector included: snappy, then the decoder that is
// asked for. A sum over all samples is printed beside it, so that a decoder that leaves something out
// is seen. No decoder here hashes labels, looks up series or makes anything for a log.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"runtime"
	"sort"
	"syscall"
	"time"

	"github.com/golang/snappy"
	"github.com/prometheus/prometheus/prompb"
	writev2 "github.com/prometheus/prometheus/prompb/io/prometheus/write/v2"
)

// Told of every sample once, for the sum; nil while the time is taken.
type visit func(timestamp int64, value float64)

// Decodes a compressed body and returns the number of its samples.
type decoder func(body []byte, each visit) (int, error)

var decoders = map[string]decoder{
	"prometheus-1":      prometheusV1,
	"prometheus-2":      prometheusV2,
	"victoriametrics-1": victoriaMetrics(),
}

type report struct {
	SamplesPerCPUSecond float64 `json:"samplesPerCpuSecond"`
	Samples             int     `json:"samples"`
	Sum                 string  `json:"sum"`
	Go                  string  `json:"go"`
}

func main() {
	name := flag.String("decoder", "", "which of them")
	rounds := flag.Int("rounds", 15, "rounds; the median counts")
	round := flag.Duration("round", 150*time.Millisecond, "CPU time of a round at least")
	flag.Parse()
	if err := run(*name, flag.Arg(0), *rounds, *round); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(name, path string, rounds int, round time.Duration) error {
	decode := decoders[name]
	if decode == nil {
		return fmt.Errorf("there is no decoder %q", name)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var sum uint64
	samples, err := decode(body, func(timestamp int64, value float64) {
		sum += math.Float64bits(value) ^ uint64(timestamp)
	})
	if err != nil {
		return err
	}
	if err := repeat(decode, body, 2*round, new(int)); err != nil {
		return err
	}
	costs := make([]float64, rounds)
	for i := range costs {
		calls := 0
		begun := cpuTime()
		if err := repeat(decode, body, round, &calls); err != nil {
			return err
		}
		costs[i] = (cpuTime() - begun).Seconds() / float64(calls)
	}
	sort.Float64s(costs)
	return json.NewEncoder(os.Stdout).Encode(report{
		SamplesPerCPUSecond: float64(samples) / costs[rounds/2],
		Samples:             samples,
		Sum:                 fmt.Sprint(sum),
		Go:                  runtime.Version(),
	})
}

func repeat(decode decoder, body []byte, atLeast time.Duration, calls *int) error {
	for begun := cpuTime(); cpuTime()-begun < atLeast; {
		for range 16 {
			if _, err := decode(body, nil); err != nil {
				return err
			}
			*calls++
		}
	}
	return nil
}

// User and system time of all threads.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// Memory for one body, used again.
type scratch struct{ bytes []byte }

func (s *scratch) uncompress(body []byte) ([]byte, error) {
	message, err := snappy.Decode(s.bytes[:cap(s.bytes)], body)
	s.bytes = message
	return message, err
}

// A new message for each request, as in its receiver, which then goes on to make labels of it.
func prometheusV1(body []byte, each visit) (int, error) {
	message, err := snappy.Decode(nil, body)
	if err != nil {
		return 0, err
	}
	var request prompb.WriteRequest
	if err := request.Unmarshal(message); err != nil {
		return 0, err
	}
	samples := 0
	for i := range request.Timeseries {
		series := &request.Timeseries[i]
		samples += len(series.Samples)
		for j := range series.Samples {
			if each != nil {
				each(series.Samples[j].Timestamp, series.Samples[j].Value)
			}
		}
	}
	return samples, nil
}

func prometheusV2(body []byte, each visit) (int, error) {
	message, err := snappy.Decode(nil, body)
	if err != nil {
		return 0, err
	}
	var request writev2.Request
	if err := request.Unmarshal(message); err != nil {
		return 0, err
	}
	samples := 0
	for i := range request.Timeseries {
		series := &request.Timeseries[i]
		samples += len(series.Samples)
		for j := range series.Samples {
			if each != nil {
				each(series.Samples[j].Timestamp, series.Samples[j].Value)
			}
		}
	}
	return samples, nil
}
