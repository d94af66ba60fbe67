//! CSV files as batches of text columns.
//!
//! Before: [`super::Table`] opens the file. After: [`super::records`] parses each value as what it
//! is needed for. A line that does not fit the header, or is no UTF-8, is one refused row: the rows
//! after it are read all the same.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use csv::{ByteRecord, Reader, ReaderBuilder};
use driftd_ingest::RejectReason;

use super::{RefusedRow, Rows};

/// Opens a file whose first line names the columns. The reader has a buffer of its own.
fn open(file: File) -> Reader<File> {
    ReaderBuilder::new().flexible(true).from_reader(file)
}

/// Returns the columns. All are text, so that one bad value is one bad record.
pub(super) fn columns(file: File) -> Result<SchemaRef, csv::Error> {
    let mut reader = open(file);
    let names = reader.headers()?.iter();
    let fields: Vec<Field> = names.map(|name| Field::new(name, DataType::Utf8, true)).collect();
    Ok(Arc::new(Schema::new(fields)))
}

/// A line with more or fewer fields than the header.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) line: u64,
    pub(super) fields: usize,
    pub(super) expected: usize,
}

/// Returns the first line that does not fit the header.
pub(super) fn first_misfit(file: File) -> Result<Option<Misfit>, csv::Error> {
    let mut reader = open(file);
    let expected = reader.byte_headers()?.len();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let fields = record.len();
        if fields != expected {
            let line = first_line(reader.get_ref(), &record)?;
            return Ok(Some(Misfit { line, fields, expected }));
        }
    }
    Ok(None)
}

/// The rows of a file, some columns of them.
pub(super) struct Batches {
    reader: Reader<File>,
    line: ByteRecord,
    /// Fields of the header.
    width: usize,
    positions: Vec<usize>,
    columns: SchemaRef,
    rows_max: usize,
}

impl Batches {
    /// Reads the columns at `positions` of `columns`, `rows_max` rows at a time.
    pub(super) fn new(file: File, columns: &Schema, positions: &[usize], rows_max: usize) -> Self {
        let fields = positions.iter().map(|position| columns.field(*position).clone());
        Self {
            reader: open(file),
            line: ByteRecord::new(),
            width: columns.fields().len(),
            positions: positions.to_vec(),
            columns: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
            rows_max,
        }
    }

    fn read(&mut self) -> Result<Option<Rows>, csv::Error> {
        let mut builders: Vec<StringBuilder> =
            self.positions.iter().map(|_| StringBuilder::new()).collect();
        let mut refused = Vec::new();
        let mut rows = 0;
        while rows < self.rows_max && self.reader.read_byte_record(&mut self.line)? {
            if let Err((reason, problem)) =
                append(&mut builders, &self.positions, &self.line, self.width)
            {
                let line = first_line(self.reader.get_ref(), &self.line)?;
                refused.push(RefusedRow {
                    row: rows,
                    reason,
                    detail: format!("line {line}: {problem}"),
                });
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        let columns =
            builders.into_iter().map(|mut it| Arc::new(it.finish()) as ArrayRef).collect();
        let columns = RecordBatch::try_new(Arc::clone(&self.columns), columns)
            .expect("each line adds one text or null to every column");
        Ok(Some(Rows { columns, refused }))
    }
}

impl Iterator for Batches {
    type Item = Result<Rows, csv::Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Returns the number of the line on which a record begins. Its position is where the record before
/// ended, which is ahead of the `\n` of a `\r\n`, and of empty lines.
fn first_line(file: &File, record: &ByteRecord) -> io::Result<u64> {
    let position = record.position().expect("a record that was read has one");
    let (mut line, mut offset) = (position.line(), position.byte());
    let mut byte = [0];
    while file.read_at(&mut byte, offset)? == 1 && matches!(byte, [b'\r' | b'\n']) {
        line += u64::from(byte == [b'\n']);
        offset += 1;
    }
    Ok(line)
}

/// Adds one line to all columns; nulls when it is refused. An empty field is a missing value.
fn append(
    builders: &mut [StringBuilder],
    positions: &[usize],
    line: &ByteRecord,
    width: usize,
) -> Result<(), (RejectReason, String)> {
    let texts = texts(positions, line, width);
    for (index, builder) in builders.iter_mut().enumerate() {
        let text = texts.as_ref().ok().map(|texts| texts[index]);
        builder.append_option(text.filter(|text| !text.is_empty()));
    }
    texts.map(|_| ())
}

fn texts<'a>(
    positions: &[usize],
    line: &'a ByteRecord,
    width: usize,
) -> Result<Vec<&'a str>, (RejectReason, String)> {
    if line.len() != width {
        let problem = format!("{} fields, but the header has {width}", line.len());
        return Err((RejectReason::WrongType, problem));
    }
    let text = |position: &usize| {
        let field = line.get(*position).unwrap_or_default();
        str::from_utf8(field).map_err(|error| (RejectReason::InvalidUtf8, error.to_string()))
    };
    positions.iter().map(text).collect()
}
