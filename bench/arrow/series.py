"""Prints the series of an Arrow file of the BOOM benchmark as numbers: `series.py FILE`.

One series after the other: its length as int64, then its values as float64, little-endian, NaN where one is missing.
"""

import struct
import sys

import pyarrow as pa


def main(path):
    source = pa.memory_map(path)
    try:
        table = pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        table = pa.ipc.open_file(source).read_all()
    out = sys.stdout.buffer
    for target in table.column("target").to_pylist():
        rows = target if isinstance(target[0], list) else [target]
        for row in rows:
            values = [float("nan") if value is None else value for value in row]
            out.write(struct.pack("<q", len(values)))
            out.write(struct.pack(f"<{len(values)}d", *values))


main(sys.argv[1])
