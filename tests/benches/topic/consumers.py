"""Python consumers of the bench's topic of JSON records, as people write them themselves.

    python consumers.py BROKERS TOPIC orjson-pandas-psi|json-evidently RECORDS

Prints three numbers: records, seconds and seconds of processor time of this process, all from the
first record on; joining the group, imports and the reference before it are left out.
Micro-batches of 50,000 records are compared with 100,000 rows of a reference: by PSI over ten
quantile bins in numpy, or by what Evidently does unless told otherwise. The first is what one gets
by tuning by hand, the second what one gets by following the documentation.

Written for this bench. The packages are others' (confluent-kafka and Evidently: Apache-2.0, orjson:
Apache-2.0 or MIT, numpy and pandas: BSD-3-Clause); none of them is shipped with driftd.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "confluent-kafka==2.16.1",
#   "evidently==0.7.23",
#   "numpy==2.4.6",
#   "orjson==3.13.0",
#   "pandas==3.1.1",
# ]
# ///

import json
import sys
import time
import uuid
import warnings

import numpy as np
import pandas as pd
from confluent_kafka import Consumer

FEATURES = [f"f{feature:02}" for feature in range(20)]
BATCH = 50_000
POLL = 10_000
PATIENCE_SECONDS = 30
# A bin without values counts as this share, so that the logarithm is finite.
SHARE_MIN = 1e-4


def reference():
    """Rows of the distribution that the topic has: numbers from 0 to 1."""
    return np.random.default_rng(1).random((100_000, len(FEATURES))).round(6)


def frame(records):
    return pd.DataFrame([record["features"] for record in records])


def psi_report(rows):
    """Returns a function that gives the PSI of each feature of a batch."""
    edges = [np.quantile(column, np.arange(1, 10) / 10) for column in rows.T]

    def shares(values, edges):
        counts = np.bincount(np.searchsorted(edges, values), minlength=10)
        return np.maximum(counts / len(values), SHARE_MIN)

    expected = [shares(column, cuts) for column, cuts in zip(rows.T, edges)]

    def report(records):
        batch = frame(records)
        found = [shares(batch[name].to_numpy(), cuts) for name, cuts in zip(FEATURES, edges)]
        return [float(((q - p) * np.log(q / p)).sum()) for p, q in zip(expected, found)]

    return report


def evidently_report(rows):
    """Returns a function that gives Evidently's report of a batch, by its defaults."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=FEATURES)
    known = Dataset.from_pandas(pd.DataFrame(rows, columns=FEATURES), data_definition=definition)

    def report(records):
        batch = Dataset.from_pandas(frame(records), data_definition=definition)
        return Report([DataDriftPreset()]).run(batch, known).dict()

    return report


def stack(name):
    """Returns what reads a payload, and what makes a report of a batch."""
    if name == "orjson-pandas-psi":
        import orjson

        return orjson.loads, psi_report(reference())
    if name == "json-evidently":
        return json.loads, evidently_report(reference())
    sys.exit(f"no consumer is called {name}")


def consumer(brokers):
    return Consumer({
        "bootstrap.servers": brokers,
        "group.id": f"python-{uuid.uuid4()}",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "queued.max.messages.kbytes": 262_144,
        "fetch.message.max.bytes": 8 << 20,
    })


def read(client, load, report, records):
    """Reads so many records, a report for each batch of them."""
    first = client.poll(PATIENCE_SECONDS)
    if first is None or first.error():
        sys.exit(f"no record: {first and first.error()}")
    clock, processor = time.perf_counter(), time.process_time()
    batch, count = [load(first.value())], 1
    while count < records:
        messages = client.consume(min(POLL, records - count), PATIENCE_SECONDS)
        if not messages:
            sys.exit(f"no more records than {count}")
        batch.extend(load(message.value()) for message in messages)
        count += len(messages)
        if len(batch) >= BATCH or count == records:
            report(batch)
            batch = []
    return count, time.perf_counter() - clock, time.process_time() - processor


def main():
    _, brokers, topic, name, records = sys.argv
    warnings.filterwarnings("ignore")
    load, report = stack(name)
    client = consumer(brokers)
    client.subscribe([topic])
    print(*read(client, load, report, int(records)))
    client.close()


main()
