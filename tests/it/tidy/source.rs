//! Rust source for the tidy checks: code without comments and literals, and its functions.

/// A function's name and its lines, from the one with `fn` to the closing brace (first = 1).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Name as declared.
    pub(super) name: String,
    /// Line of `fn`.
    pub(super) line: usize,
    /// Number of lines.
    pub(super) lines: usize,
}

/// The source with comments, strings and character literals turned into spaces; lines stay.
pub(super) fn code_only(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let length = blank_length(&chars, at);
        let taken = &chars[at..at + length.max(1)];
        let blank = |&c: &char| if c == '\n' { '\n' } else { ' ' };
        if length == 0 {
            code.push(chars[at]);
        } else {
            code.extend(taken.iter().map(blank));
        }
        at += taken.len();
    }
    code
}

/// Functions with a body, in order of their declaration. Takes [`code_only`] code.
pub(super) fn functions(code: &str) -> Vec<Function> {
    let chars: Vec<char> = code.chars().collect();
    (0..chars.len()).filter_map(|at| function_at(&chars, at)).collect()
}

/// Whether `word` stands in `code` as a word of its own.
pub(super) fn has_word(code: &str, word: &str) -> bool {
    code.split(|c: char| !is_name(c)).any(|part| part == word)
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Length of the comment or literal that starts at `at`; 0 when code starts there.
fn blank_length(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let after_name = at.checked_sub(1).is_some_and(|before| is_name(chars[before]));
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment_length(rest),
        ['"', ..] => quoted_length(rest, '"'),
        ['r', ..] if !after_name => raw_length(rest, 1),
        ['b' | 'c', 'r', ..] if !after_name => raw_length(rest, 2),
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => quoted_length(rest, '\''),
        _ => 0,
    }
}

fn block_comment_length(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Length of a literal between two `quote`s, in which a backslash hides the next character.
fn quoted_length(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// Length of a raw string whose prefix has `prefix` letters; 0 when it is a name after all.
fn raw_length(rest: &[char], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|&&c| c == '#').count();
    if rest.get(prefix + hashes) != Some(&'"') {
        return 0;
    }
    let mut end = vec!['"'];
    end.resize(hashes + 1, '#');
    let body = prefix + hashes + 1;
    let length = rest[body..].windows(end.len()).position(|window| window == end);
    length.map_or(rest.len(), |length| body + length + end.len())
}

/// The function whose `fn` starts at `at`, if one does and it has a body.
fn function_at(chars: &[char], at: usize) -> Option<Function> {
    let ['f', 'n', ' ', rest @ ..] = &chars[at..] else { return None };
    if at.checked_sub(1).is_some_and(|before| is_name(chars[before])) {
        return None;
    }
    let name: String = rest.iter().take_while(|&&c| is_name(c)).collect();
    if name.is_empty() {
        return None;
    }
    let body = rest.iter().position(|c| matches!(c, '{' | ';'))?;
    let mut depth = 0_u32;
    let mut end = body;
    for (index, c) in rest.iter().enumerate().skip(body) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            end = index;
            break;
        }
    }
    let breaks = |part: &[char]| part.iter().filter(|&&c| c == '\n').count();
    let lines = breaks(&rest[..end]) + 1;
    (rest[body] == '{').then(|| Function { name, line: breaks(&chars[..at]) + 1, lines })
}

#[test]
fn comments_and_literals_are_blank_and_lines_stay() {
    let source = "let a = \"// {\"; // }\nlet b = r#\"}\"\n\"#; /* { /* */ } */ let c = '{';\n\
                  fn d<'a>(e: &'a u8) { b'\\''; '\\u{7b}' }";
    let code = code_only(source);
    assert_eq!(code.lines().count(), source.lines().count());
    let without_spaces: String = code.split_whitespace().collect();
    assert_eq!(without_spaces, "leta=;letb=;letc=;fnd<'a>(e:&'au8){b;}");
}

#[test]
fn functions_are_measured_from_their_name_to_their_closing_brace() {
    let code = code_only("trait A {\n  fn no_body();\n}\nfn a() {\n  if b {\n  }\n}\nfn c() {}\n");
    let function = |name: &str, line, lines| Function { name: name.to_owned(), line, lines };
    assert_eq!(functions(&code), [function("a", 4, 4), function("c", 8, 1)]);
}

#[test]
fn a_word_is_not_found_inside_another() {
    assert!(has_word("unsafe { }", "unsafe"));
    assert!(!has_word("unsafe_code = forbid", "unsafe"));
}
