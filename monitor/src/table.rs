//! Files of records, Parquet and CSV, as batches of Arrow columns.
//!
//! Before: paths from the command line. After: [`layout`] finds a source's columns in a file,
//! [`records`] turns batches into what a decoder of messages would have made of the same records.
//! Reads page by page: memory holds one page a column and the batch, however large the file or its
//! row groups are.
//!
//! The reader is arrow-rs' own: polars decodes whole row groups and maps the file, which for a row
//! group of a million rows is more than the daemon may use. Polars builds the references
//! ([`crate::reference`]).

#![expect(clippy::disallowed_methods, reason = "the edge opens files")]

mod convert;
mod layout;
mod records;
#[cfg(test)]
mod tests;
mod text;
mod time;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use driftd_ingest::RejectReason;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;

pub use layout::{Layout, Overrides};
pub(crate) use layout::{feature_column, last_element, segment_column};
pub use records::RecordReader;
use text::Misfit;

/// Rows of a batch. Small enough that a batch of 25 columns is a few megabytes, large enough that
/// the work a batch costs whatever its size does not count.
pub const BATCH_ROWS: usize = 1 << 15;

const _: () = assert!(BATCH_ROWS <= 1 << 16, "rows name their version in a batch by 16 bits");

/// One file, opened: its columns are known, its rows are not read.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    bytes: u64,
    columns: SchemaRef,
    format: Opened,
}

#[derive(Debug)]
enum Opened {
    Parquet(ArrowReaderMetadata),
    Csv,
}

/// Consecutive rows of a file.
#[derive(Debug)]
pub struct Rows {
    columns: RecordBatch,
    refused: Vec<RefusedRow>,
}

/// A row that is no record whatever its values mean; it is null in every column.
#[derive(Debug)]
struct RefusedRow {
    row: usize,
    reason: RejectReason,
    detail: String,
}

/// A file that is no table of records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// The file cannot be opened or read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file's name does not tell its format.
    #[error("`{}` has no known format: name it *.parquet or *.csv", .path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The content is not Parquet.
    #[error("`{}` cannot be read as Parquet", .path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ParquetError,
    },
    /// The content is not CSV with a header.
    #[error("`{}` cannot be read as CSV", .path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Why.
        source: csv::Error,
    },
    /// A line of CSV has more or fewer fields than the header, where all lines are needed.
    #[error(
        "line {line} of `{}` has {fields} fields, but the header has {expected}: mend the line, or \
         leave it out", .path.display()
    )]
    Misfit {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// Fields in it.
        fields: usize,
        /// Fields of the header.
        expected: usize,
    },
    /// A batch cannot be read.
    #[error("`{}` cannot be read", .path.display())]
    Batch {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ArrowError,
    },
    /// A column that is needed is not there.
    #[error(
        "`{}` has no column for {role}: expected {expected}; its columns are {columns}", .path.display()
    )]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// What the column is needed for.
        role: String,
        /// The accepted names.
        expected: String,
        /// The file's columns.
        columns: String,
    },
    /// A column has a type that cannot be what it is needed for.
    #[error(
        "column `{column}` of `{}` is of type {found}, but {role} needs {expected}: {hint}", .path.display()
    )]
    ColumnType {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type in the file.
        found: Box<DataType>,
        /// What it is needed for.
        role: String,
        /// The accepted types.
        expected: &'static str,
        /// What to do.
        hint: &'static str,
    },
}

impl Rows {
    /// Returns the columns of all rows, refused ones included.
    pub fn into_columns(self) -> RecordBatch {
        self.columns
    }
}

impl Table {
    /// Opens a file and reads its columns' names and types.
    pub fn open(path: &Path) -> Result<Self, TableError> {
        let read = |source| TableError::Read { path: path.to_owned(), source };
        let extension = path.extension().and_then(|it| it.to_str()).map(str::to_ascii_lowercase);
        let file = File::open(path).map_err(read)?;
        let bytes = file.metadata().map_err(read)?.len();
        let (columns, format) = match extension.as_deref() {
            Some("parquet") => {
                let metadata = open_parquet(&file)
                    .map_err(|source| TableError::Parquet { path: path.to_owned(), source })?;
                (Arc::clone(metadata.schema()), Opened::Parquet(metadata))
            }
            Some("csv") => {
                let columns = text::columns(file)
                    .map_err(|source| TableError::Csv { path: path.to_owned(), source })?;
                (columns, Opened::Csv)
            }
            Some(_) | None => return Err(TableError::UnknownFormat { path: path.to_owned() }),
        };
        Ok(Self { path: path.to_owned(), bytes, columns, format })
    }

    /// Returns the path as given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the size of the file.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns the columns. Text, however it is stored, is `Dictionary(UInt32, Utf8)` or, in CSV,
    /// `Utf8`.
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Returns the number of rows where the format tells it.
    pub fn rows(&self) -> Option<u64> {
        match &self.format {
            Opened::Parquet(metadata) => {
                u64::try_from(metadata.metadata().file_metadata().num_rows()).ok()
            }
            Opened::Csv => None,
        }
    }

    /// Reads the rows in order, only the columns at `positions`, in the file's order of columns.
    pub fn batches(
        &self,
        positions: &[usize],
        batch_rows: usize,
    ) -> Result<impl Iterator<Item = Result<Rows, TableError>> + use<>, TableError> {
        let path = self.path.clone();
        let file = File::open(&self.path)
            .map_err(|source| TableError::Read { path: path.clone(), source })?;
        let batches: Box<dyn Iterator<Item = Result<Rows, TableError>> + Send> = match &self.format
        {
            Opened::Parquet(metadata) => {
                let mask =
                    ProjectionMask::roots(metadata.parquet_schema(), positions.iter().copied());
                let builder =
                    ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
                let reader = builder.with_projection(mask).with_batch_size(batch_rows).build();
                let reader =
                    reader.map_err(|source| TableError::Parquet { path: path.clone(), source })?;
                Box::new(reader.map(move |batch| match batch {
                    Ok(columns) => Ok(Rows { columns, refused: Vec::new() }),
                    Err(source) => Err(TableError::Batch { path: path.clone(), source }),
                }))
            }
            Opened::Csv => {
                let batches = text::Batches::new(file, &self.columns, positions, batch_rows);
                Box::new(batches.map(move |rows| {
                    rows.map_err(|source| TableError::Csv { path: path.clone(), source })
                }))
            }
        };
        Ok(batches)
    }

    /// Returns the names of all columns, for a message.
    fn column_names(&self) -> String {
        let names: Vec<_> =
            self.columns.fields().iter().map(|field| format!("`{}`", field.name())).collect();
        names.join(", ")
    }
}

/// Checks that every line of a CSV file has as many fields as its header.
pub(crate) fn check_lines(path: &Path) -> Result<(), TableError> {
    let path = path.to_owned();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(source) => return Err(TableError::Read { path, source }),
    };
    match text::first_misfit(file) {
        Ok(None) => Ok(()),
        Ok(Some(Misfit { line, fields, expected })) => {
            Err(TableError::Misfit { path, line, fields, expected })
        }
        Err(source) => Err(TableError::Csv { path, source }),
    }
}

/// Text is read as dictionaries: Parquet stores it so, and counting looks at each level once.
fn open_parquet(file: &File) -> Result<ArrowReaderMetadata, ParquetError> {
    let stored = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    let fields = stored.schema().fields().iter().map(|field| {
        if is_text(field.data_type()) {
            Arc::new(Field::new(field.name(), dictionary(), field.is_nullable()))
        } else {
            Arc::clone(field)
        }
    });
    let columns = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = ArrowReaderOptions::new().with_schema(columns);
    ArrowReaderMetadata::try_new(Arc::clone(stored.metadata()), options)
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8))
}

fn is_text(data_type: &DataType) -> bool {
    let stored = if let DataType::Dictionary(_, levels) = data_type { levels } else { data_type };
    matches!(stored, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}
