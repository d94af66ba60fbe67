//! Data sets as polars frames, for producing them and for recounting what `driftd` says.

use std::fs::File;
use std::path::Path;

use driftd_catalog::Timestamp;
use polars::prelude::{AnyValue, DataFrame, ParquetReader, SerReader, TimeUnit};

/// Reads a whole Parquet file.
#[expect(clippy::disallowed_methods, reason = "tests read the data sets")]
pub fn read(path: &Path) -> DataFrame {
    let file = File::open(path).unwrap_or_else(|e| panic!("cannot open {}: {e}", path.display()));
    ParquetReader::new(file)
        .finish()
        .unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

/// The column `event_time` of a data set, in whole milliseconds.
pub fn event_times(frame: &DataFrame) -> Vec<Timestamp> {
    let column = frame.column("event_time").expect("every data set has an event time");
    let series = column.as_materialized_series();
    series.iter().map(|value| time(&value)).collect()
}

fn time(value: &AnyValue<'_>) -> Timestamp {
    let AnyValue::Datetime(time, unit, _) = value else { panic!("`{value}` is not a time") };
    Timestamp::from_millis(match unit {
        TimeUnit::Nanoseconds => time.div_euclid(1_000_000),
        TimeUnit::Microseconds => time.div_euclid(1_000),
        TimeUnit::Milliseconds => *time,
    })
}
