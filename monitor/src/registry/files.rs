//! Schemas from files, which are there from the start.
//!
//! Before: [`super::Writers::open`]. After: it keeps the programs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use driftd_core::config::ProtobufFiles;
use driftd_ingest::{
    AvroProgram, AvroSchema, DESCRIPTORS_BYTES_MAX, Program, ProtobufProgram, ProtobufSchema,
    SchemaId, SourceSchema,
};

use super::{WritersError, proto};

/// Reads a schema's file, and returns what a message calls it by its fingerprint.
#[expect(clippy::disallowed_methods, reason = "the edge reads files")]
pub(super) fn avro(
    source: &SourceSchema,
    path: &Path,
) -> Result<(SchemaId, Program), WritersError> {
    let owned = || path.to_owned();
    let text = std::fs::read_to_string(path)
        .map_err(|source| WritersError::Read { path: owned(), source })?;
    let schema = AvroSchema::parse(&text, &[])
        .map_err(|source| WritersError::Schema { path: owned(), source })?;
    let fingerprint = schema.fingerprint().map_or(SchemaId::ONLY, SchemaId::of_fingerprint);
    let program = AvroProgram::compile(source, schema)
        .map_err(|source| WritersError::Program { path: owned(), source })?;
    Ok((fingerprint, Program::Avro(program)))
}

/// Reads the files of a type of Protobuf. Relative paths start at `folder`.
pub(super) fn protobuf(
    source: &SourceSchema,
    files: &ProtobufFiles,
    message: &str,
    folder: &Path,
) -> Result<Program, WritersError> {
    let (path, descriptors) = match files {
        ProtobufFiles::Descriptors(file) => {
            let path = folder.join(file);
            let bytes = read(&path);
            let owned = || path.clone();
            (owned(), bytes.map_err(|source| WritersError::Read { path: owned(), source })?)
        }
        ProtobufFiles::Proto { file, include } => {
            let path = folder.join(file);
            let include = include.iter().map(|it| folder.join(it)).collect();
            let compiled = proto::compile_file(&path, include);
            let owned = || path.clone();
            (owned(), compiled.map_err(|source| WritersError::Proto { path: owned(), source })?)
        }
    };
    let owned = || path.clone();
    let schema = ProtobufSchema::parse(&descriptors)
        .map_err(|source| WritersError::Descriptors { path: owned(), source })?;
    let Some(found) = schema.message(message) else {
        return Err(WritersError::Message { path, message: message.to_owned() });
    };
    let program = ProtobufProgram::compile(source, &schema, found)
        .map_err(|source| WritersError::Program { path: owned(), source })?;
    let program = Program::Protobuf(program);
    expect_fields(&path, [&program])?;
    Ok(program)
}

/// Refuses paths that find nothing in any schema: no record would tell that one is misspelt. What
/// one version of a schema lacks, another may have.
pub(super) fn expect_fields<'a>(
    path: &Path,
    programs: impl IntoIterator<Item = &'a Program>,
) -> Result<(), WritersError> {
    let unknown = programs.into_iter().map(|it| it.unknown_paths().iter().collect());
    let unknown = unknown.reduce(|all: BTreeSet<_>, it| all.intersection(&it).copied().collect());
    let paths: Vec<String> = unknown.into_iter().flatten().map(|it| format!("`{it}`")).collect();
    if paths.is_empty() {
        return Ok(());
    }
    Err(WritersError::Paths { path: path.to_owned(), paths })
}

/// Reads one byte more than is accepted at most.
#[expect(clippy::disallowed_methods, reason = "the edge reads files")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(DESCRIPTORS_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
