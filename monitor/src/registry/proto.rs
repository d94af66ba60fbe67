//! Compiles the text of `.proto` files to descriptors.
//!
//! Before: [`super::files`] names a file, or [`super::client`] has got texts from a registry.
//! After: `driftd-ingest` reads the descriptors. How many files there are, how long they are and
//! how deep values of options nest is bounded here, because the compiler does not.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File as OpenFile;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};

/// Name of the file that is compiled, among its imports: none of them can be called so.
pub(super) const MAIN: &str = "<schema>";

/// Files that one imports, directly or not.
const FILES_MAX: usize = 512;
/// Length of each.
const FILE_BYTES_MAX: usize = 2 << 20;
/// Messages inside of messages, and values inside of options: what the compiler's stack holds.
const NESTING_MAX: usize = 64;

/// Text that cannot be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtoError {
    /// The compiler says what is wrong.
    #[error("{problem}")]
    Compile {
        /// Where and what.
        problem: String,
    },
    /// A file that is imported, or the file itself, cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A very long file.
    #[error("`{name}` has more than {FILE_BYTES_MAX} bytes")]
    TooLong {
        /// The file.
        name: String,
    },
    /// Blocks inside of blocks without end.
    #[error("`{name}` has more than {NESTING_MAX} blocks inside of each other")]
    TooDeep {
        /// The file.
        name: String,
    },
    /// Very many files.
    #[error("it imports more than {FILES_MAX} files")]
    TooManyFiles,
}

/// Compiles a file with what it imports, which lies below the folders, or below the file's own.
pub(super) fn compile_file(path: &Path, mut include: Vec<PathBuf>) -> Result<Vec<u8>, ProtoError> {
    let text = read(path)
        .map_err(|source| ProtoError::Read { path: path.to_owned(), source })?
        .ok_or_else(|| ProtoError::TooLong { name: path.display().to_string() })?;
    include.extend(path.parent().map(Path::to_owned));
    compile(text, Imports::Folders(include))
}

/// Compiles a text with what it imports: texts by their names.
pub(super) fn compile_texts(
    text: &str,
    imports: &[(String, String)],
) -> Result<Vec<u8>, ProtoError> {
    compile(text.to_owned(), Imports::Texts(imports.iter().cloned().collect()))
}

fn compile(text: String, imports: Imports) -> Result<Vec<u8>, ProtoError> {
    let files = Files { text, imports, opened: Cell::new(0) };
    let mut compiler = Compiler::with_file_resolver(files);
    // With its comments too: without them the compiler reads its own descriptors back, and ends the
    // process where options nest deeper than it reads.
    compiler.include_imports(true).include_source_info(true);
    compiler.open_file(MAIN).map_err(|error| ProtoError::Compile { problem: said(&error) })?;
    Ok(compiler.encode_file_descriptor_set())
}

/// Returns an error with what caused it.
fn said(error: &protox::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// The file that is compiled, and where those are that it imports.
struct Files {
    text: String,
    imports: Imports,
    opened: Cell<usize>,
}

enum Imports {
    Texts(BTreeMap<String, String>),
    Folders(Vec<PathBuf>),
}

impl FileResolver for Files {
    /// What the compiler knows itself comes first: nobody means another `google/protobuf`.
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        self.opened.set(self.opened.get() + 1);
        if FILES_MAX < self.opened.get() {
            return Err(protox::Error::new(ProtoError::TooManyFiles));
        }
        if name == MAIN {
            return parse(name, &self.text);
        }
        if let Ok(file) = GoogleFileResolver::new().open_file(name) {
            return Ok(file);
        }
        match &self.imports {
            Imports::Texts(texts) => match texts.get(name).map(String::as_str).or(known(name)) {
                Some(text) => parse(name, text),
                None => Err(protox::Error::file_not_found(name)),
            },
            Imports::Folders(folders) => from_folders(name, folders),
        }
    }
}

fn from_folders(name: &str, folders: &[PathBuf]) -> Result<File, protox::Error> {
    for folder in folders {
        let path = folder.join(name);
        match read(&path) {
            Ok(Some(text)) => return parse(name, &text),
            Ok(None) => {
                return Err(protox::Error::new(ProtoError::TooLong { name: name.to_owned() }));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(protox::Error::new(ProtoError::Read { path, source })),
        }
    }
    known(name).map_or_else(|| Err(protox::Error::file_not_found(name)), |text| parse(name, text))
}

/// Reads a file; `None` for a very long one.
#[expect(clippy::disallowed_methods, reason = "the edge reads files")]
fn read(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    OpenFile::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok((text.len() <= FILE_BYTES_MAX).then_some(text))
}

fn parse(name: &str, text: &str) -> Result<File, protox::Error> {
    let owned = || name.to_owned();
    if FILE_BYTES_MAX < text.len() {
        return Err(protox::Error::new(ProtoError::TooLong { name: owned() }));
    }
    if NESTING_MAX < nesting(text) {
        return Err(protox::Error::new(ProtoError::TooDeep { name: owned() }));
    }
    File::from_source(name, text)
}

/// Returns how deep brackets are in each other, but for those in comments and texts. Of a text that
/// is wrong it may be another number: that is not compiled so far that it matters.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = text.bytes().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            b'{' | b'[' | b'(' | b'<' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' | b')' | b'>' => depth = depth.saturating_sub(1),
            b'"' | b'\'' => {
                while let Some(inner) = rest.next().filter(|it| *it != byte && *it != b'\n') {
                    if inner == b'\\' {
                        rest.next();
                    }
                }
            }
            b'#' => while rest.next().is_some_and(|it| it != b'\n') {},
            b'/' if rest.peek() == Some(&b'/') => {
                while rest.next().is_some_and(|it| it != b'\n') {}
            }
            b'/' if rest.peek() == Some(&b'*') => {
                rest.next();
                let mut before = b' ';
                for next in rest.by_ref() {
                    if (before, next) == (b'*', b'/') {
                        break;
                    }
                    before = next;
                }
            }
            _ => {}
        }
    }
    deepest
}

/// Returns the files that serializers of Confluent know without a reference.
fn known(name: &str) -> Option<&'static str> {
    match name {
        "confluent/meta.proto" => Some(META),
        "confluent/type/decimal.proto" => Some(DECIMAL),
        _ => None,
    }
}

const META: &str = r#"
syntax = "proto3";
package confluent;
import "google/protobuf/descriptor.proto";
message Meta { string doc = 1; map<string, string> params = 2; repeated string tags = 3; }
extend google.protobuf.FileOptions { Meta file_meta = 1088; }
extend google.protobuf.MessageOptions { Meta message_meta = 1088; }
extend google.protobuf.FieldOptions { Meta field_meta = 1088; }
extend google.protobuf.EnumOptions { Meta enum_meta = 1088; }
extend google.protobuf.EnumValueOptions { Meta enum_value_meta = 1088; }
"#;

const DECIMAL: &str = r#"
syntax = "proto3";
package confluent.type;
message Decimal { bytes value = 1; uint32 precision = 2; int32 scale = 3; }
"#;
