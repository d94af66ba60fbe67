//! CSV files as batches of text columns.
//!
//! Before: [`super::Table`] opens the file. After: [`super::records`] parses each value as what it
//! is needed for. A line that does not fit the header, or is no UTF-8, is one refused row, and the
//! rows after it are read all the same. A quoted field may hold line breaks, so a stray quote takes
//! the lines up to the next quote into its row. That has a bound: a record of more than
//! [`RECORD_BYTES_MAX`] is refused, and reading goes on with the line after its first one.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use csv::{ByteRecord, Position, Reader, ReaderBuilder};
use driftd_ingest::RejectReason;

use super::{RefusedRow, Rows};

/// Longest record, in bytes: what a topic's messages may have by default.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// A file that stops in the middle of a record that is too long.
struct Bounded {
    file: File,
    /// Bytes that may be read before the next record.
    left: u64,
}

impl Bounded {
    /// A record of the greatest length, and the byte or the end that shows that it is one.
    const ALLOWANCE: u64 = RECORD_BYTES_MAX + 1;
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let read = (&mut self.file).take(self.left).read(buffer)?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Opens a file whose first line names the columns.
fn open(file: File) -> Reader<Bounded> {
    ReaderBuilder::new().flexible(true).from_reader(Bounded { file, left: Bounded::ALLOWANCE })
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
    loop {
        reader.get_mut().left = Bounded::ALLOWANCE;
        if !reader.read_byte_record(&mut record)? {
            return Ok(None);
        }
        let fields = record.len();
        if fields != expected {
            let line = first_line(&reader.get_ref().file, &record)?;
            return Ok(Some(Misfit { line, fields, expected }));
        }
    }
}

/// The rows of a file, some columns of them.
pub(super) struct Batches {
    reader: Reader<Bounded>,
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
        while rows < self.rows_max {
            let appended = match self.next_line()? {
                Line::End => break,
                Line::Read => append(&mut builders, &self.positions, &self.line, self.width),
                Line::TooLong => {
                    builders.iter_mut().for_each(StringBuilder::append_null);
                    let problem = format!("a record of more than {RECORD_BYTES_MAX} bytes");
                    Err((RejectReason::Oversized, problem))
                }
            };
            if let Err((reason, problem)) = appended {
                let line = first_line(&self.reader.get_ref().file, &self.line)?;
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

    /// Reads one record into `self.line`. Of one that is too long only the position is right.
    fn next_line(&mut self) -> Result<Line, csv::Error> {
        self.reader.byte_headers()?;
        self.reader.get_mut().left = Bounded::ALLOWANCE;
        let start = self.reader.position().clone();
        match self.reader.read_byte_record(&mut self.line) {
            Ok(false) => Ok(Line::End),
            Ok(true) if self.reader.position().byte() - start.byte() <= RECORD_BYTES_MAX => {
                Ok(Line::Read)
            }
            Err(error) if !is_too_long(&error) => Err(error),
            Ok(true) | Err(_) => {
                self.seek_behind(&start)?;
                Ok(Line::TooLong)
            }
        }
    }

    /// Goes on after the first line from `start` on that is not empty, whatever its quotes say.
    fn seek_behind(&mut self, start: &Position) -> Result<(), csv::Error> {
        let file = &mut self.reader.get_mut().file;
        file.seek(SeekFrom::Start(start.byte()))?;
        let mut file = BufReader::new(file);
        let (mut next, mut is_empty) = (start.clone(), true);
        while is_empty {
            // The end of the line before may still be there.
            is_empty = matches!(file.fill_buf()?, [b'\r' | b'\n', ..]);
            let bytes = file.skip_until(b'\n')? as u64;
            let (byte, line) = (next.byte() + bytes, next.line() + 1);
            next.set_byte(byte).set_line(line);
        }
        self.reader.get_mut().left = Bounded::ALLOWANCE;
        self.reader.seek_raw(SeekFrom::Start(next.byte()), next)
    }
}

/// What was found where a record could begin.
enum Line {
    Read,
    TooLong,
    End,
}

fn is_too_long(error: &csv::Error) -> bool {
    let csv::ErrorKind::Io(error) = error.kind() else { return false };
    error.kind() == io::ErrorKind::FileTooLarge
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
