//! Compiles the text of `.proto` files to descriptors.
//!
//! Before: [`super::files`] names a file, or [`super::client`] has got texts from a registry.
//! After: `driftd-ingest` reads the descriptors. How many files there are, how long they are and
//! what they ask for ([`super::demand`]) is bounded here, because the compiler does not.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File as OpenFile;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protox::Compiler;
use protox::file::{File, FileResolver, GoogleFileResolver};

use super::demand::Demand;

/// Name of the file that is compiled, among its imports: none of them can be called so.
pub(super) const MAIN: &str = "<schema>";

/// Files that one imports, directly or not.
const FILES_MAX: usize = 512;
/// Length of each.
const FILE_BYTES_MAX: usize = 2 << 20;
/// Messages inside of messages, values inside of options, parts of names: what the compiler's stack
/// holds.
const NESTING_MAX: usize = 64;
/// Full names of all that the files define: the compiler keeps some copies of each.
const NAME_BYTES_MAX: usize = 64 << 20;

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
    /// Blocks inside of blocks, or parts behind parts of a name, without end.
    #[error(
        "`{name}` has more than {NESTING_MAX} blocks inside of each other, or a name of more parts"
    )]
    TooDeep {
        /// The file.
        name: String,
    },
    /// Very many names, or very long ones.
    #[error(
        "with `{name}` the full names of what is defined have more than {NAME_BYTES_MAX} bytes"
    )]
    TooManyNames {
        /// The file that was too much.
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
    let files = Files { text, imports, opened: Cell::new(0), name_bytes: Cell::new(0) };
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
    /// Of the full names in those.
    name_bytes: Cell<usize>,
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
            return self.parse(name, &self.text);
        }
        if let Ok(file) = GoogleFileResolver::new().open_file(name) {
            return Ok(file);
        }
        match &self.imports {
            Imports::Texts(texts) => match texts.get(name).map(String::as_str).or(known(name)) {
                Some(text) => self.parse(name, text),
                None => Err(protox::Error::file_not_found(name)),
            },
            Imports::Folders(folders) => self.search(name, folders),
        }
    }
}

impl Files {
    fn search(&self, name: &str, folders: &[PathBuf]) -> Result<File, protox::Error> {
        for folder in folders {
            let path = folder.join(name);
            match read(&path) {
                Ok(Some(text)) => return self.parse(name, &text),
                Ok(None) => {
                    return Err(protox::Error::new(ProtoError::TooLong { name: name.to_owned() }));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(protox::Error::new(ProtoError::Read { path, source })),
            }
        }
        let text = known(name).ok_or_else(|| protox::Error::file_not_found(name))?;
        self.parse(name, text)
    }

    fn parse(&self, name: &str, text: &str) -> Result<File, protox::Error> {
        self.bound(name, text).map_err(protox::Error::new)?;
        File::from_source(name, text)
    }

    /// Refuses a text that asks for more than the compiler can be given.
    fn bound(&self, name: &str, text: &str) -> Result<(), ProtoError> {
        let owned = || name.to_owned();
        if FILE_BYTES_MAX < text.len() {
            return Err(ProtoError::TooLong { name: owned() });
        }
        let Demand { nesting, name_bytes } = Demand::of(text);
        if NESTING_MAX < nesting {
            return Err(ProtoError::TooDeep { name: owned() });
        }
        self.name_bytes.set(self.name_bytes.get().saturating_add(name_bytes));
        if NAME_BYTES_MAX < self.name_bytes.get() {
            return Err(ProtoError::TooManyNames { name: owned() });
        }
        Ok(())
    }
}

/// Reads a file; `None` for a very long one.
#[expect(clippy::disallowed_methods, reason = "the edge reads files")]
fn read(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    OpenFile::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    Ok((text.len() <= FILE_BYTES_MAX).then_some(text))
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

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "syntax = \"proto2\"; import \"google/protobuf/descriptor.proto\";
        message O { optional O a = 1; }
        extend google.protobuf.FileOptions { optional O o = 50000; }\n";

    fn problem(text: &str) -> String {
        compile_texts(&format!("{HEAD}{text}"), &[])
            .map_or_else(|it| it.to_string(), |_| String::new())
    }

    /// Whatever is not refused is compiled on this thread's stack, which is that of a test.
    #[test]
    fn what_nests_deeper_than_the_stack_of_the_compiler_holds_is_refused() {
        let message = |depth: usize| "message A {".repeat(depth) + &"}".repeat(depth);
        let braces = |depth: usize| {
            format!("option (o) = {}{};", "{ a ".repeat(depth - 1) + "{", "}".repeat(depth))
        };
        let parts = |depth: usize| format!("option (o){} = {{}};", ".a".repeat(depth));
        for (text, is_deep) in [
            (message(30), false),
            (message(65), true),
            (braces(60), false),
            (braces(65), true),
            (braces(20_000), true),
            (parts(64), false),
            (parts(65), true),
            (parts(20_000), true),
        ] {
            let problem = problem(&text);
            assert_eq!(problem.contains("more than 64 blocks"), is_deep, "{problem}");
            assert!(is_deep || problem.is_empty(), "{problem}");
        }
    }

    #[test]
    fn names_that_take_much_more_than_the_text_are_refused() {
        let name = "N".repeat(1 << 19);
        let values =
            |count: usize| (0..count).map(|it| format!("V{it}={it};")).collect::<Vec<_>>().concat();
        let enumeration = |count: usize| format!("enum {name} {{ {} }}", values(count));
        assert_eq!(problem(&enumeration(20)), "");
        assert!(problem(&enumeration(60_000)).contains("more than 67108864 bytes"));
        let messages = "message A {}".repeat(1_000);
        assert!(problem(&format!("{messages} package {name};")).contains("more than 67108864"));
        let package = format!("package {}a;", "a.".repeat(200_000));
        assert!(problem(&package).contains("a name of more parts"));
        // Of all files together.
        let import = |it: usize| format!("import \"{it}.proto\";");
        let imports: String = (0..9).map(import).collect();
        let text = format!("syntax = \"proto2\"; {imports}");
        let file = |it: usize| {
            (
                format!("{it}.proto"),
                format!("syntax = \"proto2\"; package p{it}; {}", enumeration(20)),
            )
        };
        let files: Vec<_> = (0..9).map(file).collect();
        let error = compile_texts(&text, &files).expect_err("they are too many").to_string();
        assert!(error.contains("the full names of what is defined"), "{error}");
    }
}
