//go:build current

package main

import "github.com/VictoriaMetrics/VictoriaMetrics/lib/prompb"

// The decoder of 2025 and later, from a checkout of one's own, with its buffers kept from request to
// request, as in lib/protoparser/promremotewrite/stream there.
func victoriaMetrics() decoder {
	var buffer scratch
	return func(body []byte, each visit) (int, error) {
		message, err := buffer.uncompress(body)
		if err != nil {
			return 0, err
		}
		unmarshaler := prompb.GetWriteRequestUnmarshaler()
		defer prompb.PutWriteRequestUnmarshaler(unmarshaler)
		request, err := unmarshaler.UnmarshalProtobuf(message)
		if err != nil {
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
}
