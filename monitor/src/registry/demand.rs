//! What the text of a `.proto` file asks of its compiler, measured before it is compiled.
//!
//! Before: [`super::proto`] has a text. After: it compiles it, or refuses one that would need more
//! stack or memory than there is for it: the compiler has no bounds of its own.

/// What a text asks for. Of a text that is wrong these may be other numbers: it is not compiled so
/// far that they matter.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Demand {
    /// Brackets inside of each other, or parts of one name: the compiler goes down into both.
    pub(super) nesting: usize,
    /// Bytes of the full names of all that is defined, up to a small factor. Each begins with those
    /// of all that it is inside of, so a short text can ask for many.
    pub(super) name_bytes: usize,
}

impl Demand {
    pub(super) fn of(text: &str) -> Self {
        let mut measure = Measure::default();
        let mut rest = text.bytes().peekable();
        while let Some(byte) = rest.next() {
            match byte {
                b'"' | b'\'' => pass_text(byte, &mut rest),
                b'#' => pass_line(&mut rest),
                b'/' if rest.peek() == Some(&b'/') => pass_line(&mut rest),
                b'/' if rest.peek() == Some(&b'*') => pass_comment(&mut rest),
                _ => measure.take(byte),
            }
        }
        measure.finish()
    }
}

type Rest<'a> = std::iter::Peekable<std::str::Bytes<'a>>;

fn pass_line(rest: &mut Rest<'_>) {
    while rest.next().is_some_and(|it| it != b'\n') {}
}

fn pass_comment(rest: &mut Rest<'_>) {
    rest.next();
    let mut before = b' ';
    for next in rest.by_ref() {
        if (before, next) == (b'*', b'/') {
            return;
        }
        before = next;
    }
}

fn pass_text(quote: u8, rest: &mut Rest<'_>) {
    while let Some(inner) = rest.next().filter(|it| *it != quote && *it != b'\n') {
        if inner == b'\\' {
            rest.next();
        }
    }
}

#[derive(Default)]
struct Measure {
    demand: Demand,
    depth: usize,
    /// Parts of the name that is read.
    parts: usize,
    /// Bytes of the words since the last statement.
    statement: usize,
    /// Bytes of the words before each brace that is open.
    scopes: Vec<usize>,
    scope_bytes: usize,
    statements: usize,
    /// Bytes of the longest statement that is inside of nothing.
    outermost: usize,
}

impl Measure {
    fn take(&mut self, byte: u8) {
        match byte {
            b'.' => {
                self.parts += 1;
                self.statement += 1;
                self.deepen(self.parts);
            }
            b'=' | b':' | b',' => self.parts = 0,
            b'{' => {
                let scope = self.end();
                self.scopes.push(scope);
                self.scope_bytes += scope;
                self.open();
            }
            b'}' => {
                self.end();
                self.scope_bytes -= self.scopes.pop().unwrap_or(0);
                self.close();
            }
            b';' => {
                let bytes = self.end();
                if self.scopes.is_empty() {
                    self.outermost = self.outermost.max(bytes);
                }
            }
            b'[' | b'(' | b'<' => self.open(),
            b']' | b')' | b'>' => self.close(),
            _ if byte.is_ascii_whitespace() => {}
            _ => self.statement += 1,
        }
    }

    /// Ends a statement and returns the bytes of its words.
    fn end(&mut self) -> usize {
        let bytes = std::mem::take(&mut self.statement);
        self.parts = 0;
        self.statements = self.statements.saturating_add(1);
        let asked = &mut self.demand.name_bytes;
        *asked = asked.saturating_add(self.scope_bytes).saturating_add(bytes);
        bytes
    }

    /// The package is a statement like others, wherever it stands, and all names begin with it.
    fn finish(self) -> Demand {
        let Demand { nesting, name_bytes } = self.demand;
        let packages = self.statements.saturating_mul(self.outermost);
        Demand { nesting, name_bytes: name_bytes.saturating_add(packages) }
    }

    fn open(&mut self) {
        self.depth += 1;
        self.deepen(self.depth);
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    fn deepen(&mut self, depth: usize) {
        self.demand.nesting = self.demand.nesting.max(depth);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nesting(text: &str) -> usize {
        Demand::of(text).nesting
    }

    #[test]
    fn brackets_inside_of_each_other_are_counted_and_not_those_of_texts_and_comments() {
        assert_eq!(nesting(""), 0);
        assert_eq!(nesting("message A { map<string, B> m = 1 [(o) = { a: [1] }]; }"), 4);
        assert_eq!(nesting("message A {} message B {}"), 1);
        assert_eq!(nesting("option o = \"{{{\\\"{\"; // {{{ \n option p = '{[(';"), 0);
        assert_eq!(nesting("/* {{{ \" */ message A {} /* { **/ # {{\n"), 1);
        assert_eq!(nesting("}}} message A {"), 1);
        // A text ends with its line, as in the compiler.
        assert_eq!(nesting("option o = \"\n{{"), 2);
    }

    #[test]
    fn parts_of_one_name_are_counted() {
        assert_eq!(nesting("option (a.b).c.d = 1.5;"), 3);
        assert_eq!(nesting("option (a) /* . */ . b\n.c = 1; option o = \"....\";"), 2);
        assert_eq!(nesting("option o = { a: 1.5, b: 2.5, c { d: 3.5 } };"), 2);
        assert_eq!(nesting(&format!("option (o){} = 1;", ".a".repeat(20_000))), 20_000);
        assert_eq!(nesting(&"a.A b = 1;\n".repeat(100)), 1);
    }

    #[test]
    fn full_names_have_the_bytes_of_all_that_they_are_inside_of() {
        let bytes = |text: &str| Demand::of(text).name_bytes;
        // `messageA`, `int32x=1` inside of it, and the end of it.
        assert_eq!(bytes("message A { int32 x = 1; }"), 8 + (8 + 7) + 8);
        let short = bytes("message A { int32 x = 1; int32 y = 2; }");
        let long = bytes("package shop.v1; message A { int32 x = 1; int32 y = 2; }");
        // The package itself, and before five statements.
        assert_eq!(long - short, 14 + 14 * 5);
        let last = bytes("message A { int32 x = 1; int32 y = 2; } package shop.v1;");
        assert_eq!(last, long, "wherever it stands");
        let name = "N".repeat(1_000);
        assert!(1_000_000 < bytes(&format!("enum {name} {{ {} }}", "A = 0;".repeat(1_000))));
        assert_eq!(bytes("} } ;"), 0);
    }
}
