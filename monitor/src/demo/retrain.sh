#!/bin/sh
# The job that the demo's launcher starts for a retraining event. A team would train its model here; this one does the
# part that driftd needs: it freezes the newest six weeks of data as the reference of the next version.
set -eu
next=$((DRIFTD_MODEL_VERSION + 1))
"DRIFTD" reference build --config "FOLDER/flights.yaml" --model "$DRIFTD_MODEL" --version "$next" \
    --input "FOLDER/current.parquet" \
    --event-time event_time --last 42d --until "$DRIFTD_WINDOW_END" \
    --output "FOLDER/references/$DRIFTD_MODEL/$next.json" > "FOLDER/retrain.log"
printf '{"new_version": "%s", "reference": "%s"}\n' "$next" "FOLDER/references/$DRIFTD_MODEL/$next.json" \
    > "$DRIFTD_OUTPUT_FILE"
