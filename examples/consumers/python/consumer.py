"""Prints what goes through Treeline's topics, one line each: samples with the names of their series, candidates, and
anomalies.

    python consumer.py --brokers localhost:9092 [--prefix treeline] [--group my-group] [--from beginning|end]

Names come with the samples now and then, at least every 10 minutes; until then a series is shown by its fingerprint.
"""

import argparse
import json
import os
import signal
import struct
import sys

from confluent_kafka import Consumer, KafkaError, KafkaException

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "gen"))
from anomaly_pb2 import Anomaly  # noqa: E402
from candidate_pb2 import Candidate, Phase  # noqa: E402
from remote_write_v2_pb2 import Histogram  # noqa: E402
from sample_block_pb2 import SampleBlock  # noqa: E402

# Prometheus writes this NaN when a series has ended. Compare the bits: as a float it is a NaN like any other.
STALE = 0x7FF0000000000002
SERIES_MAX = 1_000_000
SEEN_MAX = 10_000

names = {}
seen = set()


def show_block(block):
    for series in block.series:
        if len(names) >= SERIES_MAX:
            names.clear()  # each is announced again
        names[series.fingerprint] = name_of(series.label)
    for fingerprint, timestamp_ms, bits in zip(block.fingerprint, block.timestamp_ms, block.value_bits):
        show(fingerprint, timestamp_ms, value_text(bits))
    for sample in block.histogram:
        histogram = Histogram.FromString(sample.histogram)
        count = getattr(histogram, histogram.WhichOneof("count"))
        show(sample.fingerprint, sample.timestamp_ms, f"histogram of {count} with sum {histogram.sum:g}")


def show(fingerprint, timestamp_ms, value):
    name = names.get(fingerprint, f"#{fingerprint:016x}")
    print(f"sample {timestamp_ms} {name} {value}", flush=True)


def value_text(bits):
    if bits == STALE:
        return "stale"
    return repr(struct.unpack("<d", struct.pack("<Q", bits))[0])


def name_of(labels):
    pairs = {label.name: label.value for label in labels}
    metric = pairs.pop("__name__", "")
    quoted = (f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in pairs.items())
    return metric + "{" + ",".join(sorted(quoted)) + "}"


def show_candidate(candidate):
    # After a restart the same candidates may come again.
    if not is_new((candidate.fingerprint, candidate.timestamp_ms, candidate.phase)):
        return
    what = Phase.Name(candidate.phase).removeprefix("PHASE_").lower()
    name = name_of(candidate.label)
    print(f"candidate {candidate.timestamp_ms} {name} {what} score {candidate.score:.3f}", flush=True)


def show_anomaly(anomaly):
    # Told when it opens, when it grows and when it ends: the last record of an onset is the newest.
    is_closed = anomaly.HasField("end_ms")
    key = ("anomaly", anomaly.fingerprint, anomaly.onset_ms, anomaly.score, anomaly.end_ms if is_closed else None)
    if not is_new(key):
        return
    state = "closed" if is_closed else "open"
    print(f"anomaly {anomaly.onset_ms} {name_of(anomaly.label)} {state} score {anomaly.score:.3f}", flush=True)


def is_new(key):
    if key in seen:
        return False
    if len(seen) >= SEEN_MAX:
        seen.clear()
    seen.add(key)
    return True


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--brokers", default="localhost:9092")
    parser.add_argument("--prefix", default="treeline")
    parser.add_argument("--group", default=f"consumer-{os.getpid()}")
    parser.add_argument("--from", dest="start", choices=["beginning", "end"], default="end")
    options = parser.parse_args()
    topics = [f"{options.prefix}.{topic}" for topic in ("samples", "candidates", "anomalies")]
    samples, candidates, _ = topics

    is_ending = False

    def end(_signal, _frame):
        nonlocal is_ending
        is_ending = True

    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    consumer = Consumer(
        {
            "bootstrap.servers": options.brokers,
            "group.id": options.group,
            "auto.offset.reset": "earliest" if options.start == "beginning" else "latest",
        }
    )
    reading = f"reading {' and '.join(topics)}"
    consumer.subscribe(topics, on_assign=lambda *_: print(reading, file=sys.stderr, flush=True))
    try:
        while not is_ending:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if message.error() is not None:
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise KafkaException(message.error())
            if message.topic() == samples:
                show_block(SampleBlock.FromString(message.value()))
            elif message.topic() == candidates:
                show_candidate(Candidate.FromString(message.value()))
            else:
                show_anomaly(Anomaly.FromString(message.value()))
    finally:
        consumer.close()  # commits, and leaves the group


if __name__ == "__main__":
    main()
